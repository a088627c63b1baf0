// Package house tests the order of the house: who imports whom, and which words stay out of which room. It holds no code.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tallyd/tallyd/"

// mayImport lists, for each room, the rooms below it that it may know; a room that is missing here fails the test.
var mayImport = map[string][]string{
	"deploy":             {"gen"},
	"examples":           {},
	"gen":                {},
	"proto":              {},
	"proto/apidoc":       {"gen", "proto"},
	"service/apikey":     {},
	"service/cache":      {},
	"service/events":     {"gen", "service/store"},
	"service/policy":     {"gen"},
	"service/quota":      {},
	"service/sandbox":    {},
	"service/statuspage": {},
	"service/store":      {},
	"service/tally":      {"gen", "service/apikey", "service/cache", "service/quota"},
	"service/telemetry":  {},
	"service":            {"gen", "proto", "service/apikey", "service/events", "service/policy", "service/quota", "service/statuspage", "service/store", "service/tally"},
	"cmd":                {"gen", "proto", "service", "service/apikey", "service/cache", "service/events", "service/policy", "service/quota", "service/sandbox", "service/statuspage", "service/store", "service/tally", "service/telemetry"},
	"test":               {"gen", "proto", "service", "service/apikey", "service/cache", "service/events", "service/policy", "service/quota", "service/sandbox", "service/store", "service/tally"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	list.Dir = filepath.Join("..", "..")
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	decoder := json.NewDecoder(strings.NewReader(string(output)))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// room returns the room that a package of this module is in.
func room(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, module), "/")
	if len(parts) > 1 && (parts[0] == "service" || parts[1] == "apidoc") {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func TestImportsRunDown(t *testing.T) {
	all := packages(t)
	if len(all) < len(mayImport) {
		t.Fatalf("go list found %d packages, want at least one per room", len(all))
	}
	for _, p := range all {
		below, known := mayImport[room(p.ImportPath)]
		if !known {
			t.Errorf("%s is in a room that this test does not know: say here what it may import", p.ImportPath)
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module) || room(imported) == room(p.ImportPath) {
				continue
			}
			if !slices.Contains(below, room(imported)) {
				t.Errorf("%s imports %s, which is not below it", p.ImportPath, imported)
			}
		}
	}
}

// readsCalls is the one package below service that reads what a call brings; even there nothing makes a status.
const readsCalls = module + "service/policy/identity"

// TestRESTSideSpeaksNoGRPC keeps gRPC out of the rooms below service.
func TestRESTSideSpeaksNoGRPC(t *testing.T) {
	for _, p := range packages(t) {
		if !strings.HasPrefix(room(p.ImportPath), "service/") {
			continue
		}
		for _, imported := range p.Imports {
			part, ok := strings.CutPrefix(imported, "google.golang.org/grpc")
			if ok && (p.ImportPath != readsCalls || part == "/status" || part == "/codes") {
				t.Errorf("%s imports %s: statuses are made in service/errors.go alone", p.ImportPath, imported)
			}
		}
	}
}

// resource is any of Tally's resources as a word, or as a part of a name.
var resource = regexp.MustCompile(`(?i:workspace|webhook|submission|folder|question|invite|organization|analytic)|\b(Get|List|Create|Update|Delete)?Forms?\b`)

// TestNoResourceInGenericCode keeps oddities of a resource out of service/tally: they are options of the contract, or lines in that
// resource's handler. Comments may give examples.
func TestNoResourceInGenericCode(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "service", "tally", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob() = %v, %v, want the files of service/tally", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for number, line := range strings.Split(string(text), "\n") {
			code, _, _ := strings.Cut(line, "//")
			if word := resource.FindString(code); word != "" {
				t.Errorf("%s:%d names %q", filepath.Base(file), number+1, word)
			}
		}
	}
}
