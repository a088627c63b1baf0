package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// callWith makes a call with metadata and returns its code.
func callWith(t *testing.T, address, form string, md ...string) codes.Code {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, md...)
	_, err = tallydv1.NewFormServiceClient(conn).GetForm(ctx, &tallydv1.GetFormRequest{FormId: form})
	return status.Code(err)
}

// TestEachWayToProve starts tallyd as a mesh does and calls it with each proof: a sidecar's header, Linkerd's, a service account's token.
func TestEachWayToProve(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	jwks := writeFile(t, filepath.Join(dir, "keys.json"), string(keys))
	file := writeFile(t, filepath.Join(dir, "policy.yaml"), `
identify:
- xfcc: {}
- linkerd: {}
- jwt: {name: cluster, issuer: "https://kubernetes.default.svc", audience: tallyd, jwks_file: `+jwks+`}
callers:
- name: everybody
  identities:
  - spiffe://cluster.local/ns/shop/sa/orders
  - linkerd:orders.shop.serviceaccount.identity.linkerd.cluster.local
  - jwt:cluster:system:serviceaccount:shop:orders
  allow: [{methods: [read], forms: [Whsale]}]
`)
	address, log := startLogged(t, "--sandbox", "--policy", file)
	token := func(subject string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jwt.Signed(signer).Claims(map[string]any{
			"iss": "https://kubernetes.default.svc", "aud": "tallyd", "sub": subject, "exp": time.Now().Add(time.Hour).Unix(),
		}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	good := token("system:serviceaccount:shop:orders")
	tests := []struct {
		name string
		md   []string
		want codes.Code
	}{
		{"sidecar", []string{"x-forwarded-client-cert", "By=spiffe://x/y;URI=spiffe://cluster.local/ns/shop/sa/orders"}, codes.OK},
		{"Linkerd", []string{"l5d-client-id", "orders.shop.serviceaccount.identity.linkerd.cluster.local"}, codes.OK},
		{"token", []string{"authorization", "Bearer " + good}, codes.OK},
		{"token of another service account", []string{"authorization", "Bearer " + token("system:serviceaccount:shop:cart")}, codes.PermissionDenied},
		{"token with a changed signature", []string{"authorization", "Bearer " + good[:len(good)-8] + "AAAAAAAA"}, codes.Unauthenticated},
		{"nothing", nil, codes.Unauthenticated},
	}
	for _, test := range tests {
		if got := callWith(t, address, "Whsale", test.md...); got != test.want {
			t.Errorf("%s: GetForm() = %v, want %v", test.name, got, test.want)
		}
		if got := callWith(t, address, "Contct", test.md...); test.want == codes.OK && got != codes.PermissionDenied {
			t.Errorf("%s: GetForm() of a foreign form = %v, want PermissionDenied", test.name, got)
		}
	}
	if strings.Contains(log.String(), good[:40]) {
		t.Error("the log holds a token")
	}
}

// TestPolicyReload changes the file under a running tallyd: a good one counts, a bad one changes nothing and is said.
func TestPolicyReload(t *testing.T) {
	rules := func(form string) string {
		return "identify: [xfcc: {}]\ncallers:\n- name: a\n  identities: ['spiffe://p/a']\n  allow: [{methods: [read], forms: [" + form + "]}]\n"
	}
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "policy.yaml"), rules("Whsale"))
	audit := filepath.Join(dir, "audit.jsonl")
	address, log := startLogged(t, "--sandbox", "--policy", file, "--audit-log", audit)
	who := []string{"x-forwarded-client-cert", "URI=spiffe://p/a"}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for start := time.Now(); !ok(); {
			if time.Since(start) > 20*time.Second {
				t.Fatalf("%s never came\n%s", what, log)
			}
		}
	}
	if got := callWith(t, address, "Contct", who...); got != codes.PermissionDenied {
		t.Fatalf("GetForm() before = %v, want PermissionDenied", got)
	}
	writeFile(t, file, rules("Contct"))
	eventually("the new policy", func() bool { return callWith(t, address, "Contct", who...) == codes.OK })
	writeFile(t, file, "callers: []\n")
	eventually("the complaint", func() bool { return strings.Contains(log.String(), "the last good one stays") })
	if got := callWith(t, address, "Contct", who...); got != codes.OK {
		t.Errorf("GetForm() under the last good policy = %v, want OK", got)
	}
	// The trail goes on in a new file when somebody moves the old one away.
	if err := os.Rename(audit, audit+".1"); err != nil {
		t.Fatal(err)
	}
	_ = callWith(t, address, "Whsale", who...)
	for _, path := range []string{audit, audit + ".1"} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), `"msg":"denied"`) {
			t.Errorf("%s holds %q, %v, want a denial", path, text, err)
		}
	}
}

// TestPolicyCommands holds what the commands print and how they end.
func TestPolicyCommands(t *testing.T) {
	bad := writeFile(t, filepath.Join(t.TempDir(), "p.yaml"), "callers:\n- name: a\n  identities: [x]\n  groups: [g]\n")
	tests := []struct {
		name     string
		args     []string
		wantCode int
		want     []string
	}{
		{"every problem", []string{"policy", "check", bad}, 2, []string{bad + `:3 identity "x"`, bad + `:4 group "g"`, "2 to mend"}},
		{"no file", []string{"policy", "check", bad + "x"}, 2, []string{"no such file"}},
		{"bad policy", []string{"policy", "explain", "--policy", bad, "--caller", "a", "--method", "FormService/GetForm"}, 2, []string{"and 1 more: see `tallyd policy check`"}},
		{"unknown method", []string{"policy", "explain", "--policy", "../../examples/policy/policy.yaml", "--caller", "desk", "--method", "GetForm"}, 2, []string{`method "GetForm" is not in the contract`}},
		{"serve", []string{"serve", "--sandbox", "--policy", bad}, 2, []string{"--policy: ", "and 1 more"}},
		{"no place for the trail", []string{"serve", "--sandbox", "--audit-log", "/nosuch/dir/a"}, 2, []string{"--audit-log"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(keyVariable, "")
			var out bytes.Buffer
			code := run(t.Context(), test.args, console{out: &out, err: &out})
			if code != test.wantCode {
				t.Errorf("run(%q) = %d, want %d", test.args, code, test.wantCode)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("run(%q) printed %s, want %q in it", test.args, out.String(), want)
				}
			}
		})
	}
}
