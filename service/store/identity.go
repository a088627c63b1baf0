package store

import (
	"os"
	"path/filepath"
	"strconv"
)

// restored is a file that says of a log that it was put in the place of another one: a directory that is written into, or a volume that
// is set back, keeps its number.
const restored = "restored"

// identity tells the log in a directory from a copy of it; empty where the system says nothing of either.
func identity(dir string) string {
	dir = filepath.Join(dir, "events")
	mark, err := os.Stat(filepath.Join(dir, restored))
	if err != nil {
		return number(dir)
	}
	return number(dir) + "." + strconv.FormatInt(mark.ModTime().UnixNano(), 10)
}
