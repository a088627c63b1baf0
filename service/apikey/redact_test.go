package apikey

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	const secret = "tly-AbCdEfGhIjKlMnOpQrStUvWxYz012345"
	tests := []struct {
		name string
		key  string
		text string
		want string
	}{
		{name: "nothing to hide", key: secret, text: "get form: 500", want: "get form: 500"},
		{name: "empty", key: secret, text: "", want: ""},
		{name: "whole", key: secret, text: "bad key " + secret + ".", want: "bad key [redacted]."},
		{name: "twice", key: secret, text: secret + " " + secret, want: "[redacted] [redacted]"},
		{name: "run together", key: secret, text: secret + secret, want: "[redacted]"},
		{name: "first 12", key: secret, text: "key tly-AbCdEfGh…", want: "key [redacted]…"},
		{name: "last 12", key: secret, text: "*** XYz012345 UvWxYz012345", want: "*** XYz012345 [redacted]"},
		{name: "middle", key: secret, text: "x" + secret[7:24] + "x", want: "x[redacted]x"},
		{name: "11 characters", key: secret, text: secret[:11], want: secret[:11]},
		{name: "base64", key: secret, text: `"` + base64.StdEncoding.EncodeToString([]byte(secret)) + `"`, want: `"[redacted]"`},
		{name: "hexadecimal", key: secret, text: hex.EncodeToString([]byte(secret)), want: "[redacted]"},
		{name: "percent, all", key: secret, text: percent(secret) + "&", want: "[redacted]&"},
		{name: "percent, one", key: secret, text: "?k=" + strings.Replace(secret, "-", "%2d", 1), want: "?k=[redacted]"},
		{name: "percent, partly", key: secret, text: percent(secret)[:36] + "!", want: "[redacted]!"},
		{name: "json", key: `ab/cd"ef\gh/ij`, text: `{"key":"ab\/cd\"ef\\gh\u002fij"}`, want: `{"key":"[redacted]"}`},
		{name: "percent in the key", key: "abc%41def%42ghi", text: "abc%41def%42ghi", want: "[redacted]"},
		{name: "lower case", key: secret, text: "https://" + strings.ToLower(secret) + ".example", want: "https://[redacted].example"},
		{name: "upper case, partly", key: secret, text: strings.ToUpper(secret)[4:20], want: "[redacted]"},
		{name: "short key", key: "tly-sandbox", text: "use tly-sandbox or tly-sandbo", want: "use [redacted] or tly-sandbo"},
		{name: "shortest key", key: "k", text: "key", want: "[redacted]ey"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key := mustKey(t, tt.key)
			if got := key.Redact(tt.text); got != tt.want {
				t.Errorf("Redact(%q) = %q, want %q", tt.text, got, tt.want)
			}
			if got := string(key.RedactBytes([]byte(tt.text))); got != tt.want {
				t.Errorf("RedactBytes(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func percent(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		fmt.Fprintf(&out, "%%%02X", b)
	}
	return out.String()
}

func TestRedactBase64AtAnyOffset(t *testing.T) {
	key := mustKey(t, "tly-"+strings.Repeat("a?~b", 8))
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		for _, before := range []string{"", "u", "u:", "us:", "user:"} {
			text := encoding.EncodeToString([]byte(before + key.Reveal() + "@host"))
			got := key.Redact(text)
			// What is left beside the mark may at most hold the neighbours and the bits they share with the key.
			if !strings.Contains(got, redacted) || len(got) > len(redacted)+len(before)*4/3+1+12 {
				t.Errorf("Redact(base64 of %q and the key) = %q, want only the neighbours left", before, got)
			}
		}
	}
}

func TestRedactOfTheZeroKeyChangesNothing(t *testing.T) {
	if got, want := (Key{}).Redact("text"), "text"; got != want {
		t.Errorf("Redact(%q) = %q, want %q", "text", got, want)
	}
	if got, want := string((Key{}).RedactBytes([]byte("text"))), "text"; got != want {
		t.Errorf("RedactBytes(%q) = %q, want %q", "text", got, want)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("tly-AbCdEfGhIjKlMnOpQrStUvWxYz012345", "before ", " after")
	f.Add("ab/cd\"ef\\gh%41", "%", `\u00`)
	f.Add("k", `\`, "%4")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		key, err := ParseKey(secret)
		if err != nil {
			t.Skip()
		}
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		for _, echo := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), percent(secret), string(quoted[1 : len(quoted)-1])} {
			// The spaces keep a percent sign of the neighbour from swallowing the first two characters.
			text := before + " " + echo + " " + after
			if got := key.Redact(text); !strings.Contains(got, redacted) {
				t.Errorf("Redact(%q) = %q, want the key gone", text, got)
			}
		}
	})
}
