package policy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallyd/tallyd/service/policy"
)

// TestBadFiles holds that every mistake is named with its line and its rule.
func TestBadFiles(t *testing.T) {
	const fine = "callers:\n- name: a\n  identities: ['dns:a']\n  allow: [{methods: [read], forms: [f]}]\n"
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "", "p.yaml: names no callers: nobody could call"},
		{"no YAML", "callers: [", "p.yaml: line 1: did not find expected node content"},
		{"lines that end otherwise", strings.ReplaceAll("callers:\n- name: a\n  identities: ['dns:a']\n  allow:\n  - methods: [read]\n    forms: f\n", "\n", "\r"), "p.yaml:6:12"},
		{"lines that end otherwise still", strings.ReplaceAll("callers:\n- name: a\n  identities: f\n", "\n", "\u2028"), "p.yaml:3:"},
		{"unknown key", fine + "colour: red\n", `p.yaml:5:1 unknown field "colour"`},
		{"unknown key deep down", "callers:\n- name: a\n  identities: ['dns:a']\n  alow: []\n", `p.yaml:4:3 unknown field "alow"`},
		{"wrong type", "callers: yes\n", "p.yaml:1:10"},
		{"bad name", "callers:\n- name: 'a b'\n  identities: ['dns:a']\n", "p.yaml:2:9 callers[0].name: "},
		{"bad id", "callers:\n- name: a\n  identities: ['dns:a']\n  allow:\n  - methods: [read]\n    forms: ['../me']\n", "p.yaml:6:13 callers[0].allow[0].forms[0]: "},
		{"bad weight", "callers:\n- name: a\n  identities: ['dns:a']\n  weight: 0\n", "p.yaml:4:11 callers[0].weight: "},
		{"bad priority", "callers:\n- name: a\n  identities: ['dns:a']\n  priority: high\n", "p.yaml:4:13 callers[0].priority: "},
		{"unknown secret", "callers:\n- name: a\n  identities: ['dns:a']\n  reveal: [key]\n", "p.yaml:4:12 callers[0].reveal[0]: "},
		{"two callers of a name", fine + "- name: a\n  identities: ['dns:b']\n", `p.yaml:5 name "a" is taken by line 2`},
		{"two callers of an identity", fine + "- name: b\n  identities: ['dns:a']\n", `p.yaml:6 identity "dns:a" is caller "a" already`},
		{"identity of no kind", "callers:\n- name: a\n  identities: [orders]\n", `p.yaml:3 identity "orders" must begin with spiffe://, dns:, linkerd: or jwt:NAME:`},
		{"broken pattern", "callers:\n- name: a\n  identities: ['dns:[']\n", `p.yaml:3 identity "dns:[" is no pattern that can be read`},
		{"caller without identity", "callers:\n- name: a\n", `p.yaml:2 caller "a" has no identities: nobody could be it`},
		{"group with identity", fine + "groups:\n- name: g\n  identities: ['dns:g']\n", `p.yaml:7 group "g" has identities: only callers have them`},
		{"unknown group", "callers:\n- name: a\n  identities: ['dns:a']\n  groups: [g]\n", `p.yaml:4 group "g" is not in this file`},
		{"group in itself", fine + "groups:\n- name: g\n  groups: [g]\n", `p.yaml:6 groups lead in a circle: g -> g`},
		{"groups in a circle", fine + "groups:\n- name: x\n  groups: [g]\n- name: g\n  groups: [h]\n- name: h\n  groups: [x]\n", `p.yaml:6 groups lead in a circle: x -> g -> h -> x`},
		{"rule without method", "callers:\n- name: a\n  identities: ['dns:a']\n  allow: [{forms: [f]}]\n", "callers[0].allow[0].methods: "},
		{"rule without resource", "callers:\n- name: a\n  identities: ['dns:a']\n  allow:\n  - methods: [read]\n", "p.yaml:5 allow names no resource"},
		{"misspelt method", "callers:\n- name: a\n  identities: ['dns:a']\n  allow:\n  - methods: [FormsService/*]\n    forms: ['*']\n", `p.yaml:5 methods: "FormsService/*" names no RPC`},
		{"misspelt denial", "callers:\n- name: a\n  identities: ['dns:a']\n  deny:\n  - methods: [FormService/Remove*]\n", `p.yaml:5 methods: "FormService/Remove*" names no RPC`},
		{"two issuers of a name", fine + "identify:\n- jwt: {name: k, issuer: i, audience: t, jwks_file: f}\n- jwt: {name: k, issuer: j, audience: t, jwks_file: f}\n", `p.yaml:7 jwt: name "k" is taken`},
		{"issuer without keys", fine + "identify:\n- jwt: {name: k, issuer: i, audience: t}\n", "identify[0].jwt"},
		{"shared secret", fine + "identify:\n- jwt: {name: k, issuer: i, audience: t, jwks_file: f, algorithms: [HS256]}\n", "identify[0].jwt.algorithms[0]"},
		{"no way of proving", fine + "identify: [{}]\n", "identify[0]"},
		{"1 MB", fine + "#" + strings.Repeat("x", 1<<20), "p.yaml: holds 1048661 bytes, a policy at most 1048576"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := policy.Parse("p.yaml", []byte(test.text))
			found, ok := errors.AsType[*policy.Error](err)
			if !ok || !slices.ContainsFunc(found.Problems, func(p string) bool { return strings.Contains(p, test.want) }) {
				t.Errorf("Parse() = %v, want a problem with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("Parse() = %q, want one line", err)
			}
		})
	}
}

