package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// renew writes the newest file of each stream below dir anew, while no engine has it open. After an fsync that failed, the kernel takes
// what it could not write for written: another fsync of the same file would succeed and tell nothing. A new file is synced from its first
// byte on, so that whatever the engine finds in it is safe. It returns the error of the operating system.
func renew(dir string) error {
	newest, err := newestBlocks(dir)
	if err != nil {
		return err
	}
	for _, path := range newest {
		if err := rewrite(path); err != nil {
			return err
		}
	}
	return nil
}

// newestBlocks returns the file that each stream writes to.
func newestBlocks(dir string) ([]string, error) {
	newest := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".blk" {
			return err
		}
		at := filepath.Dir(path)
		if newest[at] == "" || later(path, newest[at]) {
			newest[at] = path
		}
		return nil
	})
	paths := make([]string, 0, len(newest))
	for _, path := range newest {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths, err
}

// later compares the numbers that files are named by.
func later(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return strings.Compare(a, b) > 0
}

// rewrite puts a synced copy in the place of a file.
func rewrite(path string) (err error) {
	old, err := os.Open(path) //nolint:gosec // the directory is the operator's
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the same
	if err != nil {
		return err
	}
	_, err = io.Copy(file, old)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new name in a directory safe.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the same
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
