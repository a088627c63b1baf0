package events_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tallyd/tallyd/service/events"
)

// A copy of the directory of a process that has ended is a backup. Whoever has seen more than it has goes on from its end, although the
// numbers behind that are used again.
func TestBackup(t *testing.T) {
	for name, restore := range map[string]func(t *testing.T, w *world, copied string){
		"elsewhere": func(_ *testing.T, w *world, copied string) { w.config.Dir = copied },
		"in its place": func(t *testing.T, w *world, copied string) {
			events := filepath.Join(w.config.Dir, "events") // which keeps its number
			if err := os.RemoveAll(filepath.Join(events, "jetstream")); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(events, "jetstream"), os.DirFS(filepath.Join(copied, "events", "jetstream"))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(events, "restored"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { testBackup(t, restore) })
	}
}

func testBackup(t *testing.T, restore func(t *testing.T, w *world, copied string)) {
	w := newWorld(t, embedded)
	w.begun("f")
	w.add(delivered("f", "a"), events.Stored)
	w.add(delivered("f", "b"), events.Stored)
	seal, err := w.log.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	early := seal.Token(events.Place{Position: 1}, 7)
	w.close()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(w.config.Dir)); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.add(delivered("f", "c"), events.Stored)
	w.add(delivered("f", "d"), events.Stored)
	if seal, err = w.log.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := seal.Token(events.Place{Position: 4}, 7)
	w.close()

	restore(t, w, copied)
	w.open()
	if seal, err = w.log.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"d", "c", "e"} { // what is found by comparing, in another order
		w.add(delivered("f", id), events.Stored)
	}
	for name, test := range map[string]struct {
		token string
		want  []string
	}{
		"from before the copy": {early, []string{"f 2 b", "f 3 d", "f 4 c", "f 5 e"}},
		"from after the copy":  {late, []string{"f 3 d", "f 4 c", "f 5 e"}},
	} {
		at, err := seal.Place(test.token, 7)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.next(w.watch(at, "f"), len(test.want)); !slices.Equal(got, test.want) {
			t.Errorf("%s: events are %q, want %q", name, got, test.want)
		}
	}
	if len(w.gaps) > 0 {
		t.Errorf("gaps told are %q, want none", w.gaps)
	}
}
