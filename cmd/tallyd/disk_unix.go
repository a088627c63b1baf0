//go:build linux || darwin

package main

import "syscall"

// diskRoom returns how many bytes of a directory's disk are free for this process, and how many there are.
func diskRoom(dir string) (free, all float64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	size := float64(s.Bsize)
	return float64(s.Bavail) * size, float64(s.Blocks) * size, nil
}
