package apikey

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// partial is the number of characters of a key from which an echo gives too much away: "tly-" and eight more.
const partial = 12

// echoes recognises a key in a text: every run of its characters, or of an encoding of them, that is long enough.
type echoes []runs

// runs holds all runs of one length that occur in a form of the key. A longer echo is a chain of such runs.
type runs struct {
	length int
	known  map[string]struct{}
}

// Redact returns text with every echo of the key replaced by "[redacted]": the whole of it or any 12 characters,
// plain, in one case, in base64, in hexadecimal, percent-escaped or escaped as in JSON. A key shorter than that only goes whole.
func (k Key) Redact(text string) string {
	if k.IsZero() || text == "" {
		return text
	}
	hit := k.hits([]byte(text))
	if hit == nil {
		return text
	}
	return string(replace([]byte(text), hit))
}

// RedactBytes is Redact for bytes. It returns text itself when there is nothing to hide and never writes to it.
func (k Key) RedactBytes(text []byte) []byte {
	if k.IsZero() || len(text) == 0 {
		return text
	}
	hit := k.hits(text)
	if hit == nil {
		return text
	}
	return replace(text, hit)
}

// hits marks the bytes of text that belong to an echo; nil when none does.
func (k Key) hits(text []byte) []bool {
	var hit []bool
	forms := k.echoes()
	for _, seen := range views(text) {
		for _, form := range forms {
			for i := 0; i+form.length <= len(seen.text); i++ {
				if _, found := form.known[string(seen.text[i:i+form.length])]; !found {
					continue
				}
				if hit == nil {
					hit = make([]bool, len(text))
				}
				for at := seen.at(i); at < seen.at(i+form.length); at++ {
					hit[at] = true
				}
			}
		}
	}
	return hit
}

func replace(text []byte, hit []bool) []byte {
	var out bytes.Buffer
	for i, b := range text {
		switch {
		case !hit[i]:
			out.WriteByte(b)
		case i == 0 || !hit[i-1]:
			out.WriteString(redacted)
		}
	}
	return out.Bytes()
}

func newEchoes(secret string) echoes {
	var all echoes
	// Names of hosts and of headers come back in another case.
	for _, form := range slices.Compact([]string{secret, strings.ToLower(secret), strings.ToUpper(secret)}) {
		all = all.add(form, partial)
	}
	// What stands before the key shifts base64 by up to two bytes, as "user:" does in Basic; the characters at the
	// edges mix in bits of the neighbours and are left out.
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			text := encoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + secret))
			all = all.addEncoded(text[(shift*8+5)/6:(shift+len(secret))*8/6], partial*4/3)
		}
	}
	lower := hex.EncodeToString([]byte(secret))
	return all.addEncoded(lower, partial*2).addEncoded(strings.ToUpper(lower), partial*2)
}

// addEncoded leaves out what is so short that it would strike ordinary words.
func (e echoes) addEncoded(form string, length int) echoes {
	if len(form) < 8 {
		return e
	}
	return e.add(form, length)
}

func (e echoes) add(form string, length int) echoes {
	length = min(length, len(form))
	known := make(map[string]struct{}, len(form)-length+1)
	for i := 0; i+length <= len(form); i++ {
		known[form[i:i+length]] = struct{}{}
	}
	return append(e, runs{length: length, known: known})
}

// view is a text with escapes undone that remembers where each byte came from.
type view struct {
	text   []byte
	starts []int // one more than text has bytes; nil when the text is as it was
}

// views returns text as it is and with its escapes undone: one kind at a time as well as both, because a key may
// itself hold a percent sign or a backslash that stands for nothing else.
func views(text []byte) []view {
	all := []view{{text: text}}
	percent, backslash := bytes.IndexByte(text, '%') >= 0, bytes.IndexByte(text, '\\') >= 0
	if percent {
		all = append(all, decoded(text, "%"))
	}
	if backslash {
		all = append(all, decoded(text, `\u00`, `\x`, `\`))
	}
	if percent && backslash {
		all = append(all, decoded(text, "%", `\u00`, `\x`, `\`))
	}
	return all
}

// at returns where in the text byte i of the view begins.
func (v view) at(i int) int {
	if v.starts == nil {
		return i
	}
	return v.starts[i]
}

func decoded(text []byte, escapes ...string) view {
	out := view{text: make([]byte, 0, len(text)), starts: make([]int, 0, len(text)+1)}
	for i := 0; i < len(text); {
		b, width := unescape(text[i:], escapes)
		out.text = append(out.text, b)
		out.starts = append(out.starts, i)
		i += width
	}
	out.starts = append(out.starts, len(text))
	return out
}

// unescape undoes one escape at the start of text: %2F, \u002f, \x2f, or a backslash before punctuation.
func unescape(text []byte, escapes []string) (b byte, width int) {
	for _, escape := range escapes {
		if !bytes.HasPrefix(text, []byte(escape)) {
			continue
		}
		if escape == `\` {
			if len(text) > 1 && bytes.IndexByte([]byte(`"\/`), text[1]) >= 0 {
				return text[1], 2
			}
			continue
		}
		end := len(escape) + 2
		var out [1]byte
		if len(text) < end {
			continue
		}
		if _, err := hex.Decode(out[:], text[len(escape):end]); err == nil {
			return out[0], end
		}
	}
	return text[0], 1
}
