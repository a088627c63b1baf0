package service

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/store"
	"github.com/tallyd/tallyd/service/tally"
)

const (
	requestIDField = protoreflect.Name("request_id")
	writeKey       = "write."
	// writeAge is how long it is remembered what became of a write.
	writeAge = 24 * time.Hour
	// writeSlack is how long a write may take behind its caller's deadline: the time that it gets in the background, and some.
	writeSlack = 45 * time.Second
	// writeLook is how often somebody looks who waits for another process's write.
	writeLook = 100 * time.Millisecond
)

// Records is where a Ledger keeps what it knows; *store.Store is one.
type Records interface {
	Get(ctx context.Context, key string) (store.Record, error)
	Put(ctx context.Context, r store.Record) (store.Record, error)
	Remove(ctx context.Context, key string) error
	Keys(ctx context.Context, filter string) ([]string, error)
}

// Ledger remembers writes by the id that their callers gave them, so that each is sent once at most, whatever ends the caller, the
// connection or this process (AIP-155).
type Ledger struct {
	records Records
	account func() string // names the key: another one's writes are others
	alone   bool          // no other process has these records
	process string
	log     *slog.Logger

	mu      sync.Mutex
	running map[string]chan struct{} // by key, closed at the end
	writes  sync.WaitGroup
}

// NewLedger returns a ledger. alone says that no other process uses the records while this one does.
func NewLedger(records Records, account func() string, alone bool, log *slog.Logger) *Ledger {
	process := make([]byte, 16)
	_, _ = rand.Read(process) // it never fails
	return &Ledger{
		records: records, account: account, alone: alone, process: hex.EncodeToString(process), log: log, running: map[string]chan struct{}{},
	}
}

// lateAtClose bounds how long Close waits: whoever stops the process has little patience left after the drain.
const lateAtClose = 3 * time.Second

// Close waits a little for writes that outlived their callers. Of those that are not done by then nobody will know: their ids answer
// UNKNOWN. Calls must have ended before.
func (l *Ledger) Close() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.writes.Wait()
	}()
	select {
	case <-done:
	case <-time.After(lateAtClose):
	}
}

// write is one call with a request id.
type write struct {
	key    string
	digest []byte
	record store.Record
	known  *logv1.Write
}

// once lets a create with a request id through once at most.
func (s *Server) once(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	msg, ok := req.(proto.Message)
	if !ok {
		return next(ctx, req)
	}
	field := msg.ProtoReflect().Descriptor().Fields().ByName(requestIDField)
	if field == nil || !msg.ProtoReflect().Has(field) {
		return next(ctx, req)
	}
	if s.config.Ledger == nil {
		return nil, refused(string(requestIDField), "needs a tallyd that keeps a log of events: without one nobody remembers it")
	}
	return s.config.Ledger.once(ctx, msg, info.FullMethod, next)
}

func (l *Ledger) once(ctx context.Context, req proto.Message, method string, next grpc.UnaryHandler) (any, error) {
	w := &write{}
	id := req.ProtoReflect().Get(req.ProtoReflect().Descriptor().Fields().ByName(requestIDField)).String()
	w.key, w.digest = l.keyOf(ctx, method, id), digestOf(req)
	leave, err := l.enter(ctx, w.key)
	if err != nil {
		return nil, err
	}
	resp, settled, err := l.settled(ctx, w, method)
	if settled || err != nil {
		leave()
		return resp, eventError(err)
	}
	return l.carryOut(ctx, w, req, next, leave)
}

// keyOf names a write: two callers, methods or keys of Tally's never meet.
func (l *Ledger) keyOf(ctx context.Context, method, id string) string {
	h := sha256.New()
	for _, part := range []string{l.account(), quota.CallerOf(ctx).Name, method, id} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return writeKey + hex.EncodeToString(h.Sum(nil)[:20])
}

// digestOf tells requests apart by all but their ids.
func digestOf(req proto.Message) []byte {
	rest := proto.Clone(req)
	msg := rest.ProtoReflect()
	msg.Clear(msg.Descriptor().Fields().ByName(requestIDField))
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(rest)
	sum := sha256.Sum256(data)
	return sum[:]
}

