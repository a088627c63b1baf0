package apikey

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseKey(t *testing.T) {
	tests := []struct {
		name    string
		text    string
		wantErr error
	}{
		{name: "tally", text: "tly-" + strings.Repeat("aB3x", 8)},
		{name: "oauth", text: "eyJhbGciOiJIUzI1NiJ9.e30.a-b_c~d+/="},
		{name: "one character", text: "k"},
		{name: "longest", text: strings.Repeat("k", 1024)},
		{name: "too long", text: strings.Repeat("k", 1025), wantErr: ErrTooLong},
		{name: "empty", text: "", wantErr: ErrEmpty},
		{name: "space", text: "Bearer tly", wantErr: ErrCharacter},
		{name: "newline", text: "tly\n", wantErr: ErrCharacter},
		{name: "tab", text: "tly\t", wantErr: ErrCharacter},
		{name: "nul", text: "tly\x00", wantErr: ErrCharacter},
		{name: "delete", text: "tly\x7f", wantErr: ErrCharacter},
		{name: "byte order mark", text: "\ufefftly", wantErr: ErrCharacter},
		{name: "no utf-8", text: "tly\xff", wantErr: ErrCharacter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := ParseKey(tt.text)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("ParseKey(%q) = %v, want %v", tt.text, err, tt.wantErr)
			}
			want := tt.text
			if tt.wantErr != nil {
				want = ""
			}
			if got := key.Reveal(); got != want {
				t.Errorf("ParseKey(%q).Reveal() = %q, want %q", tt.text, got, want)
			}
		})
	}
}

func TestKeyEqual(t *testing.T) {
	a, b := mustKey(t, "tly-a"), mustKey(t, "tly-b")
	tests := []struct {
		name string
		x, y Key
		want bool
	}{
		{name: "same text", x: a, y: mustKey(t, "tly-a"), want: true},
		{name: "other text", x: a, y: b, want: false},
		{name: "other length", x: a, y: mustKey(t, "tly-ab"), want: false},
		{name: "zero", x: a, y: Key{}, want: false},
		{name: "both zero", x: Key{}, y: Key{}, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.x.Equal(tt.y); got != tt.want {
				t.Errorf("Equal() = %v, want %v", got, tt.want)
			}
			if got := tt.x.Alias() == tt.y.Alias(); got != tt.want {
				t.Errorf("same alias = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAliasIsShortAndStable(t *testing.T) {
	// The literal holds the alias still: alerts and log searches name keys by it.
	if got, want := mustKey(t, "tly-sandbox").Alias(), "24065eda"; got != want {
		t.Errorf("Alias() = %q, want %q", got, want)
	}
	if got, want := (Key{}).Alias(), "none"; got != want {
		t.Errorf("Alias() of the zero key = %q, want %q", got, want)
	}
}

// holder has the key where fmt finds it by reflection and cannot ask the key's own methods.
type holder struct {
	Open   Key
	hidden Key
	list   []Key
	byName map[string]*Key
}

func holderOf(key Key) holder {
	return holder{Open: key, hidden: key, list: []Key{key}, byName: map[string]*Key{"key": &key}}
}

// marker is a key that occurs nowhere else, so that finding any part of it is a leak.
func marker() string { return "tly-" + rand.Text() + rand.Text()[:6] }

// wantNoMarker fails when text holds the marker or any long part of it in any encoding.
func wantNoMarker(t *testing.T, what string, key Key, text string) {
	t.Helper()
	if key.Redact(text) != text {
		t.Errorf("%s shows the key %s, want none of it: %s", what, key.Alias(), key.Redact(text))
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	key := mustKey(t, marker())
	held := holderOf(key)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%t", "%e", "%c", "%U", "%p", "%w", "%z", "%10.3s"} {
		for name, value := range map[string]any{"key": key, "pointer": &key, "holder": held, "holder pointer": &held, "slice": held.list} {
			wantNoMarker(t, verb+" of "+name, key, fmt.Sprintf(verb, value))
		}
	}
	if got, want := fmt.Sprintf("%v %+v %#v %s %q %x %d", key, key, key, key, key, key, key), strings.TrimSpace(strings.Repeat(redacted+" ", 7)); got != want {
		t.Errorf("Sprintf() = %q, want %q", got, want)
	}
}

func TestKeyIsNeverEncoded(t *testing.T) {
	key := mustKey(t, marker())
	for name, encode := range map[string]func(any) ([]byte, error){"json": json.Marshal, "xml": xml.Marshal} {
		type page struct{ Key Key }
		got, err := encode(page{key})
		if err != nil {
			t.Fatalf("%s: Marshal() = %v, want no error", name, err)
		}
		wantNoMarker(t, name, key, string(got))
		if !bytes.Contains(got, []byte(redacted)) {
			t.Errorf("%s: Marshal() = %s, want %s in it", name, got, redacted)
		}
	}
	got, err := json.Marshal(map[string]any{"a": key, "b": &key, "c": holderOf(key)})
	if err != nil {
		t.Fatalf("Marshal() = %v, want no error", err)
	}
	wantNoMarker(t, "json", key, string(got))
}

func TestKeyIsNeverLogged(t *testing.T) {
	key := mustKey(t, marker())
	var out bytes.Buffer
	opts := &slog.HandlerOptions{Level: slog.LevelDebug}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, opts), slog.NewJSONHandler(&out, opts)} {
		log := slog.New(handler).With("with", key)
		log.Debug("key", "key", key, "pointer", &key, "holder", holderOf(key), "error", fmt.Errorf("send %v: %w", key, ErrRejected))
		log.Info("key", slog.Group("group", "key", key))
	}
	wantNoMarker(t, "log", key, out.String())
	if !strings.Contains(out.String(), redacted) {
		t.Errorf("log = %q, want %q in it", out.String(), redacted)
	}
}

func TestFailedComparisonDoesNotPrintTheKey(t *testing.T) {
	key := mustKey(t, marker())
	diff := cmp.Diff(key, mustKey(t, "tly-other"))
	if diff == "" {
		t.Fatal("Diff() of two keys is empty, want a difference")
	}
	wantNoMarker(t, "cmp.Diff", key, diff)
}

const panicVariable = "APIKEY_TEST_PANIC"

// TestPanicChild is the child of TestPanicDoesNotPrintTheKey: it dies with the key in its hands.
func TestPanicChild(t *testing.T) {
	kind := os.Getenv(panicVariable)
	if kind == "" {
		t.Skip("runs as a child of TestPanicDoesNotPrintTheKey only")
	}
	key, err := FromEnv("APIKEY_TEST_KEY").Read()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "alias", key.Alias())
	fmt.Fprintln(os.Stderr, os.Environ())
	switch kind {
	case "key":
		panic(key)
	case "holder":
		panic(holderOf(key))
	default:
		panic(newCheckError(key, errors.New("refused "+key.Reveal())))
	}
}

func TestPanicDoesNotPrintTheKey(t *testing.T) {
	key := mustKey(t, marker())
	for _, kind := range []string{"key", "holder", "error"} {
		t.Run(kind, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPanicChild$")
			child.Env = append(os.Environ(), "GOTRACEBACK=all", panicVariable+"="+kind, "APIKEY_TEST_KEY="+key.Reveal())
			out, err := child.CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte(key.Alias())) {
				t.Fatalf("child = %v with %d bytes, want a panic after the alias", err, len(out))
			}
			wantNoMarker(t, "panic", key, string(out))
		})
	}
}
