package service_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestSmuggledIdempotencyKey covers fault row 50: with this header Go's client would send a write again whose kept connection died, so
// a caller must not be able to set it, nor anything else that travels.
func TestSmuggledIdempotencyKey(t *testing.T) {
	var writes atomic.Int64
	seen := make(chan http.Header, 10)
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		if r.Method == http.MethodPost {
			writes.Add(1)
			panic(http.ErrAbortHandler)
		}
		body(`{"id":"f1"}`)(rw, r)
	}, nil)
	smuggled := []string{"idempotency-key", "x-idempotency-key", "authorization", "host", "x-forwarded-for", "tally-version"}
	ctx := t.Context()
	for _, name := range smuggled {
		ctx = metadata.AppendToOutgoingContext(ctx, name, "smuggled")
	}
	// The read leaves a connection behind that is kept.
	if err := getForm("f1")(ctx, w); err != nil {
		t.Fatal(err)
	}
	if err := createForm(ctx, w); status.Code(err) != codes.Unknown {
		t.Errorf("CreateForm() = %v, want %v", err, codes.Unknown)
	}
	if n := writes.Load(); n != 1 {
		t.Errorf("Tally saw %d writes, want 1", n)
	}
	for range 2 {
		for name, values := range <-seen {
			for _, value := range values {
				if value == "smuggled" {
					t.Errorf("Tally saw the caller's %s", name)
				}
			}
		}
	}
}
