package quota

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"
)

// maxLog is the size in bytes at which the log is written anew with what still counts.
const maxLog = 64 << 10

// Log keeps the slots that were taken in a small file: a line each with the time in milliseconds since 1970. Lines are not synced to
// disk: they are for a process that starts again, not for a machine that does. It is one process's at a time, and it trusts the wall
// clock from one process to the next.
type Log struct {
	path   string
	file   *os.File
	size   int
	most   int         // the size at which the file is written anew
	fresh  bool        // there was none
	taken  []time.Time // what counted when the file was written anew, then what was taken since
	failed func(error)
	broken bool
}

// OpenLog opens the log at path, or begins one. It returns the error of the operating system. A failure to write later is told to
// failed once, which must not use the scheduler; slots are handed out all the same.
func OpenLog(path string, failed func(error)) (*Log, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	l := &Log{path: path, failed: failed, fresh: errors.Is(err, fs.ErrNotExist)}
	if err != nil && !l.fresh {
		return nil, err
	}
	now := time.Now()
	for line := range bytes.Lines(text) {
		// A line that was cut by a crash is no number, or one of long ago.
		if at, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64); err == nil {
			// The clock that wrote a time to come was wrong: it counts as now, and so it is written anew, lest it counts for ever.
			l.taken = append(l.taken, time.UnixMilli(min(at, now.UnixMilli())))
		}
	}
	return l, l.rewrite(now)
}

// rewrite begins the file anew with what still counts.
func (l *Log) rewrite(now time.Time) error {
	l.taken = slices.DeleteFunc(l.taken, func(at time.Time) bool { return now.Sub(at) >= window+late })
	var text []byte
	for _, at := range l.taken {
		text = line(text, at)
	}
	next := l.path + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, l.path); err != nil {
		return err
	}
	file, err := os.OpenFile(l.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.size, l.most = file, len(text), max(maxLog, 2*len(text))
	return nil
}

func line(text []byte, at time.Time) []byte {
	return append(strconv.AppendInt(text, at.UnixMilli(), 10), '\n')
}

// note appends a slot that was taken. After a failure the whole file is tried again: its last line may be cut, or its directory gone.
func (l *Log) note(at time.Time) {
	l.taken = append(l.taken, at)
	// Writing to a file that was removed succeeds, and the next process finds nothing.
	_, err := os.Lstat(l.path)
	if err != nil || l.broken || l.size >= l.most {
		err = l.rewrite(at)
	} else {
		var n int
		n, err = l.file.Write(line(nil, at))
		l.size += n
	}
	if err != nil && !l.broken {
		l.failed(fmt.Errorf("the log of the slots taken cannot be written: after a restart more may be taken than Tally grants: %w", err))
	}
	l.broken = err != nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }
