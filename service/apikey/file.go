package apikey

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
)

// FileError says why a key file is refused, without any of its content.
type FileError struct {
	Path string
	Err  error
}

// Error returns one sentence with the path and the rule that was broken.
func (e *FileError) Error() string {
	return fmt.Sprintf("key file %q %v", e.shownPath(), e.Err)
}

// Unwrap returns the rule that was broken: ErrEmpty, ErrTooLong, ErrTwoLines, ErrCharacter or an error of the
// file system.
func (e *FileError) Unwrap() error { return e.Err }

// shownPath hides a path that is a key: giving the key itself where its file is wanted is an easy slip.
func (e *FileError) shownPath() string {
	if strings.HasPrefix(e.Path, "tly-") && len(e.Path) >= 32 && !strings.ContainsRune(e.Path, filepath.Separator) {
		return redacted
	}
	return e.Path
}

type fileSource struct {
	path   string
	log    *slog.Logger
	warned atomic.Bool
}

// FromFile reads the key from a file and watches it, also through the swap of symbolic links with which Kubernetes
// renews a mounted secret. Reading gives a *FileError for a file that is absent, not a regular file, writable by its
// group or by others, over 1 KiB, empty, or that holds anything but one key and at most one newline. A file that
// others can read is only warned about, once, because mounted secrets are.
func FromFile(path string, log *slog.Logger) Source {
	return &fileSource{path: path, log: orDiscard(log)}
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

func (s *fileSource) Read() (Key, error) {
	content, mode, err := readFile(s.path)
	if err != nil {
		return Key{}, &FileError{Path: s.path, Err: err}
	}
	key, err := parseContent(content)
	if err != nil {
		return Key{}, &FileError{Path: s.path, Err: err}
	}
	if mode&0o004 != 0 && s.warned.CompareAndSwap(false, true) {
		s.log.Warn("key file can be read by every user of this machine", "path", s.path, "mode", mode)
	}
	return key, nil
}

// readFile judges the file that it has open, so that nobody can put another in its place in between.
func readFile(path string) (string, fs.FileMode, error) {
	// Without O_NONBLOCK the opening of a named pipe would wait for a writer, and tallyd with it.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the path is the operator's own
	if err != nil {
		return "", 0, openError(err)
	}
	defer func() { _ = file.Close() }() // nothing was written
	info, err := file.Stat()
	if err != nil {
		return "", 0, openError(err)
	}
	if err := allowed(info.Mode()); err != nil {
		return "", 0, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxLength+1))
	if err != nil {
		return "", 0, openError(err)
	}
	return string(content), info.Mode().Perm(), nil
}

func allowed(mode fs.FileMode) error {
	switch {
	case mode.IsDir():
		return errors.New("is a directory: it must be a file that holds one key")
	case !mode.IsRegular():
		return errors.New("is not a regular file: it could not be read again when the key changes")
	case mode&0o022 != 0:
		return fmt.Errorf("is writable by its group or by others (mode %#o): run chmod go-w on it", mode.Perm())
	}
	return nil
}

// openError drops what os adds to an error, because FileError already names the path.
func openError(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("does not exist: %w", err)
	case errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("is a loop of symbolic links: %w", err)
	}
	return fmt.Errorf("cannot be read: %w", err)
}