// TestAliasesDoNotExplode holds that references within a file cannot be made to grow without bound.
func TestAliasesDoNotExplode(t *testing.T) {
	text := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		name := string(rune('b' + i))
		before := string(rune('a' + i))
		text += fmt.Sprintf("%s: &%s [%s]\n", name, name, strings.TrimSuffix(strings.Repeat("*"+before+",", 10), ","))
	}
	if _, err := policy.Parse("p.yaml", []byte(text+"callers: *j\n")); err == nil {
		t.Error("Parse() of a file of aliases = nil, want an error")
	}
}

const teams = `identify:
- mtls: {}
groups:
- name: readers
  allow:
  - methods: [read]
    workspaces: [w1]
  weight: 3
- name: careful
  groups: [readers]
  confirm: true
  deny:
  - methods: ["*/Delete*"]
callers:
- name: orders
  identities: ["spiffe://prod/ns/shop/sa/*", "dns:orders.example"]
  groups: [careful]
  allow:
  - methods: ["FormService/*"]
    forms: [f1]
  hide: [{form: f1, questions: [q1, q2]}]
- name: cart
  identities: ["spiffe://prod/ns/shop/sa/cart"]
  priority: batch
  weight: 7
  allow:
  - methods: [write, read]
    folders: [d1]
    organizations: ["*"]
  reveal: [password, signing_secret, http_headers, file_links]
`

