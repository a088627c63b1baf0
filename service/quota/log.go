package quota

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// maxLog is the size in bytes at which the log is written anew with what still counts.
const maxLog = 64 << 10

// Log keeps the slots that were taken in a small file: a line each with the time in milliseconds since 1970. Lines are not synced to
// disk: they are for a process that starts again, not for a machine that does.
type Log struct {
	path   string
	file   *os.File
	size   int64
	fresh  bool        // there was none
	taken  []time.Time // what counted when it was opened, then what was taken since
	failed func(error)
	broken bool
}

// OpenLog opens the log at path, or begins one. It returns the error of the operating system. A failure to write later is told to
// failed once; slots are handed out all the same.
func OpenLog(path string, failed func(error)) (*Log, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	l := &Log{path: path, failed: failed, fresh: errors.Is(err, fs.ErrNotExist)}
	if err != nil && !l.fresh {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		// A line that was cut by a crash is no number, or one of long ago.
		if at, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64); err == nil {
			l.taken = append(l.taken, time.UnixMilli(at))
		}
	}
	return l, l.rewrite(time.Now())
}

// rewrite begins the file anew with what still counts.
func (l *Log) rewrite(now time.Time) error {
	var text []byte
	live := l.taken[:0]
	for _, at := range l.taken {
		if at.Add(window + late).After(now) {
			live = append(live, at)
			text = line(text, at)
		}
	}
	l.taken = live
	next := l.path + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, l.path); err != nil {
		return err
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	var err error
	l.file, err = os.OpenFile(l.path, os.O_APPEND|os.O_WRONLY, 0o600)
	l.size = int64(len(text))
	return err
}

func line(text []byte, at time.Time) []byte {
	return append(strconv.AppendInt(text, at.UnixMilli(), 10), '\n')
}

// note appends a slot that was taken.
func (l *Log) note(at time.Time) {
	l.taken = append(l.taken, at)
	var err error
	if l.size > maxLog {
		err = l.rewrite(at)
	} else {
		var n int
		n, err = l.file.Write(line(nil, at))
		l.size += int64(n)
	}
	if err != nil && !l.broken {
		l.failed(fmt.Errorf("the log of the slots taken cannot be written: after a restart more may be taken than Tally grants: %w", err))
	}
	l.broken = err != nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }
