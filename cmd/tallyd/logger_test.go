package main

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"strings"
	"testing"
)

// TestLibraryLog keeps what libraries print, each message as one line of the log, and leaves out what they quote.
func TestLibraryLog(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", "http: panic serving 127.0.0.1:1", "text=\"http: panic serving 127.0.0.1:1\"\n"},
		{"quoted bytes", `Unsolicited response starting with "tly-secret"; err=<nil>`, "text=\"Unsolicited response starting with ...\"\n"},
		{"quoted header", `encoding header "authorization" = "Bearer tly-secret"`, "text=\"encoding header ...\"\n"},
		{"back quotes", "read `tly-secret`", "text=\"read ...\"\n"},
		{"several lines", "first\nsecond\n", "text=\"first\\nsecond\"\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			library := stdlog.New(libraryLog{slog.New(slog.NewTextHandler(&out, nil))}, "", 0)
			library.Print(test.text)
			if got := out.String(); !strings.HasSuffix(got, test.want) || strings.Count(got, "\n") != 1 || strings.Contains(got, "tly-") {
				t.Errorf("Print(%q) logged %q, want it to end in %q", test.text, got, test.want)
			}
		})
	}
}

// TestDriftLog logs each path once, never long and never with the key, and stops at a bound.
func TestDriftLog(t *testing.T) {
	var out bytes.Buffer
	hide := func(text string) string { return strings.ReplaceAll(text, "tly-secret", "[redacted]") }
	once := newOnceLog(slog.New(slog.NewTextHandler(&out, nil)), hide)
	for range 2 {
		once.note("Form.shiny", "unknown_field")
		once.note("Form.tly-secret", "unknown_field")
		once.note("Form."+strings.Repeat("x", 1<<20), "unknown_field")
	}
	got := out.String()
	if strings.Count(got, "\n") != 3 || strings.Contains(got, "tly-") || len(got) > 2048 {
		t.Errorf("note() logged %.2048s, want three short lines without the key", got)
	}
}
