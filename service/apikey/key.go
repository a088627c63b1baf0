package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

const (
	redacted  = "[redacted]"
	maxLength = 1024
)

// Reasons for which a text is not a key. None of them repeats any of the text.
var (
	// ErrEmpty says that there is nothing where a key should be.
	ErrEmpty = errors.New("is empty")
	// ErrTooLong says that the text is longer than 1 KiB.
	ErrTooLong = errors.New("is larger than 1 KiB")
	// ErrTwoLines says that the text has more than one line; one newline at its end is fine.
	ErrTwoLines = errors.New("holds more than one line: it must hold one key and nothing else")
	// ErrCharacter says that the text holds something that cannot travel in an Authorization header as one token.
	ErrCharacter = errors.New("holds a space or a character that is not printable ASCII: it must hold one key and nothing else")
)

// Key is a bearer key that every printer, encoder and logger shows as "[redacted]". The zero Key is no key.
//
// The secret lives in a closure and not in a field, because fmt, spew and the like walk the unexported fields of a
// struct that embeds a Key without asking the Key's own methods. It also forbids ==, so that Equal is the only way.
type Key struct {
	reveal func() string
	echoes func() echoes
	alias  string
}

// ParseKey takes a key: 1 to 1024 printable ASCII characters without spaces. Tally's own are "tly-" and 32 letters
// and digits, but OAuth tokens are welcome too. It returns ErrEmpty, ErrTooLong or ErrCharacter.
func ParseKey(text string) (Key, error) {
	switch {
	case text == "":
		return Key{}, ErrEmpty
	case len(text) > maxLength:
		return Key{}, ErrTooLong
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Key{}, ErrCharacter
	}
	return Key{
		reveal: func() string { return text },
		echoes: sync.OnceValue(func() echoes { return newEchoes(text) }),
		alias:  aliasOf(text),
	}, nil
}

// parseContent takes the content of a file or a variable: one key, at its end at most one newline.
func parseContent(content string) (Key, error) {
	if len(content) > maxLength {
		return Key{}, ErrTooLong
	}
	if line, found := strings.CutSuffix(content, "\n"); found {
		content = strings.TrimSuffix(line, "\r")
	}
	if strings.ContainsAny(content, "\r\n") {
		return Key{}, ErrTwoLines
	}
	return ParseKey(content)
}

// aliasOf hashes with a prefix of its own, so that the alias says nothing to someone who holds plain SHA-256 sums of
// leaked keys. 32 bits are enough to tell a handful of keys apart and too few to confirm a guess.
func aliasOf(text string) string {
	sum := sha256.Sum256([]byte("tallyd key alias 1\x00" + text))
	return hex.EncodeToString(sum[:4])
}

// Reveal returns the secret itself, or "" for the zero Key. Only the innermost round tripper has a reason to call it.
func (k Key) Reveal() string {
	if k.reveal == nil {
		return ""
	}
	return k.reveal()
}

// Alias returns eight hexadecimal digits that name the key in logs, errors and metrics without giving it away, or
// "none" for the zero Key.
func (k Key) Alias() string {
	if k.alias == "" {
		return "none"
	}
	return k.alias
}

// IsZero reports whether k is no key at all.
func (k Key) IsZero() bool { return k.reveal == nil }

// Equal reports, in constant time for keys of one length, whether both are the same key.
func (k Key) Equal(other Key) bool {
	return subtle.ConstantTimeCompare([]byte(k.Reveal()), []byte(other.Reveal())) == 1
}

// String returns "[redacted]".
func (k Key) String() string { return redacted }

// GoString returns "[redacted]".
func (k Key) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb: %x or %d would otherwise pass String by.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns "[redacted]" as a JSON string and never an error.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "[redacted]" and never an error.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }
