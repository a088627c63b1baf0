package faults

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// secrets are markers that occur nowhere else. "our" ones come from callers, "their" ones from Tally.
type secrets struct {
	key                                    string
	ourSigning, ourHeader, ourPassword     string
	theirSigning, theirHeader              string
	theirPassword, file, preview, pdf, hit string
}

func newSecrets() secrets {
	return secrets{
		key: newKey(), ourSigning: rand.Text(), ourHeader: rand.Text(), ourPassword: rand.Text(), theirSigning: rand.Text(),
		theirHeader: rand.Text(), theirPassword: rand.Text(), file: rand.Text(), preview: rand.Text(), pdf: rand.Text(), hit: rand.Text(),
	}
}

func (s secrets) byName() map[string]string {
	return map[string]string{
		"key": s.key, "caller's signing secret": s.ourSigning, "caller's webhook header": s.ourHeader, "caller's form password": s.ourPassword,
		"stored signing secret": s.theirSigning, "stored webhook header": s.theirHeader, "stored form password": s.theirPassword,
		"link to a file": s.file, "link to a submission": s.preview, "link to a PDF": s.pdf, "link in an event": s.hit,
	}
}

// giveaway is how much of a secret is too much.
const giveaway = 12

// forms are a secret as an echo might hold it.
func forms(secret string) []string {
	return []string{
		secret, strings.ToLower(secret), base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)),
	}
}

// wantNoneIn reports each secret of which a text holds a part, with the line that does.
func (s secrets) wantNoneIn(t *testing.T, what, text string) {
	t.Helper()
	for name, secret := range s.byName() {
		if line := holding(text, secret); line != "" {
			t.Errorf("%s holds the %s: %.1000s", what, name, line)
		}
	}
}

// holding returns the line of a text that holds a part of a secret, or nothing.
func holding(text, secret string) string {
	for _, form := range forms(secret) {
		for i := range len(form) - giveaway {
			at := strings.Index(text, form[i:i+giveaway])
			if at < 0 {
				continue
			}
			line, _, _ := strings.Cut(text[strings.LastIndex(text[:at], "\n")+1:], "\n")
			return line
		}
	}
	return ""
}

// wantAllIn demands that each secret is there, or a search for it elsewhere would prove nothing.
func (s secrets) wantAllIn(t *testing.T, what, text string) {
	t.Helper()
	for name, secret := range s.byName() {
		if !strings.Contains(text, secret) {
			t.Errorf("%s lacks the %s", what, name)
		}
	}
}
