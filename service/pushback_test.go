package service_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestPushbackFitsTheDeadline tells a client to wait only as long as its call lasts. grpc-java waits whatever its policy says of the
// code: past the deadline its caller would hear of the deadline alone, and never of the reason.
func TestPushbackFitsTheDeadline(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "7")
		rw.WriteHeader(http.StatusTooManyRequests)
	}, nil)
	tests := []struct {
		name    string
		timeout time.Duration
		want    []string
	}{
		{name: "none", want: []string{"7000"}},
		{name: "later than the wait", timeout: time.Minute, want: []string{"7000"}},
		{name: "earlier than the wait", timeout: 6 * time.Second, want: []string{"-1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			var trailer metadata.MD
			err := getForm("f1")(ctx, w, grpc.Trailer(&trailer))
			if got := trailer.Get("grpc-retry-pushback-ms"); !slices.Equal(got, test.want) || status.Code(err) != codes.ResourceExhausted {
				t.Errorf("GetForm() = %v with push-back %v, want RESOURCE_EXHAUSTED with %v", err, got, test.want)
			}
		})
	}
}
