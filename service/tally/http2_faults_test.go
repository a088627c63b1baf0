package tally_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// TestHTTP2Faults covers row 51: a read is repeated; a write only when its stream was provably not processed. wantRequests counts what
// Tally saw of the read, the write and the delete.
func TestHTTP2Faults(t *testing.T) {
	type steps = []func(*wire, stream)
	type want struct {
		kind     tally.Kind
		outcome  tally.Outcome
		requests int64
	}
	fine := answer(200, okForm)
	gone := answer(404, `{"message":"Form was not found"}`)
	again, once := want{requests: 2}, want{requests: 1}
	unknown := want{tally.KindReset, tally.OutcomeUnknown, 1}
	refused := want{tally.KindReset, tally.OutcomeNotSent, 2}
	tests := []struct {
		name  string
		steps steps
		want  [3]want
	}{
		{"nothing wrong", steps{fine}, [3]want{once, once, once}},
		{"row 51: REFUSED_STREAM, then fine", steps{abort(http2.ErrCodeRefusedStream), fine}, [3]want{again, again, again}},
		{"row 51: REFUSED_STREAM again and again", steps{abort(http2.ErrCodeRefusedStream)}, [3]want{{tally.KindTimeout, tally.OutcomeUnknown, 2}, refused, refused}},
		{"row 51: GOAWAY below the stream, then fine", steps{goAway(http2.ErrCodeNo, -1), fine}, [3]want{again, again, again}},
		{"row 51: angry GOAWAY below the stream, then fine", steps{goAway(http2.ErrCodeEnhanceYourCalm, -1), fine}, [3]want{again, again, again}},
		{"row 51: angry GOAWAY below the stream, always", steps{goAway(http2.ErrCodeEnhanceYourCalm, -1)}, [3]want{refused, refused, refused}},
		{"row 51: GOAWAY at the stream, then an answer", steps{both(goAway(http2.ErrCodeNo, 0), fine)}, [3]want{once, once, once}},
		{"row 51: GOAWAY at the stream, then the end", steps{both(goAway(http2.ErrCodeNo, 0), hangUp), fine}, [3]want{again, unknown, again}},
		{"row 51: GOAWAY above the stream, then the end", steps{both(goAway(http2.ErrCodeNo, 5), hangUp), fine}, [3]want{again, unknown, again}},
		{"row 51: RST after processing", steps{abort(http2.ErrCodeInternal), gone}, [3]want{{tally.KindStatus, tally.OutcomeRejected, 2}, unknown, again}},
		{"row 51: RST CANCEL", steps{abort(http2.ErrCodeCancel), fine}, [3]want{again, unknown, again}},
		{"row 51: RST PROTOCOL_ERROR after processing", steps{abort(http2.ErrCodeProtocol), gone}, [3]want{{tally.KindStatus, tally.OutcomeRejected, 2}, unknown, again}},
		{"row 51: RST flood", steps{both(slices.Repeat(steps{abort(http2.ErrCodeCancel)}, 500)...), fine}, [3]want{again, unknown, again}},
		{"row 51: the end in the middle", steps{hangUp, fine}, [3]want{again, unknown, again}},
	}
	for _, test := range tests {
		for i, call := range []func() (proto.Message, proto.Message){read, write, remove} {
			t.Run(test.name+"/"+[]string{"read", "write", "delete"}[i], func(t *testing.T) {
				fake := playHTTP2(t, test.steps...)
				leavesNothing(t)
				client := fake.client(t, quick)
				req, resp := call()
				checkFault(t, client.Call(t.Context(), req, resp), test.want[i].kind, test.want[i].outcome)
				if got := fake.requests.Load(); got != test.want[i].requests {
					t.Errorf("Tally saw %d requests, want %d", got, test.want[i].requests)
				}
			})
		}
	}
}

// TestGoAwayMidBurst covers row 51 as Tally's edge does it every day: it renews a connection that many calls are using. Those beyond
// its GOAWAY are repeated, reads and writes, however many there are, and each write is processed once.
func TestGoAwayMidBurst(t *testing.T) {
	const burst = 24
	var held []stream
	steps := []func(*wire, stream){answer(200, okForm)}
	for range burst {
		steps = append(steps, func(w *wire, s stream) {
			if held = append(held, s); len(held) < burst {
				return
			}
			_ = w.WriteGoAway(held[burst/2].id, http2.ErrCodeNo, nil)
			for _, s := range held[:burst/2+1] {
				answer(200, okForm)(w, s)
			}
		})
	}
	fake := playHTTP2(t, append(steps, answer(200, okForm))...)
	leavesNothing(t)
	client := fake.client(t)
	req, resp := read()
	if err := client.Call(t.Context(), req, resp); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for i := range burst {
		calls.Go(func() {
			req, resp := read()
			if i%2 == 0 {
				req, resp = &tallydv1.CreateWorkspaceRequest{Name: itoa(i)}, &tallydv1.CreateWorkspaceResponse{}
			}
			if err := client.Call(t.Context(), req, resp); err != nil {
				t.Errorf("call %d: Call() = %v, want nil", i, err)
			}
		})
	}
	calls.Wait()
	for i := 0; i < burst; i += 2 {
		if got := fake.answered()[`POST /workspaces {"name":"`+itoa(i)+`"}`]; got != 1 {
			t.Errorf("write %d was processed %d times, want once", i, got)
		}
	}
}

