package sandbox

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGuide holds docs/sandbox.md to what the sandbox takes.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(text)
	for id, ways := range assumptions {
		names := make([]string, 0, len(ways))
		for _, w := range ways {
			names = append(names, "`"+w.name+"`")
		}
		if row := "| `" + id + "` | " + strings.Join(names, ", ") + " |"; !strings.Contains(guide, row) {
			t.Errorf("the guide lacks the row %s", row)
		}
	}
	script := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(guide)
	if script == nil {
		t.Fatal("the guide shows no script of faults")
	}
	if _, err := ParseFaults(strings.NewReader(script[1])); err != nil {
		t.Errorf("ParseFaults(the guide's script) = %v, want no error", err)
	}
	for field := range faultFields() {
		if !strings.Contains(guide, "`"+field+"`") {
			t.Errorf("the guide does not explain %q", field)
		}
	}
}
