//go:build unix

package store

import (
	"os"
	"strconv"
	"syscall"
)

// number is what the file system knows a directory by; empty where it does not say.
func number(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(stat.Ino, 10)
}
