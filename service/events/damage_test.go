package events_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallyd/tallyd/service/events"
)

// blocks returns the files in which the engine keeps the log.
func (w *world) blocks() (files []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.config.Dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".blk") && strings.Contains(path, "TALLYD_EVENTS") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		w.t.Fatalf("files of the log: %q, %v", files, err)
	}
	return files
}

// damage changes the file that holds an entry, behind the entry's submission id.
func (w *world) damage(submission string, change func(data []byte, at int) []byte) {
	w.t.Helper()
	for _, file := range w.blocks() {
		data, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		if at := bytes.Index(data, []byte(`"submissionId":"`+submission+`"`)); at >= 0 {
			if err := os.WriteFile(file, change(data, at), 0o600); err != nil {
				w.t.Fatal(err)
			}
			return
		}
	}
	w.t.Fatalf("no file holds submission %s", submission)
}

// crash makes what is on the disk look as after a crash: the engine has written no index.
func (w *world) crash() {
	w.t.Helper()
	err := filepath.WalkDir(w.config.Dir, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) == "index.db" {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// Whatever part of the log is damaged, in whatever way: what is not damaged stays, what is lost is told and comes again from Tally, and
// no number is used twice.
func TestDamage(t *testing.T) {
	kinds := map[string]func(data []byte, at int) []byte{
		"a bit flips": func(data []byte, at int) []byte {
			data[at] ^= 1
			return data
		},
		"a block is zeroed": func(data []byte, at int) []byte {
			clear(data[at:min(at+4096, len(data))])
			return data
		},
		"the rest is cut off": func(data []byte, at int) []byte { return data[:at] },
	}
	for name, change := range kinds {
		for _, crashed := range []bool{false, true} {
			for _, victim := range []string{"s020", "s059"} {
				t.Run(fmt.Sprintf("%s, crashed %v, %s", name, crashed, victim), func(t *testing.T) { damaged(t, victim, crashed, change) })
			}
		}
	}
}

func damaged(t *testing.T, victim string, crashed bool, change func([]byte, int) []byte) {
	k := newKept(t, embedded, "")
	k.begin()
	const all = 60
	for i := range all {
		id := fmt.Sprintf("s%03d", i)
		k.tally.submit(id, time.Now())
		k.add(delivered("f", id), events.Stored)
	}
	k.scrub(1 << 30)
	token := k.tokenAtEnd()
	k.stop()
	k.close()
	k.damage(victim, change)
	if crashed {
		k.crash()
	}
	k.open()
	// As a process does before anything is written: what is written first hides that the end is lost.
	if _, err := k.log.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.keep("")
	k.pass() // the comparison that a start makes
	k.scrub(1 << 30)
	k.check()

	settled := k.settledEvents(all)
	k.healedBehind(token, settled, all)
	seen, last := map[string]bool{}, 0
	for _, event := range settled {
		var n int
		var id string
		if _, err := fmt.Sscanf(event, "f lost %d", &n); err == nil {
			continue
		}
		if _, err := fmt.Sscanf(event, "f %d %s", &n, &id); err != nil || seen[id] || n <= last {
			t.Errorf("event %q is out of place behind %d", event, last)
		}
		seen[id], last = true, n
	}
	for i := range all {
		if id := fmt.Sprintf("s%03d", i); !seen[id] {
			t.Errorf("submission %s is lost for good", id)
		}
	}
	if len(k.gaps) == 0 {
		t.Error("nobody was told")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if distinct := len(slices.Compact(slices.Sorted(slices.Values(k.gaps)))); distinct != len(k.gaps) {
		t.Errorf("gaps told are %q, want each once", k.gaps)
	}
}

// settledEvents returns all events of form f once there are as many submissions among them as there should be.
func (k *kept) settledEvents(want int) []string {
	k.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		got, n := k.all(), 0
		for _, event := range got {
			if !strings.Contains(event, "lost") {
				n++
			}
		}
		if n >= want || time.Now().After(deadline) {
			return got
		}
	}
}

// tokenAtEnd is what somebody has who has seen everything.
func (k *kept) tokenAtEnd() string {
	k.t.Helper()
	seal, err := k.log.Seal(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	at, err := k.log.Latest(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return seal.Token(at, 7)
}

// healedBehind demands that what came again comes behind a token of before, although the engine may have used its positions anew.
func (k *kept) healedBehind(token string, all []string, before int) {
	k.t.Helper()
	seal, err := k.log.Seal(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	at, err := seal.Place(token, 7)
	if err != nil {
		k.t.Fatal(err)
	}
	var want []string
	for _, event := range all {
		var n int
		if _, err := fmt.Sscanf(event, "f %d", &n); err == nil && n > before {
			want = append(want, event)
		}
	}
	c := k.hub.Watch(events.Selection{Forms: []string{"f"}}, at)
	defer c.Close()
	got := map[string]bool{}
	for {
		r, err := c.Next(k.t.Context())
		if err != nil {
			k.t.Fatal(err)
		}
		if r == nil {
			break
		}
		got[say(r)] = true
	}
	for _, event := range want {
		if !got[event] {
			k.t.Errorf("a watcher that had seen everything never hears of %q", event)
		}
	}
}
