package sandbox

import (
	"slices"
	"strings"
	"testing"
)

// TestAssumeCoversWhatNobodyKnows demands that each choice is about a listed
// behaviour, that its first way is what happens anyway, and that no other is.
func TestAssumeCoversWhatNobodyKnows(t *testing.T) {
	for id, ways := range assumptions {
		if !slices.ContainsFunc(Behaviours(), func(b Behaviour) bool { return b.ID == id }) {
			t.Errorf("Behaviours() lacks %q", id)
		}
		for i, w := range ways {
			option, err := Assume(id, w.name)
			if err != nil {
				t.Fatalf("Assume(%q, %q) = %v, want no error", id, w.name, err)
			}
			usual, chosen := defaultOptions(), defaultOptions()
			option(&chosen)
			same := usual.choices() == chosen.choices()
			if same != (i == 0) {
				t.Errorf("Assume(%q, %q) changes nothing: %v, want %v", id, w.name, same, i == 0)
			}
			if err := chosen.check(); err != nil {
				t.Errorf("Assume(%q, %q) is refused: %v", id, w.name, err)
			}
		}
	}
}

func TestAssumeNamesTheChoices(t *testing.T) {
	tests := []struct{ id, way, want string }{
		{"settings-patch", "shred", "merge, replace"},
		{"weather", "rain", "settings-patch"},
	}
	for _, test := range tests {
		if _, err := Assume(test.id, test.way); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Assume(%q, %q) = %v, want an error with %q", test.id, test.way, err, test.want)
		}
	}
}

// choices are the options that Assume is about.
func (o *options) choices() [4]any {
	return [4]any{o.settingsPatch, o.revokedStatus, o.trashedStatus, [2]bool{o.choiceIDs, o.retryAfter}}
}
