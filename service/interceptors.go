package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

const (
	// deadlineShave makes our error reach the caller before its own clock ends the call.
	deadlineShave = 20 * time.Millisecond
	// longestDeadline caps what a caller may ask for: no request to Tally takes longer, and a forgotten call must end.
	longestDeadline = 5 * time.Minute
	// headStart is how long a write waits after its headers: gRPC hands those to a writer of its own and does not say when they are
	// out. Were the process killed before, a proxy would repeat a write that Tally has.
	headStart    = 5 * time.Millisecond
	maxRequestID = 128
)

// Keys of metadata that tallyd reads and answers with.
const (
	keyRequestID  = "x-request-id"
	keyCache      = "cache-control"
	trailerAge    = "tallyd-age"
	trailerID     = "tallyd-request-id"
	trailerCost   = "tallyd-cost"
	trailerReason = "tallyd-reason"
)

// record is what the chain learns of one call, for the log and the trailers.
type record struct {
	id   string
	call *tally.Call
	stop *stop     // of a stream; nil for a unary call, which is waited for
	sent time.Time // when a stream's caller was sent something last; the stream's own goroutine alone knows

	mu      sync.Mutex
	reason  string
	outcome tally.Outcome
	cause   error
	caller  string // as the policy names it, else as it is proven
	source  string // how it is proven
	rule    string // the line of the policy that decided
	shadow  string // why a policy that counts would deny the call
}

type recordKey struct{}

func recordOf(ctx context.Context) *record {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		return r
	}
	return &record{call: &tally.Call{}}
}

func (r *record) fail(m mapped, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason, r.outcome, r.cause = m.reason, m.outcome, cause
}

// unaryChain returns the interceptors of unary calls in order.
func (s *Server) unaryChain() grpc.ServerOption {
	return grpc.ChainUnaryInterceptor(
		s.gate.unary,                  // before all else, so that what is refused costs next to nothing
		s.identify,                    // first of the admitted, so that everything below can name the call
		s.logUnary(),                  // outside the map, so that it logs the status that the caller sees
		s.auditUnary,                  // the same: what became of a write is what its caller hears
		mapErrors,                     // outside all that can fail, so that there is one map
		recoverUnary(),                // inside the map, so that a panic passes it too
		s.whoUnary,                    // before all that a stranger could cost
		validateUnary(s.config.Check), // before the deadline starts to matter
		s.limitDeadline,               // what is left is the caller's own time
		s.mayUnary,                    // late: it may have to look something up
		s.once,                        // last: what is denied leaves nothing, and what is answered again is filtered again
	)
}

// identify gives the call its id and sets the trailers that every call has. They are trailers, never headers: one header stops
// every client's retry.
func (s *Server) identify(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	r := &record{id: requestID(ctx)}
	stream := grpc.ServerTransportStreamFromContext(ctx)
	// From the first byte of a write on, nobody may repeat it: a header says so to clients and proxies.
	r.call = &tally.Call{BeforeSend: func() error {
		if stream == nil {
			return nil
		}
		if err := stream.SendHeader(metadata.MD{}); err != nil {
			return err
		}
		time.Sleep(headStart)
		return nil
	}}
	resp, err := next(tally.NewContext(withFreshness(context.WithValue(ctx, recordKey{}, r)), r.call), req)
	_ = grpc.SetTrailer(ctx, r.trailer())
	return resp, err
}

// trailer is what every call ends with: its id, its cost, and the age of what was not asked anew.
func (r *record) trailer() metadata.MD {
	md := metadata.Pairs(trailerID, r.id, trailerCost, strconv.FormatInt(r.call.Requests(), 10))
	if age, stored := r.call.Age(); stored {
		md.Set(trailerAge, strconv.FormatInt(int64(age/time.Second), 10))
	}
	return md
}

// requestID returns the caller's id when it is fit for a log and a trailer, else a new one.
func requestID(ctx context.Context) string {
	if ids := metadata.ValueFromIncomingContext(ctx, keyRequestID); len(ids) > 0 && isVisible(ids[0]) {
		return ids[0]
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return hex.EncodeToString(id)
}

func isVisible(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxRequestID
}

// mapErrors turns whatever failed into the status that the caller sees, and keeps the cause for the log.
func mapErrors(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if err == nil {
		return resp, nil
	}
	err = attribute(ctx, effectOf(info.FullMethod), err)
	m := toStatus(err).within(ctx)
	recordOf(ctx).fail(m, err)
	_ = grpc.SetTrailer(ctx, m.trailer())
	return nil, m.status.Err()
}

// effectOf returns what an RPC does at Tally as far as the contract's idempotency_level tells, 0 for what is not the contract's. What
// may be repeated counts as an update, which for an error of our own is the same as a delete.
func effectOf(fullMethod string) tally.Effect {
	name := strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil || !strings.HasPrefix(name, contractPackage) {
		return 0
	}
	options, _ := found.Options().(*descriptorpb.MethodOptions)
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return tally.Read
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return tally.Update
	default:
		return tally.Create
	}
}

func recoverUnary() grpc.UnaryServerInterceptor {
	return recovery.UnaryServerInterceptor(recovery.WithRecoveryHandlerContext(recovered))
}

// recovered keeps the panic and its stack for the log; the caller learns that there was one.
func recovered(_ context.Context, p any) error {
	return &localError{
		reason: tallydv1.ErrorReason_ERROR_REASON_PANIC,
		err:    fmt.Errorf("%v\n%s", p, debug.Stack()),
	}
}

// validateUnary checks the contract's rules. The middleware's own interceptor would make a status of its own.
func validateUnary(validator protovalidate.Validator) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if msg, ok := req.(proto.Message); ok {
			if err := validator.Validate(msg); err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	}
}

// limitDeadline gives a call without a deadline one, and shortens the caller's own. It says whose doing the bare end of that context
// is, since nobody outside knows of it.
func (s *Server) limitDeadline(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	limit := time.Now().Add(s.config.DefaultDeadline)
	if deadline, ok := ctx.Deadline(); ok {
		limit = deadline.Add(-deadlineShave)
	}
	if longest := time.Now().Add(longestDeadline); limit.After(longest) {
		limit = longest
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	resp, err := next(ctx, req)
	if err != nil {
		return nil, attribute(ctx, effectOf(info.FullMethod), err)
	}
	return resp, nil
}
