package simulation

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// published is where the page and its plots are, seen from here.
const published = "../../../docs/performance"

// page is the folder with README.md and the plots.
type page struct{ folder string }

// pageFor returns the published page for a long run, and a copy that is thrown away for a short one.
func pageFor(t *testing.T, s scale) page {
	t.Helper()
	if s.long {
		return page{published}
	}
	p := page{t.TempDir()}
	text, err := os.ReadFile(filepath.Join(published, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	p.save(t, "README.md", text)
	return p
}

func (p page) save(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.folder, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// plot writes a figure, which the page must show.
func (p page) plot(t *testing.T, name string, f figure) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.folder, "README.md"))
	if err != nil || !bytes.Contains(text, []byte("]("+name+")")) {
		t.Fatalf("README.md does not show %s (%v)", name, err)
	}
	p.save(t, name, f.draw())
}

// fill puts text between the markers of a section.
func (p page) fill(t *testing.T, section, text string) {
	t.Helper()
	old, err := os.ReadFile(filepath.Join(p.folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	filled, err := fill(old, section, text)
	if err != nil {
		t.Fatal(err)
	}
	p.save(t, "README.md", filled)
}

func fill(old []byte, section, text string) ([]byte, error) {
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", section), fmt.Sprintf("<!-- end %s -->\n", section)
	before, rest, found := bytes.Cut(old, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		return nil, fmt.Errorf("README.md has no section %q", section)
	}
	return bytes.Join([][]byte{before, []byte(begin), []byte(text), []byte(end), after}, nil), nil
}

// table is rows of cells in markdown, with the heads of the columns on top.
func table(heads []string, rows [][]string) string {
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(heads)
	fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(heads)))
	for _, cells := range rows {
		row(cells)
	}
	return b.String()
}

// about says how much a table rests on.
func (s scale) about(kind string) string {
	return fmt.Sprintf("%s: %d runs of %g virtual hours each.\n\n", kind, s.seeds, s.length.Hours())
}

// goal is a figure of tallyd's that was promised, and whether it is met.
func goal(text string, met bool) string {
	if met {
		return "- met: " + text + "\n"
	}
	return "- **short of the goal**: " + text + "\n"
}

func TestFill(t *testing.T) {
	old := "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n"
	tests := []struct {
		name, section string
		want          string
		wantError     bool
	}{
		{"there", "x", "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n", false},
		{"not there", "y", "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := fill([]byte(old), test.section, "new\n")
			if string(got) != test.want || (err != nil) != test.wantError {
				t.Errorf("fill(%q) = %q, %v, want %q", test.section, got, err, test.want)
			}
		})
	}
}

// TestPageIsWhole holds the published page: every plot that it shows is there and an SVG, and every section is filled.
func TestPageIsWhole(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(published, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`!\[[^\]]+\]\(([^)]+)\)`).FindAllSubmatch(text, -1)
	if len(shown) < 3 {
		t.Errorf("README.md shows %d plots, want at least 3", len(shown))
	}
	for _, match := range shown {
		plot, err := os.ReadFile(filepath.Join(published, string(match[1])))
		if err != nil || !bytes.HasPrefix(plot, []byte("<svg ")) {
			t.Errorf("ReadFile(%q) = %.20q, %v, want an SVG", match[1], plot, err)
		}
	}
	if empty := regexp.MustCompile(`<!-- begin (.*) -->\n<!-- end`).FindSubmatch(text); empty != nil {
		t.Errorf("section %q is empty", empty[1])
	}
}
