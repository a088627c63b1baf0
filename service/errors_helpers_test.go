package service

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/tally"
)

// seen is what a caller can see of an error, cell by cell.
type seen struct {
	Code     codes.Code
	Reason   string
	Domain   string
	Outcome  tally.Outcome
	Pushback string
	Retry    time.Duration
	Details  []string
}

// see reads a mapped error as a caller in another language would: from the status and the trailer alone.
func see(t *testing.T, m mapped) seen {
	t.Helper()
	info := infoOf(t, m.status)
	md := m.trailer()
	got := seen{Code: m.status.Code(), Reason: info.GetReason(), Domain: info.GetDomain(), Outcome: tally.Outcome(info.GetMetadata()["outcome"])}
	got.Pushback = strings.Join(md.Get("grpc-retry-pushback-ms"), ",")
	for _, detail := range m.status.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			got.Retry = retry.GetRetryDelay().AsDuration()
		}
		message, ok := detail.(proto.Message)
		if !ok {
			t.Fatalf("detail %v of %v cannot be decoded", detail, m.status)
		}
		got.Details = append(got.Details, string(message.ProtoReflect().Descriptor().Name()))
	}
	if want := []string{got.Reason}; !slices.Equal(md.Get("tallyd-reason"), want) || m.reason != got.Reason {
		t.Errorf("trailer() = %v and reason %q, want tallyd-reason %v as in ErrorInfo", md, m.reason, want)
	}
	if want := []string{string(got.Outcome)}; !slices.Equal(md.Get("tallyd-outcome"), want) || m.outcome != got.Outcome {
		t.Errorf("trailer() = %v and outcome %q, want tallyd-outcome %v as in ErrorInfo", md, m.outcome, want)
	}
	return got
}

// infoOf returns the one ErrorInfo of a status.
func infoOf(t *testing.T, s *status.Status) *errdetails.ErrorInfo {
	t.Helper()
	var found []*errdetails.ErrorInfo
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			found = append(found, info)
		}
	}
	if len(found) != 1 {
		t.Fatalf("status %v has %d ErrorInfo, want 1", s, len(found))
	}
	return found[0]
}

// detailOf returns the one detail of a type.
func detailOf[T proto.Message](t *testing.T, s *status.Status) T {
	t.Helper()
	for _, detail := range s.Details() {
		if d, ok := detail.(T); ok {
			return d
		}
	}
	var none T
	t.Fatalf("status %v has no %T", s, none)
	return none
}

// wireSize is what a status takes in the trailers, computed as grpc encodes it.
func wireSize(t *testing.T, s *status.Status) int {
	t.Helper()
	raw, err := proto.Marshal(s.Proto())
	if err != nil {
		t.Fatalf("Marshal(%v) = %v, want a status that can travel", s, err)
	}
	var escaped strings.Builder
	for _, c := range []byte(s.Message()) {
		if c >= ' ' && c <= '~' && c != '%' {
			escaped.WriteByte(c)
			continue
		}
		fmt.Fprintf(&escaped, "%%%02X", c)
	}
	return escaped.Len() + len(base64.RawStdEncoding.EncodeToString(raw))
}

func checkSeen(t *testing.T, name string, got, want seen) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("toStatus(%s) differs (-want +got):\n%s", name, diff)
	}
}

// effectNames are all that an RPC can do.
var effectNames = map[tally.Effect]string{tally.Read: "read", tally.Create: "create", tally.Update: "update", tally.Delete: "delete"}

// listenerDialer reaches a server in this process.
func listenerDialer(listener *bufconn.Listener) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
}

// violation is one of protovalidate's that names no field.
func violation(rule, message string) *validate.Violation {
	return validate.Violation_builder{RuleId: &rule, Message: &message}.Build()
}
