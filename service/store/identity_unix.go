//go:build unix

package store

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// identity is the number that the file system knows a directory by; empty where it does not say.
func identity(dir string) string {
	info, err := os.Stat(filepath.Join(dir, "events"))
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(stat.Ino, 10)
}
