package mesh

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// extraTries is Istio's default.
const extraTries = 2

// proxy stands between callers and replicas as Istio's does by default: it tries a call again, twice at most, when it ends in
// UNAVAILABLE or CANCELLED, when no connection can be made, and when a stream is refused or cut, all that only until the answer's
// headers were passed on. Unlike Istio's it does not wait between two tries, so it does more harm.
type proxy struct {
	address  string
	upstream *grpc.ClientConn
	// tries counts what was sent to the replicas, calls what came in.
	tries, calls atomic.Int64
}

func newProxy(t *testing.T, upstream *grpc.ClientConn) *proxy {
	t.Helper()
	p := &proxy{upstream: upstream}
	server := grpc.NewServer(grpc.UnknownServiceHandler(p.handle), grpc.ForceServerCodecV2(raw{}), grpc.MaxRecvMsgSize(8<<20))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	p.address = listener.Addr().String()
	return p
}

// raw passes messages on as the bytes that they are.
type raw struct{ encoding.CodecV2 }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (raw) Name() string { return "proto" }

// handle passes a call with one request on: a unary call, or a stream of answers.
func (p *proxy) handle(_ any, down grpc.ServerStream) error {
	p.calls.Add(1)
	method, _ := grpc.MethodFromServerStream(down)
	var request []byte
	if err := down.RecvMsg(&request); err != nil {
		return err
	}
	for left := extraTries; ; left-- {
		end := p.try(down, method, request)
		if end.err == nil || end.sent || left == 0 || down.Context().Err() != nil || !repeatable(end.err) {
			down.SetTrailer(end.trailer)
			return end.err
		}
	}
}

func repeatable(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled
}

// tried is how one try ended.
type tried struct {
	// sent says that the answer's headers were passed on, after which there is no other try.
	sent    bool
	trailer metadata.MD
	err     error
}

func (p *proxy) try(down grpc.ServerStream, method string, request []byte) (t tried) {
	p.tries.Add(1)
	up, err := p.open(down.Context(), method, request)
	if err != nil {
		return tried{err: err}
	}
	header, err := up.Header()
	if err != nil {
		return tried{err: err}
	}
	if header != nil {
		t.sent, err = true, down.SendHeader(header)
	}
	for err == nil {
		var answer []byte
		if err = up.RecvMsg(&answer); err == nil {
			t.sent, err = true, down.SendMsg(&answer)
		}
	}
	t.trailer = up.Trailer()
	if !errors.Is(err, io.EOF) {
		t.err = err
	}
	return t
}

// open starts a call at a replica with what came from the caller: metadata, deadline, request.
func (p *proxy) open(ctx context.Context, method string, request []byte) (grpc.ClientStream, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	outgoing := incoming.Copy()
	for _, own := range []string{":authority", "content-type", "user-agent"} {
		outgoing.Delete(own)
	}
	up, err := p.upstream.NewStream(metadata.NewOutgoingContext(ctx, outgoing), &grpc.StreamDesc{ServerStreams: true}, method,
		grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(8<<20))
	if err != nil {
		return nil, err
	}
	// What kept it from being sent shows when the answer is read.
	if err := up.SendMsg(&request); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return up, up.CloseSend()
}
