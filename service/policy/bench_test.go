package policy_test

import (
	"fmt"
	"strings"
	"testing"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/policy"
)

// crowd is a policy of 200 callers over 2,000 forms: every other caller has 20 of them by id, the rest a workspace.
func crowd() string {
	var b strings.Builder
	b.WriteString("callers:\n")
	for i := range 200 {
		grant := fmt.Sprintf("workspaces: [w%d]", i)
		if i%2 == 1 {
			var forms []string
			for j := range 20 {
				forms = append(forms, fmt.Sprintf("form%d", (i-1)*10+j))
			}
			grant = "forms: [" + strings.Join(forms, ",") + "]"
		}
		fmt.Fprintf(&b, "- name: c%d\n  identities: ['spiffe://prod/ns/n%d/sa/s']\n  allow:\n"+
			"  - {methods: [read], %s}\n  - {methods: ['FormService/*'], %s}\n  deny:\n  - methods: ['*/Delete*']\n", i, i, grant, grant)
	}
	return b.String()
}

// BenchmarkDecide is one decision of a policy of 200 callers and 2,000 forms: whose identity it is, and whether it may.
func BenchmarkDecide(b *testing.B) {
	p := parse(b, crowd())
	world := &pretend{forms: map[string]policy.Place{}, pages: 4}
	for i := range 2000 {
		world.forms[fmt.Sprintf("form%d", i)] = policy.Place{Workspace: fmt.Sprintf("w%d", i/10)}
	}
	places := policy.NewPlaces(world)
	const method = "/tallyd.v1.SubmissionService/ListSubmissions"
	for _, bench := range []struct{ name, identity, form string }{
		{"by id", "spiffe://prod/ns/n123/sa/s", "form1234"},
		{"by workspace", "spiffe://prod/ns/n124/sa/s", "form1245"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			req := &tallydv1.ListSubmissionsRequest{FormId: bench.form}
			b.ReportAllocs()
			for b.Loop() {
				caller, _ := p.Caller(bench.identity)
				if _, err := p.Decide(b.Context(), places, caller, method, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFilter is what hiding costs on a page of 100 submissions with 12 answers each.
func BenchmarkFilter(b *testing.B) {
	p := parse(b, crowd())
	caller, _ := p.Caller("spiffe://prod/ns/n123/sa/s")
	req := &tallydv1.ListSubmissionsRequest{FormId: "form1234"}
	access, err := p.Decide(b.Context(), policy.NewPlaces(&pretend{}), caller, "/tallyd.v1.SubmissionService/ListSubmissions", req)
	if err != nil {
		b.Fatal(err)
	}
	page := &tallydv1.ListSubmissionsResponse{}
	for range 100 {
		submission := &tallydv1.Submission{Id: "s", FormId: "form1234"}
		for range 12 {
			submission.Responses = append(submission.Responses, &tallydv1.QuestionResponse{
				Id: "r", QuestionId: "q", FormId: "form1234", Answer: &tallydv1.QuestionResponse_Text{Text: "an answer"},
			})
		}
		page.Submissions = append(page.Submissions, submission)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := access.Filter(b.Context(), page); err != nil {
			b.Fatal(err)
		}
	}
}
