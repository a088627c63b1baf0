//go:build !unix

package store

import (
	"os"
	"path/filepath"
)

// lock keeps nobody out where the system has no such lock.
func lock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
