package tally_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

// place is where the key comes from, and can change.
type place struct {
	mu      sync.Mutex
	key     string
	changed func()
}

// Read is apikey.Source's.
func (p *place) Read() (apikey.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return apikey.ParseKey(p.key)
}

// Watch is apikey.Source's.
func (p *place) Watch(ctx context.Context, changed func()) error {
	p.mu.Lock()
	p.changed = changed
	p.mu.Unlock()
	changed()
	<-ctx.Done()
	return nil
}

func (p *place) swap(key string) {
	p.mu.Lock()
	p.key = key
	p.mu.Unlock()
	p.changed()
}

// pages is a list of three pages that Tally shows to one key alone.
func pages(alive *string) trip {
	return func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "Bearer "+*alive {
			return answering(http.StatusUnauthorized)(r)
		}
		resp, err := answering(http.StatusOK)(r)
		text := `{"id":"u1","organizationId":"o1"}`
		if page := r.URL.Query().Get("page"); page != "" {
			text = fmt.Sprintf(`{"hasMore":%v,"questions":[],"submissions":[{"id":"s%s","formId":"f1"}]}`, page != "3", page)
		}
		resp.Body = io.NopCloser(strings.NewReader(text))
		return resp, err
	}
}

// TestRow60KeyRevokedBetweenPages: the key dies while a list is read. The next page ends in the error of a dead key, nothing is lost,
// and the page token goes on where it was as soon as there is another key.
func TestRow60KeyRevokedBetweenPages(t *testing.T) {
	const old, fresh = testKey, testKey + "2"
	synctest.Test(t, func(t *testing.T) {
		alive := old
		source := &place{key: old}
		client := withKeeper(t, source, pages(&alive))
		var got []string
		token := ""
		next := func() error {
			resp := &tallydv1.ListSubmissionsResponse{}
			if err := client.Call(t.Context(), &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 1, PageToken: token}, resp); err != nil {
				return err
			}
			for _, s := range resp.GetSubmissions() {
				got = append(got, s.GetId())
			}
			token = resp.GetNextPageToken()
			return nil
		}
		if err := next(); err != nil {
			t.Fatal(err)
		}
		// The last good word on the key has aged by then.
		time.Sleep(time.Minute)
		alive = fresh
		for range 3 {
			failure, _ := errors.AsType[*tally.Error](next())
			if failure == nil || failure.Kind != tally.KindKeyRejected || failure.Outcome != tally.OutcomeRejected && failure.Outcome != tally.OutcomeNotSent {
				t.Fatalf("Call() with a dead key = %v, want key rejected", failure)
			}
		}
		source.swap(fresh)
		synctest.Wait()
		for range 2 {
			if err := next(); err != nil {
				t.Fatalf("Call() with the next key = %v, want nil", err)
			}
		}
		if all := strings.Join(got, " "); all != "s1 s2 s3" || token != "" {
			t.Errorf("the pages hold %q and end with token %q, want s1 s2 s3 and none", all, token)
		}
	})
}

// withKeeper is a client with a custodian of its key that runs until the test ends.
func withKeeper(t *testing.T, source apikey.Source, answer trip) *tally.Client {
	t.Helper()
	base, err := url.Parse("http://127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	var client *tally.Client
	check := func(ctx context.Context, key apikey.Key) (apikey.Identity, error) {
		return service.CheckKey(ctx, client, key)
	}
	keeper, err := apikey.New(source, check, apikey.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	client = tally.New(contract(t), tally.Config{URL: base, Version: "2025-02-01", UserAgent: "tallyd/test", Keys: keeper, Limits: tally.DefaultLimits()})
	client.SetTransport(answer)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = keeper.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		client.Close()
	})
	synctest.Wait()
	return client
}