// TestStoppedWriteKeepsOthers stops a write at the last moment on a connection that carries the call of another, who must not notice.
func TestStoppedWriteKeepsOthers(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	fake := playHTTP2(t, func(w *wire, s stream) {
		close(arrived)
		<-release
		answer(200, okForm)(w, s)
	})
	leavesNothing(t)
	client := fake.client(t)
	other := make(chan error, 1)
	go func() {
		req, resp := write()
		other <- client.Call(t.Context(), req, resp)
	}()
	<-arrived
	cause := errors.New("the caller is gone")
	ctx := tally.NewContext(t.Context(), &tally.Call{BeforeSend: func() error { return cause }})
	req, resp := write()
	err := client.Call(ctx, req, resp)
	checkFault(t, err, tally.KindConnect, tally.OutcomeNotSent)
	if !errors.Is(err, cause) {
		t.Errorf("Call() = %v, want %v", err, cause)
	}
	close(release)
	if err := <-other; err != nil {
		t.Errorf("the other call: Call() = %v, want nil", err)
	}
	if n := fake.requests.Load(); n != 1 {
		t.Errorf("Tally saw %d requests, want 1", n)
	}
}

// TestOneStreamAtATime covers row 52: a connection that takes one stream is held by a slow call, and the others find their way.
func TestOneStreamAtATime(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := func(w *wire, s stream) {
		close(arrived)
		<-release
		answer(200, okForm)(w, s)
	}
	fake := (&frames{
		settings: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}},
		steps:    []func(*wire, stream){answer(200, okForm), slow, answer(200, okForm)},
	}).play(t)
	leavesNothing(t)
	client := fake.client(t)
	call := func() {
		req, resp := write()
		if err := client.Call(t.Context(), req, resp); err != nil {
			t.Errorf("Call() = %v, want nil", err)
		}
	}
	call()
	var first, others sync.WaitGroup
	first.Go(call)
	<-arrived
	for range 10 {
		others.Go(call)
	}
	others.Wait()
	close(release)
	first.Wait()
	if n := fake.requests.Load(); n != 12 {
		t.Errorf("Tally saw %d requests, want 12", n)
	}
}

// TestSettingsChange covers row 52: settings that change between calls, each of them allowed.
func TestSettingsChange(t *testing.T) {
	fine := answer(200, okForm)
	change := func(settings ...http2.Setting) func(*wire, stream) {
		return both(func(w *wire, _ stream) { _ = w.WriteSettings(settings...) }, fine)
	}
	fake := playHTTP2(t,
		change(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1}),
		change(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}),
		change(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14}),
		change(), change(http2.Setting{ID: 0x99, Val: 7}), fine)
	leavesNothing(t)
	client := fake.client(t)
	for i := range 8 {
		for _, call := range []func() (proto.Message, proto.Message){read, write} {
			req, resp := call()
			if err := client.Call(t.Context(), req, resp); err != nil {
				t.Errorf("call %d: Call() = %v, want nil", i, err)
			}
		}
	}
	if n := fake.connections.Load(); n != 1 {
		t.Errorf("Tally saw %d connections, want 1", n)
	}
}

// TestWindowOfNothing covers row 52: a body that may not leave waits for its turn, and no longer than the limit or the deadline.
func TestWindowOfNothing(t *testing.T) {
	closed := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
	fine := []func(*wire, stream){answer(200, okForm)}
	open := func(by uint32) func(*wire, stream) {
		return func(w *wire, s stream) { _ = w.WriteWindowUpdate(s.id, by) }
	}
	tests := []struct {
		name          string
		more          func(*wire, stream)
		deadline      time.Duration
		wantKind      tally.Kind
		wantProcessed int
	}{
		{"row 52: opened at once", open(1 << 16), time.Minute, 0, 1},
		{"row 52: opened byte by byte", open(1), time.Minute, 0, 1},
		{"row 52: never opened", nil, time.Minute, tally.KindTimeout, 0},
		{"row 52: never opened, deadline", nil, 50 * time.Millisecond, tally.KindDeadline, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := (&frames{settings: closed, more: test.more, steps: fine}).play(t)
			leavesNothing(t)
			client := fake.client(t, quick)
			// Only with the first answer the client knows of the window.
			req, resp := read()
			if err := client.Call(t.Context(), req, resp); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
			defer cancel()
			req, resp = write()
			checkFault(t, client.Call(ctx, req, resp), test.wantKind, tally.OutcomeUnknown)
			if got := fake.answered()[`POST /workspaces {"name":"n"}`]; got != test.wantProcessed {
				t.Errorf("the write was processed %d times, want %d", got, test.wantProcessed)
			}
		})
	}
}

// TestSilentConnection: a connection that many calls share and that died without a word must not take call after call with it.
func TestSilentConnection(t *testing.T) {
	release := make(chan struct{})
	fake := playHTTP2(t, answer(200, okForm), func(*wire, stream) { <-release }, answer(200, okForm))
	t.Cleanup(func() { close(release) })
	client := fake.client(t, quick)
	for range 20 {
		req, resp := read()
		if err := client.Call(t.Context(), req, resp); err == nil && fake.connections.Load() > 1 {
			return
		}
	}
	t.Error("20 calls in a row went to the dead connection")
}
