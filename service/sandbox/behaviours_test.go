package sandbox

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var reference = regexp.MustCompile(`\[behaviour ([a-z0-9-]+)\]`)

// referred collects the ids that the code refers to, in files but this one.
func referred(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatalf("Glob() = %v, want no error", err)
	}
	var ids []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("ReadFile(%q) = %v, want no error", file, err)
		}
		for _, m := range reference.FindAllStringSubmatch(string(source), -1) {
			ids = append(ids, m[1])
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func TestBehavioursMatchTheCode(t *testing.T) {
	var listed []string
	for _, b := range Behaviours() {
		listed = append(listed, b.ID)
	}
	used := referred(t)
	for _, id := range used {
		if !slices.Contains(listed, id) {
			t.Errorf("code refers to behaviour %q, which is not listed", id)
		}
	}
	for _, id := range listed {
		if !slices.Contains(used, id) {
			t.Errorf("behaviour %q is listed, but no code refers to it", id)
		}
	}
}

func TestBehavioursAreMarked(t *testing.T) {
	last := ""
	counts := map[Mark]int{}
	for _, b := range Behaviours() {
		if b.ID <= last {
			t.Errorf("behaviour %q follows %q, want them sorted and single", b.ID, last)
		}
		last = b.ID
		counts[b.Mark]++
		if b.Summary == "" || strings.HasSuffix(b.Summary, ".") {
			t.Errorf("behaviour %q: summary %q, want a phrase", b.ID, b.Summary)
		}
	}
	if len(counts) != 3 || counts[Documented] == 0 || counts[Observed] == 0 || counts[Assumed] == 0 {
		t.Errorf("marks = %v, want all three and no other", counts)
	}
}
