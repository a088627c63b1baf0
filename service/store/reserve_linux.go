package store

import (
	"os"
	"syscall"
)

// allocate gives a file room without writing to it. It looks first: what it took and cannot use others may need meanwhile.
func allocate(file *os.File, size int64) error {
	fd := int(file.Fd())
	var disk syscall.Statfs_t
	if err := syscall.Fstatfs(fd, &disk); err == nil && int64(disk.Bavail)*disk.Bsize < size { //nolint:gosec // no disk is that large
		return syscall.ENOSPC
	}
	return syscall.Fallocate(fd, 0, 0, size)
}
