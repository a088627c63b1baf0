package tally_test

import (
	"context"
	encjson "encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

const testKey = "tly-0123456789abcdefghijABCDEFGHIJ01"

// files are the services of the contract.
func files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		tallydv1.File_tallyd_v1_user_service_proto,
		tallydv1.File_tallyd_v1_organization_service_proto,
		tallydv1.File_tallyd_v1_workspace_service_proto,
		tallydv1.File_tallyd_v1_form_service_proto,
		tallydv1.File_tallyd_v1_submission_service_proto,
		tallydv1.File_tallyd_v1_analytics_service_proto,
		tallydv1.File_tallyd_v1_webhook_service_proto,
	}
}

func contract(t testing.TB) *tally.Contract {
	t.Helper()
	c, err := tally.NewContract(files()...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fixedKey is a key that nothing is known of but what a test says.
type fixedKey struct {
	key     apikey.Key
	err     error
	verdict apikey.Verdict
}

func (k *fixedKey) Current() apikey.Key { return k.key }
func (k *fixedKey) Err() error          { return k.err }
func (k *fixedKey) Confirm(context.Context, apikey.Key) (apikey.Verdict, error) {
	if k.verdict == apikey.VerdictRejected {
		return k.verdict, &apikey.RejectedError{Alias: k.key.Alias(), Since: time.Now(), RetryAfter: 30 * time.Second}
	}
	return k.verdict, nil
}

func newKey(t testing.TB) *fixedKey {
	t.Helper()
	key, err := apikey.ParseKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return &fixedKey{key: key, verdict: apikey.VerdictGood}
}

// upstream starts a server that stands for Tally and returns a client for it.
func upstream(t testing.TB, handler http.HandlerFunc, change ...func(*tally.Config)) *tally.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return clientFor(t, server.URL, change...)
}

func clientFor(t testing.TB, address string, change ...func(*tally.Config)) *tally.Client {
	t.Helper()
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	config := tally.Config{
		URL: base, Version: "2025-02-01", UserAgent: "tallyd/test", Keys: newKey(t), Limits: tally.DefaultLimits(),
	}
	for _, f := range change {
		f(&config)
	}
	client := tally.New(contract(t), config)
	t.Cleanup(client.Close)
	return client
}

// answers replies to every request with one status and body.
func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// sample returns a recorded payload, and skips the test where the folder of them is not at hand.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "shared", "samples", name))
		if err == nil {
			return data
		}
	}
	t.Skipf("no folder of samples holds %s", name)
	return nil
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

// exact parses JSON without rounding numbers.
func exact(t testing.TB, text string) any {
	t.Helper()
	d := encjson.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

type (
	httpWriter  = http.ResponseWriter
	httpRequest = http.Request
)
