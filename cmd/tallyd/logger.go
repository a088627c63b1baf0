package main

import (
	"io"
	"log/slog"
	"os"
	"sync"
)

// newLogger logs as text on a terminal, else as JSON.
func newLogger(w io.Writer, format string) *slog.Logger {
	if format == "text" || (format == "auto" && isTerminal(w)) {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(slog.NewJSONHandler(w, nil))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// maxDriftPaths bounds the memory and the log of what Tally may invent.
const maxDriftPaths = 1000

// onceLog logs each path of a drift once.
type onceLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[string]bool
}

func newOnceLog(log *slog.Logger) *onceLog { return &onceLog{log: log, seen: map[string]bool{}} }

func (o *onceLog) note(path, kind string) {
	o.mu.Lock()
	known := o.seen[kind+path] || len(o.seen) >= maxDriftPaths
	if !known {
		o.seen[kind+path] = true
	}
	o.mu.Unlock()
	if !known {
		o.log.Info("tally's answer holds what the contract does not know", slog.String("path", path), slog.String("kind", kind))
	}
}