// enter waits until nobody else in this process has the same id.
func (l *Ledger) enter(ctx context.Context, key string) (leave func(), err error) {
	for {
		l.mu.Lock()
		other, busy := l.running[key]
		if !busy {
			mine := make(chan struct{})
			l.running[key] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.running, key)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// settled returns what an earlier try brought, or notes that this one is about to be made.
func (l *Ledger) settled(ctx context.Context, w *write, method string) (resp any, settled bool, err error) {
	for {
		if err := l.read(ctx, w); err != nil {
			return nil, false, err
		}
		switch {
		case w.known != nil && !bytes.Equal(w.known.GetDigest(), w.digest):
			return nil, false, &localError{reason: tallydv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED, effect: tally.Create}
		case w.known.GetState() == logv1.WriteState_WRITE_STATE_DONE:
			resp, err = w.response(method)
			return resp, err == nil, err
		case w.known != nil && l.under(w.known):
			select {
			case <-time.After(writeLook):
				continue
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
		case w.known.GetState() == logv1.WriteState_WRITE_STATE_SENT:
			return nil, false, &localError{reason: tallydv1.ErrorReason_ERROR_REASON_REQUEST_OUTCOME_UNKNOWN, effect: tally.Create}
		}
		if err = l.put(ctx, w, logv1.WriteState_WRITE_STATE_INTENT, nil); !errors.Is(err, store.ErrConflict) {
			return nil, false, err
		}
	}
}

// under tells whether another process may be carrying a write out.
func (l *Ledger) under(known *logv1.Write) bool {
	return !l.alone && known.GetProcess() != l.process && time.Now().Before(known.GetLeaseTime().AsTime())
}

// read reads what is known of a write; nothing of one that is too long ago.
func (l *Ledger) read(ctx context.Context, w *write) (err error) {
	if w.record, err = l.records.Get(ctx, w.key); err != nil {
		return err
	}
	w.known = nil
	known := &logv1.Write{}
	if w.record.Revision != 0 && proto.Unmarshal(w.record.Value, known) == nil && time.Since(known.GetBeginTime().AsTime()) < writeAge {
		w.known = known
	}
	return nil
}

// put notes how far a write is. It returns when that is safe.
func (l *Ledger) put(ctx context.Context, w *write, state logv1.WriteState, response []byte) (err error) {
	limit := time.Now()
	if deadline, ok := ctx.Deadline(); ok {
		limit = deadline
	}
	begin := w.known.GetBeginTime()
	if begin == nil || state == logv1.WriteState_WRITE_STATE_INTENT {
		begin = timestamppb.Now()
	}
	known := &logv1.Write{
		State: state, Digest: w.digest, Process: l.process, LeaseTime: timestamppb.New(limit.Add(writeSlack)), BeginTime: begin, Response: response,
	}
	if w.record.Value, err = proto.Marshal(known); err != nil {
		return err
	}
	if w.record, err = l.records.Put(ctx, w.record); err == nil {
		w.known = known
	}
	return err
}

// response returns the response that was stored.
func (w *write) response(method string) (any, error) {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, err
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(found.(protoreflect.MethodDescriptor).Output().FullName())
	if err != nil {
		return nil, err
	}
	resp := kind.New().Interface()
	return resp, proto.Unmarshal(w.known.GetResponse(), resp)
}

// outcome is what a write brought.
type outcome struct {
	resp any
	err  error
}

// carryOut makes the write. Once it has left it is finished without its caller, and what became of it is noted.
func (l *Ledger) carryOut(ctx context.Context, w *write, req proto.Message, next grpc.UnaryHandler, leave func()) (any, error) {
	own := newSentContext(ctx)
	call := tally.FromContext(ctx)
	before := call.BeforeSend
	call.BeforeSend = func() error {
		if err := l.put(context.WithoutCancel(ctx), w, logv1.WriteState_WRITE_STATE_SENT, nil); err != nil {
			return err
		}
		if !own.send() {
			return ctx.Err()
		}
		if before == nil {
			return nil
		}
		return before()
	}
	done := make(chan outcome, 1)
	l.writes.Go(func() {
		defer leave()
		resp, err := contained(own, req, next) //nolint:contextcheck // it is the caller's until the write has left
		l.conclude(context.WithoutCancel(ctx), w, resp, err)
		done <- outcome{resp, err}
	})
	select {
	case o := <-done:
		return o.resp, o.err
	case <-ctx.Done():
	}
	if own.sent() {
		return nil, attribute(ctx, tally.Create, ctx.Err())
	}
	o := <-done // nothing has left, and nothing will
	return o.resp, o.err
}

// contained runs the handler where a panic of it can be caught: this is not the call's own goroutine.
func contained(ctx context.Context, req proto.Message, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = recovered(ctx, p)
		}
	}()
	return next(ctx, req)
}

// conclude notes what became of a write. One that was refused, or never left, may be tried again under its id.
func (l *Ledger) conclude(ctx context.Context, w *write, resp any, err error) {
	var failure error
	switch m := toStatus(attribute(ctx, tally.Create, err)); {
	case err == nil:
		var response []byte
		if response, failure = proto.Marshal(resp.(proto.Message)); failure == nil {
			failure = l.put(ctx, w, logv1.WriteState_WRITE_STATE_DONE, response)
		}
	case !open(m.outcome):
		failure = l.records.Remove(ctx, w.key)
	}
	if failure != nil {
		l.log.Error("what became of a write is not noted: its id answers UNKNOWN", slog.String("error", failure.Error()))
	}
}

// Sweep forgets writes that are too long ago.
func (l *Ledger) Sweep(ctx context.Context) error {
	keys, err := l.records.Keys(ctx, writeKey+"*")
	if err != nil {
		return err
	}
	for _, key := range keys {
		w := &write{key: key}
		if err := l.read(ctx, w); err != nil {
			return err
		}
		if w.known == nil && w.record.Revision != 0 {
			if err := l.records.Remove(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run sweeps every hour until ctx ends.
func (l *Ledger) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
		if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("old request ids are not forgotten yet", slog.String("error", err.Error()))
		}
	}
}
