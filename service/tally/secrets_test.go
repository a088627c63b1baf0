package tally_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

const (
	signing  = "whsec-4tRfbN8dKq"
	bearer   = "hdr-Zx81LmPwQ0aa"
	password = "pw-lemon-tree-77"
	before   = "pw-before-991188"
)

type echo struct {
	name    string
	req     proto.Message
	handler http.HandlerFunc
	want    string
}

func echoes() []echo {
	headers := &tallydv1.HttpHeaders{Headers: []*tallydv1.HttpHeader{{Name: "X-Token", Value: "Bearer " + bearer}}}
	create := &tallydv1.CreateWebhookRequest{FormId: "f1", Url: "https://hooks.example.com/a", SigningSecret: new(signing), HttpHeaders: headers}
	update := &tallydv1.UpdateFormRequest{FormId: "f1", Settings: &tallydv1.FormSettings{Password: new(password)}}
	return []echo{
		{"plain", create, answers(500, "no "+signing+" for https://hooks.example.com/a"), "no [redacted] for https://hooks.example.com/a"},
		{"message", create, answers(400, `{"message":"bad `+signing+` and Bearer `+bearer+`"}`), "bad [redacted] and [redacted]"},
		{"encoded", create, answers(403, `{"message":"bad `+encoded()+`"}`), "bad [redacted]"},
		{"password", update, answers(400, `{"message":"`+password+` is weak"}`), "[redacted] is weak"},
		{"one read before", update, answers(400, `{"message":"`+before+` is weak"}`), "[redacted] is weak"},
		{"item", update, answers(400, item("settings", "settings.styles."+password)), "settings.styles.[redacted]"},
		{"key as a field", update, answers(400, item("settings", "settings."+testKey)), "settings.other.[redacted]"},
		{"code", update, answers(400, `{"errors":[{"field":"settings","msg":"x","type":"`+password+`"}]}`), "[redacted]"},
		{"redirect", create, redirectTo("https://" + strings.ToLower(signing) + ".example/"), "[redacted].example"},
		{"unreadable", create, encodedAs(signing), `"[redacted]": the answer's encoding cannot be read`},
	}
}

// encoded is an echo of what Basic authentication would make of the header.
func encoded() string { return base64.StdEncoding.EncodeToString([]byte(bearer)) }

// TestEchoedSecrets has Tally repeat what the request carried: no error holds it, and what else Tally said stays.
func TestEchoedSecrets(t *testing.T) {
	for _, test := range echoes() {
		t.Run(test.name, func(t *testing.T) {
			err := upstream(t, test.handler).Call(t.Context(), test.req, responseFor(test.req), tally.WithPart("settings", []byte(`{"password":"`+before+`"}`)))
			failure, ok := errors.AsType[*tally.Error](err)
			if !ok {
				t.Fatalf("Call() = %v, want a *tally.Error", err)
			}
			for i := range failure.Violations {
				// It is compared and never shown.
				failure.Violations[i].Key = ""
			}
			got := fmt.Sprintf("%v %+v %s", err, failure.Violations, failure.RedirectHost)
			if !strings.Contains(got, test.want) {
				t.Errorf("Call() = %s, want %q in it", got, test.want)
			}
			for _, secret := range []string{signing, bearer, password, before, encoded(), testKey} {
				if strings.Contains(strings.ToLower(got), strings.ToLower(secret)) {
					t.Errorf("Call() = %s, want %q hidden", got, secret)
				}
			}
		})
	}
}

// item is a complaint about a path, which its message quotes.
func item(field, path string) string {
	return `{"errors":[{"field":"` + field + `","message":"\"` + path + `\" is not allowed","type":"any.only"}]}`
}

func redirectTo(address string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", address)
		w.WriteHeader(http.StatusFound)
	}
}

func encodedAs(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", name) }
}
