// Package interop tests that docs/clients.md quotes the programs that run.sh runs. It holds no code.
package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	page         = "clients.md"
	longestQuote = 25
)

// part is what the page quotes of a file below one line that names it.
type part struct {
	heading, title string
	file           string
	blocks         []block
}

type block struct {
	kind  string
	lines []string
}

var (
	// lead is a line such as **Call** ([client.py](../examples/python/client.py)):.
	lead = regexp.MustCompile(`^(?:\*\*(.+?)\*\*)?.*\(\[[^\]]+\]\((\.\./[^)]+)\)\).*:$`)
	row  = regexp.MustCompile(`^\| \[[^\]]+\]\((\.\./[^)]+)\) \|(.*)\|$`)
	span = regexp.MustCompile("`([^`]+)`")
)

func readLines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// parts reads the page. A block below no lead belongs to a part without a file.
func parts(t *testing.T) []part {
	t.Helper()
	var all []part
	var heading string
	current := part{}
	lines := readLines(t, page)
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch found := lead.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "## "):
			heading = strings.TrimPrefix(line, "## ")
			current = part{heading: heading}
		case found != nil:
			current = part{heading: heading, title: found[1], file: found[2]}
		case strings.HasPrefix(line, "```"):
			end := i + 1 + slices.Index(lines[i+1:], "```")
			current.blocks = append(current.blocks, block{kind: strings.TrimPrefix(line, "```"), lines: lines[i+1 : end]})
			if len(current.blocks) > 1 {
				all = all[:len(all)-1]
			}
			all = append(all, current)
			i = end
		case line != "":
			current = part{heading: heading}
		}
	}
	return all
}

// dedent takes off the indentation that all lines share.
func dedent(lines []string) []string {
	shared := -1
	for _, line := range lines {
		if indent := len(line) - len(strings.TrimLeft(line, " ")); line != "" && (shared < 0 || indent < shared) {
			shared = indent
		}
	}
	short := slices.Clone(lines)
	for i, line := range short {
		if line != "" {
			short[i] = line[shared:]
		}
	}
	return short
}

func holds(file, quote []string) bool {
	for i := 0; i+len(quote) <= len(file); i++ {
		if slices.Equal(dedent(file[i:i+len(quote)]), dedent(quote)) {
			return true
		}
	}
	return false
}

func TestQuotesAreTheFilesOwn(t *testing.T) {
	for _, p := range parts(t) {
		if p.file == "" {
			for _, b := range p.blocks {
				if b.kind != "sh" {
					t.Errorf("%s: a block of %s names no file that it quotes:\n%s", p.heading, b.kind, strings.Join(b.lines, "\n"))
				}
			}
			continue
		}
		file := readLines(t, p.file)
		length := 0
		for _, b := range p.blocks {
			length += len(b.lines)
			if !holds(file, b.lines) {
				t.Errorf("%s, %s: %s holds no such lines:\n%s", p.heading, p.title, p.file, strings.Join(b.lines, "\n"))
			}
		}
		if length > longestQuote {
			t.Errorf("%s, %s: %d lines, want at most %d", p.heading, p.title, length, longestQuote)
		}
	}
}

func TestEveryLanguageIsShownInFull(t *testing.T) {
	want := map[string]string{
		"Python": "python", "Node with grpc-js": "node", "Node with Connect": "node", "C++": "cpp", "Java": "java",
	}
	shown := map[string][]string{}
	for _, p := range parts(t) {
		if folder := want[p.heading]; folder != "" && strings.HasPrefix(p.file, "../examples/"+folder+"/") {
			shown[p.heading] = append(shown[p.heading], p.title)
		}
	}
	for heading := range want {
		if want := []string{"Generate", "Call", "Read the reason", "Set the retry policy"}; !slices.Equal(shown[heading], want) {
			t.Errorf("%s shows %q, want %q", heading, shown[heading], want)
		}
	}
}

// TestTableOfOneLiners looks up the code of each row in the file that the row names.
func TestTableOfOneLiners(t *testing.T) {
	rows := 0
	for _, line := range readLines(t, page) {
		found := row.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		rows++
		file := strings.Join(readLines(t, found[1]), "\n")
		for _, code := range span.FindAllStringSubmatch(found[2], -1) {
			if !strings.Contains(file, code[1]) {
				t.Errorf("%s does not hold %s", found[1], code[1])
			}
		}
	}
	if rows != 5 {
		t.Errorf("the page has %d rows with one-liners, want 5", rows)
	}
}
