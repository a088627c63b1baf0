package main

import (
	"io"
	"log/slog"
	"os"
	"strings"
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

// libraryLog takes what libraries print to Go's standard logger, so that it is lines of the log too. What they quote is left out: it
// came over the wire, such as the start of an answer that nobody asked for, or the headers with the key under GODEBUG=http2debug=2.
type libraryLog struct{ log *slog.Logger }

// Write logs one message and returns no error.
func (l libraryLog) Write(message []byte) (int, error) {
	text := strings.TrimSpace(string(message))
	if quote := strings.IndexAny(text, "\"`"); quote >= 0 {
		text = text[:quote] + "..."
	}
	l.log.Warn("a library reports", slog.String("text", text))
	return len(message), nil
}
