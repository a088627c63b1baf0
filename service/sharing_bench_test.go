package service_test

import (
	"testing"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// BenchmarkStoredRead is a call that is answered from memory, through the whole chain under a policy, its client included.
func BenchmarkStoredRead(b *testing.B) {
	g := newGuarded(b, everything, caching(b))
	forms := tallydv1.NewFormServiceClient(g.conn)
	ctx := as(b, "all")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "Repair"}); err != nil {
			b.Fatal(err)
		}
	}
}
