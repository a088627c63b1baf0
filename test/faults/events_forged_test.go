package faults

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// forgery is a delivery that Tally did not make.
type forgery struct {
	name       string
	body       []byte
	signatures []string
}

// forgeries are signatures that are not those of the body, of everything that is wrong with one.
func forgeries(d *deliverer) []forgery {
	body := d.body("f1", "forged", "x")
	right := sign(d.ourSigning, body)
	raw, _ := base64.StdEncoding.DecodeString(right)
	flipped := bytes.Clone(raw)
	flipped[31] ^= 1
	var indented bytes.Buffer
	_ = json.Indent(&indented, body, "", " ")
	return []forgery{
		{"no signature", body, nil},
		{"an empty one", body, []string{""}},
		{"of another secret", body, []string{sign("another", body)}},
		{"of no secret", body, []string{sign("", body)}},
		{"of another body", body, []string{sign(d.ourSigning, []byte("{}"))}},
		{"a bit is wrong", body, []string{base64.StdEncoding.EncodeToString(flipped)}},
		{"cut short", body, []string{right[:len(right)-4]}},
		{"its first half alone", body, []string{base64.StdEncoding.EncodeToString(raw[:16])}},
		{"said twice over", body, []string{base64.StdEncoding.EncodeToString(append(raw, raw...))}},
		{"two headers, both right", body, []string{right, right}},
		{"two headers, the first right", body, []string{right, "x"}},
		{"two in one header", body, []string{right + "," + right}},
		{"no base64", body, []string{strings.Repeat("!", 44)}},
		{"in hexadecimal", body, []string{hex.EncodeToString(raw)}},
		{"in the other alphabet of base64", body, []string{base64.RawURLEncoding.EncodeToString(raw)}},
		{"with a name before it", body, []string{"sha256=" + right}},
		{"the secret itself", body, []string{d.ourSigning}},
		{"body written anew", indented.Bytes(), []string{right}},
		{"body with a line more", append(bytes.Clone(body), '\n'), []string{right}},
		{"body cut short", body[:len(body)-1], []string{right}},
		{"no body", nil, []string{right}},
	}
}

// TestForgedDelivery covers rows 69 and 70: whatever is wrong with a signature, or with the bytes that it is of, the answer is the same
// 401, and nothing is stored.
func TestForgedDelivery(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l, goroutines := d.settled(t)
	list := forgeries(d)
	var first reply
	for i, f := range list {
		got, err := d.post(t.Context(), l, "f1", bytes.NewReader(f.body), http.Header{"Tally-Signature": f.signatures})
		if err != nil || got.status != http.StatusUnauthorized {
			t.Errorf("%s = %v, %v, want 401", f.name, got, err)
		}
		got.header.Del("Date")
		if i == 0 {
			first = got
		}
		if diff := cmp.Diff(first, got, cmp.AllowUnexported(reply{})); diff != "" {
			t.Errorf("%s is answered otherwise than %s (-want +got):\n%s", f.name, list[0].name, diff)
		}
	}
	// A form without a secret is closed, and is not told from a wrong signature.
	body := d.body("nosecret", "forged", "x")
	for _, secret := range []string{d.ourSigning, ""} {
		got, err := d.post(t.Context(), l, "nosecret", bytes.NewReader(body), http.Header{"Tally-Signature": {sign(secret, body)}})
		if err != nil || got.status != http.StatusUnauthorized || got.body != first.body {
			t.Errorf("a form without a secret = %v, %v, want %v", got, err, first)
		}
	}
	l.checkLog(t, "f1")
	l.checkLog(t, "nosecret")
	if got := l.metric(t, `tallyd_webhook_deliveries_total{outcome="unsigned"}`); int(got) != len(list)+2 {
		t.Errorf("%v deliveries count as unsigned, want %d", got, len(list)+2)
	}
	d.checkAfter(t, l, goroutines)
}

// TestForeignForm covers what row 69 leaves open: a right signature of one form is none for another, whose log stays empty.
func TestForeignForm(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	l, goroutines := d.settled(t)
	body := d.body("f1", "s1", "x")
	if got, err := d.deliver(t.Context(), l, "f2", body); err != nil || got.status != http.StatusBadRequest {
		t.Errorf("a delivery of f1 at the address of f2 = %v, %v, want 400", got, err)
	}
	l.checkLog(t, "f1")
	l.checkLog(t, "f2")
	d.checkAfter(t, l, goroutines)
}

// deliverSigned delivers a submission of f1 that a secret signed, and returns the status of the answer.
func (d *deliverer) deliverSigned(t *testing.T, l *logger, secret, id string) int {
	t.Helper()
	body := d.body("f1", id, "x")
	got, err := d.post(t.Context(), l, "f1", bytes.NewReader(body), http.Header{"Tally-Signature": {sign(secret, body)}})
	if err != nil {
		t.Fatal(err)
	}
	return got.status
}

// TestSecretRotation covers row 72: while the file has two secrets both sign, and one that is taken out signs no more; tallyd goes on
// running.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	d := newDeliverer(t)
	fresh, file := d.theirSigning, d.secretFile(t, d.ourSigning)
	l := d.serve(t, "--webhook-secret-file", file)
	steps := []struct {
		name              string
		secrets           []string
		wantOld, wantNext int
	}{
		{"the old one alone", []string{d.ourSigning}, 200, 401},
		{"both", []string{fresh, d.ourSigning}, 200, 200},
		{"both, the other way round", []string{d.ourSigning, fresh}, 200, 200},
		{"the new one alone", []string{fresh}, 401, 200},
		{"none", nil, 401, 401},
	}
	sent, want := 0, []string(nil)
	for _, step := range steps {
		if err := os.Rename(d.secretFile(t, step.secrets...), file); err != nil {
			t.Fatal(err)
		}
		for secret, wantStatus := range map[string]int{d.ourSigning: step.wantOld, fresh: step.wantNext} {
			sent++
			id := fmt.Sprintf("s%d", sent)
			if got := d.deliverSigned(t, l, secret, id); got != wantStatus {
				t.Errorf("with %s a delivery = %d, want %d", step.name, got, wantStatus)
			}
			if wantStatus == http.StatusOK {
				want = append(want, id)
			}
		}
	}
	l.checkLog(t, "f1", want...)
	d.checkOutputs(t, l)
}