// TestExplain holds that an explanation names the verdict and the line that decides.
func TestExplain(t *testing.T) {
	p := parse(t, teams)
	tests := []struct {
		name     string
		question policy.Question
		want     string
	}{
		{"own rule", policy.Question{Caller: "orders", Method: "FormService/GetForm", Form: "f1"}, `allowed: p.yaml:19 (entry "orders"): methods FormService/*; forms f1`},
		{"group's rule", policy.Question{Caller: "orders", Method: "FormService/GetForm", Form: "f9", Workspace: "w1"}, `allowed: p.yaml:6 (entry "readers"): methods read; workspaces w1`},
		{"by identity", policy.Question{Caller: "spiffe://prod/ns/shop/sa/web", Method: "WorkspaceService/GetWorkspace", Workspace: "w1"}, `allowed: p.yaml:6`},
		{"exact identity beats pattern", policy.Question{Caller: "spiffe://prod/ns/shop/sa/cart", Method: "FormService/GetForm", Form: "f1", Workspace: "w1"}, "denied: rules name the method, but none of them this resource"},
		{"denied by a group's group", policy.Question{Caller: "orders", Method: "FormService/DeleteForm", Form: "f1"}, `denied: p.yaml:13 (entry "careful"): methods */Delete*`},
		{"depends", policy.Question{Caller: "orders", Method: "FormService/ListQuestions", Form: "f9"}, `depends: p.yaml:6 (entry "readers"): methods read; workspaces w1, if the form lies there`},
		{"folder", policy.Question{Caller: "cart", Method: "FormService/UpdateForm", Form: "f9", Workspace: "w9", Folder: "d1"}, "allowed: p.yaml:27"},
		{"organization", policy.Question{Caller: "cart", Method: "OrganizationService/ListInvites", Organization: "o"}, "allowed: p.yaml:27"},
		{"key's user", policy.Question{Caller: "cart", Method: "UserService/GetCurrentUser"}, "allowed: p.yaml:27"},
		{"no rule", policy.Question{Caller: "orders", Method: "OrganizationService/CancelInvite", Organization: "o"}, `denied: no rule of caller "orders" (p.yaml:15) or its groups names OrganizationService/CancelInvite`},
		{"list", policy.Question{Caller: "orders", Method: "FormService/ListForms"}, "; the answer holds what is granted and nothing else"},
		{"nothing named", policy.Question{Caller: "orders", Method: "FormService/GetForm"}, "depends: it depends on what the call is about"},
		{"nobody", policy.Question{Caller: "dns:nobody", Method: "FormService/GetForm"}, `denied: p.yaml names no caller "dns:nobody"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found, err := p.Explain(test.question)
			if got := found.Verdict + ": " + found.Why; err != nil || !strings.Contains(got, test.want) {
				t.Errorf("Explain(%+v) = %q, %v, want %q", test.question, got, err, test.want)
			}
		})
	}
	if _, err := p.Explain(policy.Question{Caller: "orders", Method: "FormService/Get"}); err == nil {
		t.Error("Explain() of an unknown method = nil, want an error")
	}
	found, _ := p.Explain(policy.Question{Caller: "orders", Method: "FormService/ListBlocks", Form: "f1"})
	want := []string{"denied all the same: the call tells of all questions, and some of this form are hidden"}
	if diff := cmp.Diff(want, found.Also); diff != "" {
		t.Errorf("Explain() of blocks with hidden questions (-want +got):\n%s", diff)
	}
}

// TestCallers holds whose an identity is, and what entries inherit.
func TestCallers(t *testing.T) {
	p := parse(t, teams)
	tests := []struct {
		identity, want string
		wantWeight     int
		wantBatch      bool
	}{
		{"spiffe://prod/ns/shop/sa/web", "orders", 3, false},
		{"spiffe://prod/ns/shop/sa/cart", "cart", 7, true},
		{"dns:orders.example", "orders", 3, false},
		{"spiffe://prod/ns/shop/sa/web/more", "", 0, false},
		{"spiffe://prod/ns/shop2/sa/web", "", 0, false},
		{"DNS:orders.example", "", 0, false},
		{"", "", 0, false},
	}
	for _, test := range tests {
		c, found := p.Caller(test.identity)
		if found != (test.want != "") {
			t.Errorf("Caller(%q) found %v, want %q", test.identity, found, test.want)
		}
		if found && (c.Name != test.want || c.Weight != test.wantWeight || c.Batch != test.wantBatch) {
			t.Errorf("Caller(%q) = %s, weight %d, batch %v, want %s, %d, %v", test.identity, c.Name, c.Weight, c.Batch, test.want, test.wantWeight, test.wantBatch)
		}
	}
}

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// FuzzParse holds that no file panics, hangs, or is refused in more than one line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(teams))
	f.Add([]byte("callers: [{name: a, identities: ['dns:*'], allow: [{methods: ['*'], forms: ['*']}]}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("callers:\r\r\r- name: a\n  allow:\n  "))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse("p.yaml", data)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("Parse(%q) = %q, want one line", data, err)
			}
			return
		}
		for _, c := range p.Callers {
			if _, err := p.Explain(policy.Question{Caller: c.Name, Method: "FormService/GetForm", Form: "f"}); err != nil {
				t.Errorf("Explain() of %q = %v, want nil", c.Name, err)
			}
		}
	})
}
