package tally_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/tally"
)

// watched is what Config.Watch was told of one request.
type watched struct {
	Verb, Template string
	Before, Status int
	Failure        string
}

// watcher collects what it is told, of a request when it ends.
type watcher struct {
	mu  sync.Mutex
	all []watched
}

func (w *watcher) watch(ctx context.Context, verb, template string, before int) (context.Context, func(int, string)) {
	return ctx, func(status int, failure string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = append(w.all, watched{verb, template, before, status, failure})
	}
}

func (w *watcher) config(c *tally.Config) { c.Watch = w.watch }

// TestWatch tells of every request, failed ones and repeated ones too, by the contract's own words.
func TestWatch(t *testing.T) {
	const form = "/forms/{form_id}"
	tests := []struct {
		name  string
		steps []step
		call  func() (proto.Message, proto.Message)
		want  []watched
	}{
		{"success", []step{reply("200 OK", json, okForm)}, read, []watched{{"GET", form, 0, 200, ""}}},
		{"write", []step{reply("201 X", json, okForm)}, write, []watched{{"POST", "/workspaces", 0, 201, ""}}},
		{"refusal", []step{reply("404 X", json, `{}`)}, read, []watched{{"GET", form, 0, 404, ""}}},
		{
			"repeated",
			[]step{reply("503 X", json, "{}"), reply("200 OK", json, okForm)},
			read,
			[]watched{{"GET", form, 0, 503, ""}, {"GET", form, 1, 200, ""}},
		},
		{
			"broken after it left",
			[]step{reset, reply("200 OK", json, okForm)},
			read,
			[]watched{{"GET", form, 0, 0, "reset"}, {"GET", form, 1, 200, ""}},
		},
		{"silence", []step{hang}, write, []watched{{"POST", "/workspaces", 0, 0, "timeout"}}},
		{"cut short", []step{cut("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")}, write, []watched{{"POST", "/workspaces", 0, 200, "truncated"}}},
		{"too large", []step{reply("200 OK", json, `{"a":"`+string(make([]byte, 2<<20))+`"}`)}, write, []watched{{"POST", "/workspaces", 0, 200, "too_large"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := &watcher{}
			fake := play(t, test.steps...)
			leavesNothing(t)
			req, resp := test.call()
			_ = clientFor(t, fake.url(), quick, w.config).Call(t.Context(), req, resp)
			if diff := cmp.Diff(test.want, w.all); diff != "" {
				t.Errorf("Watch was told (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWatchOfNobody tells of a request that found no connection.
func TestWatchOfNobody(t *testing.T) {
	w := &watcher{}
	listener := listen(t)
	address := "http://" + listener.Addr().String()
	listener.Close()
	req, resp := write()
	err := clientFor(t, address, w.config).Call(t.Context(), req, resp)
	checkFault(t, err, tally.KindConnect, tally.OutcomeNotSent)
	for i, got := range w.all {
		if want := (watched{"POST", "/workspaces", i, 0, "connect"}); got != want {
			t.Errorf("Watch was told %+v, want %+v", got, want)
		}
	}
	if failure, _ := errors.AsType[*tally.Error](err); len(w.all) != failure.Attempts {
		t.Errorf("Watch was told of %d requests, want all %d", len(w.all), failure.Attempts)
	}
}
