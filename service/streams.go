package service

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/tally"
)

// serveStream is the chain of a stream: one interceptor, where unary calls have one for each duty. Ten thousand watches are open for
// hours, and what lies on the stack of each is paid ten thousand times: nested, the same steps took twice as much. See decision 0012.
func (s *Server) serveStream(srv any, bare grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	leave, ok := s.gate.enter(info.FullMethod) // before all else, so that what is refused costs next to nothing
	if !ok {
		bare.SetTrailer(s.gate.note(bare.Context(), info.FullMethod))
		return s.gate.refusal.status.Err()
	}
	defer leave()
	c := s.streams.join(bare, info)
	defer s.streams.leave(c)
	return s.endStream(c, recoverStream(srv, c, info, func(srv any, _ grpc.ServerStream) error {
		if err := s.admit(c); err != nil {
			return err
		}
		return next(srv, c)
	}))
}

// admit lets nobody in who does not prove who it is. What it asks for is judged when it has asked.
func (s *Server) admit(c *callerStream) error {
	ctx, err := s.who(c.life, c.info.FullMethod)
	c.server, c.ctx = s, ctx
	return err
}

// endStream turns what a stream ended with into the status that the caller sees, and tells of it: the trail and the log line after the
// map, so that they say what the caller hears.
func (s *Server) endStream(c *callerStream, err error) error {
	if err != nil && c.stop.ordered() {
		err = &localError{reason: tallydv1.ErrorReason_ERROR_REASON_SERVER_DRAINING, effect: tally.Read}
	}
	if err != nil {
		err = attribute(c.life, tally.Read, err)
		m := toStatus(err)
		c.record.fail(m, err)
		c.SetTrailer(m.trailer())
		err = m.status.Err()
	}
	if s.config.Audit != nil && contractCall(c.info.FullMethod) {
		s.audit(c.life, c.info.FullMethod, nil, nil, err)
	}
	reporter, _ := s.report(c.life, interceptors.NewServerCallMeta(c.info.FullMethod, c.info, nil))
	reporter.PostCall(err, time.Since(c.begun))
	c.SetTrailer(c.record.trailer())
	return err
}

// recoverStream keeps a panic inside the map of errors.
var recoverStream = recovery.StreamServerInterceptor(recovery.WithRecoveryHandlerContext(recovered))

// streams are those that are open: one that never ends, such as health's Watch, would keep the server from stopping.
type streams struct {
	over atomic.Bool // the server stops
	mu   sync.Mutex
	open map[*stop]func() // what ends each
}

// stop is how a stream learns that the server stops.
type stop struct {
	streams *streams
}

// join takes a stream in, and gives it its id, its record and a context that ends with the server. A watch asks itself whether the server
// stops: that context would take as much memory as all else that a watch holds here.
func (o *streams) join(bare grpc.ServerStream, info *grpc.StreamServerInfo) *callerStream {
	c := &callerStream{ServerStream: bare, info: info, begun: time.Now(), record: record{id: requestID(bare.Context())}}
	c.stop.streams = o
	c.record.call, c.record.stop = &c.call, &c.stop
	c.life = tally.NewContext(context.WithValue(bare.Context(), recordKey{}, &c.record), &c.call)
	if info.FullMethod != tallydv1.SubmissionService_WatchSubmissions_FullMethodName {
		var cancel context.CancelFunc
		c.life, cancel = context.WithCancel(c.life)
		c.stop.then(cancel)
	}
	c.ctx = c.life
	return c
}

// then has do called when the server stops, at once if it does already; in the place of what was to be called before.
func (s *stop) then(do func()) {
	o := s.streams
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[*stop]func(){}
	}
	o.open[s] = do
	if o.over.Load() {
		do()
	}
}

// ordered tells whether the server stops.
func (s *stop) ordered() bool { return s.streams.over.Load() }

func (o *streams) leave(c *callerStream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if end := o.open[&c.stop]; end != nil {
		end()
	}
	delete(o.open, &c.stop)
}

// end ends all streams: in order where they can, else as a server that stops does.
func (o *streams) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over.Store(true)
	for _, end := range o.open {
		end()
	}
}

// decideAgain is how old a decision about a stream may get: the policy may change, and so may where a form lies.
const decideAgain = time.Minute

// callerStream is a stream whose messages keep the contract's rules, and whose caller gets what the policy lets it see.
type callerStream struct {
	grpc.ServerStream

	server *Server
	info   *grpc.StreamServerInfo
	begun  time.Time
	record record
	call   tally.Call
	stop   stop
	life   context.Context //nolint:containedctx // ends with the stream
	ctx    context.Context //nolint:containedctx // the same, and knows the caller: a stream has no other way to carry its context

	request proto.Message // nil where no policy judges it
	access  *policy.Access
	decided time.Time
}

// Context returns the context that ends with the server and knows the caller.
func (c *callerStream) Context() context.Context { return c.ctx }

// RecvMsg returns a message of the caller that keeps the rules, if the policy allows what it asks for.
func (c *callerStream) RecvMsg(m any) error {
	if err := c.receive(m); err != nil {
		return err
	}
	msg, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	if err := c.server.config.Check.Validate(msg); err != nil {
		return err
	}
	access, err := c.server.may(c.ctx, c.info.FullMethod, msg)
	c.access, c.decided = access, time.Now()
	if _, governed := c.ctx.Value(passageKey{}).(passage); governed {
		c.request = msg // to be judged again
	}
	return err
}

// receive waits for a message, or for the server to stop where the caller may send another at any time.
func (c *callerStream) receive(m any) error {
	if !c.info.IsClientStream {
		return c.ServerStream.RecvMsg(m)
	}
	received := make(chan error, 1)
	go func() { received <- c.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		return err
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// SendMsg sends what the caller may see of a message. Of a stream about all that lies in a place, a message about what the caller may not
// see is left out.
func (c *callerStream) SendMsg(m any) error {
	if err := c.renew(); err != nil {
		return err
	}
	if msg, ok := m.(proto.Message); ok && c.access != nil {
		err := c.access.Filter(c.ctx, msg)
		if _, hidden := errors.AsType[*policy.DeniedError](err); hidden && c.access.Broad() {
			return nil
		}
		if err != nil {
			return c.server.refusal(c.ctx, c.info.FullMethod, err)
		}
	}
	c.record.sent = time.Now()
	return c.ServerStream.SendMsg(m)
}

// renew decides again where the policy is another one, or the decision old. A look-up that fails leaves the old one in force where that was
// by the same policy: it says nothing of the caller. What another policy allows nobody knows then, and so the stream ends.
func (c *callerStream) renew() error {
	p, governed := c.ctx.Value(passageKey{}).(passage)
	if !governed || c.request == nil || p.policy == c.server.config.Authority.Policy() && time.Since(c.decided) < decideAgain {
		return nil
	}
	c.decided = time.Now()
	ctx, err := c.server.who(c.life, c.info.FullMethod)
	if err != nil {
		return err
	}
	access, err := c.server.may(ctx, c.info.FullMethod, c.request)
	if own, ok := errors.AsType[*localError](err); ok && own.reason == tallydv1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED {
		return err
	}
	if err == nil {
		c.ctx, c.access = ctx, access
		return nil
	}
	if now, _ := ctx.Value(passageKey{}).(passage); now.policy != p.policy {
		return err
	}
	return nil
}
