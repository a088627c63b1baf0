package store_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/tallyd/tallyd/service/store"
)

// The reserve takes room when the log is opened first, and is made again when one that was spent finds room.
func TestReserve(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a reserve is made on Linux alone")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "events", "reserve")
	for _, when := range []string{"at first", "when it was spent"} {
		s := open(t, store.Config{Dir: dir})
		if info, err := os.Stat(path); err != nil || info.Size() < 8<<20 {
			t.Errorf("%s: the reserve is %+v, %v, want more than a file of the log", when, info, err)
		}
		if err := s.Room(); err != nil {
			t.Errorf("%s: Room() = %v, want none", when, err)
		}
		s.Close()
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	}
}
