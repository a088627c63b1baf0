package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

// Names of the ways from the JSON of a page to the wire bytes of the answer.
const (
	wayTallyd = "tallyd's client and codec"
	wayByHand = "encoding/json, structs, proto.Marshal"
	wayFetch  = "fetch alone"
	wayWalk   = "token walk alone"
)

// way does something with a page of 100 submissions x 12 answers.
type way struct {
	name string
	do   func(context.Context) error
}

// ways returns what is compared. The client offers no door behind its HTTP, so that it and its peer both fetch over loopback, from
// another process; what fetching costs is measured beside them and subtracted. The token walk is the floor of any decoder.
func ways(t testing.TB, upstream string) []way {
	t.Helper()
	ours, theirs, body := tallyClient(t, upstream), &http.Client{}, submissionsPage()
	address := upstream + "/forms/f1/submissions"
	return []way{
		{wayTallyd, func(ctx context.Context) error {
			resp := &tallydv1.ListSubmissionsResponse{}
			if err := ours.Call(ctx, &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 100}, resp); err != nil {
				return err
			}
			_, err := proto.Marshal(resp)
			return err
		}},
		{wayByHand, func(ctx context.Context) error {
			data, err := fetchBytes(ctx, theirs, address)
			if err != nil {
				return err
			}
			resp, err := pageByHand(data)
			if err != nil {
				return err
			}
			_, err = proto.Marshal(resp)
			return err
		}},
		{wayFetch, func(ctx context.Context) error {
			_, err := fetchBytes(ctx, theirs, address)
			return err
		}},
		{wayWalk, func(context.Context) error { return walk(body) }},
	}
}

func walk(body []byte) error {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(body))
	for {
		if _, err := decoder.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// key is a key that nobody watches over.
type key struct{ apikey.Key }

func (k key) Current() apikey.Key { return k.Key }
func (key) Err() error            { return nil }
func (key) Confirm(context.Context, apikey.Key) (apikey.Verdict, error) {
	return apikey.VerdictGood, nil
}

func tallyClient(t testing.TB, address string) *tally.Client {
	t.Helper()
	contract, err := tally.NewContract(tallydv1.File_tallyd_v1_submission_service_proto)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	k, err := apikey.ParseKey("tly-bench")
	if err != nil {
		t.Fatal(err)
	}
	c := tally.New(contract, tally.Config{URL: base, Version: "2026-08-04", UserAgent: "bench", Keys: key{k}, Limits: tally.DefaultLimits()})
	t.Cleanup(c.Close)
	return c
}

// translations are the ways' times in µs, round by round, and their allocations.
type translations struct {
	bytes  int
	times  map[string][]float64
	allocs map[string]float64
}

// translate goes all ways in random order in each round.
func (f *field) translate(t *testing.T, p pace) translations {
	t.Helper()
	all := ways(t, f.upstream)
	result := translations{bytes: len(submissionsPage()), times: map[string][]float64{}, allocs: map[string]float64{}}
	for _, w := range all {
		result.allocs[w.name] = testing.AllocsPerRun(p.runs, func() {
			if err := w.do(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for range p.rounds {
		for _, i := range rand.Perm(len(all)) {
			took := 0.0
			used, err := f.undisturbed(f.patience, func() (err error) {
				took, err = mean(t.Context(), all[i].do, p.page)
				return err
			})
			if err != nil {
				t.Fatalf("%s: %v", all[i].name, err)
			}
			f.patience -= used
			result.times[all[i].name] = append(result.times[all[i].name], took)
		}
	}
	return result
}

// mean goes one way for a while and returns how long it takes, in µs.
func mean(ctx context.Context, do func(context.Context) error, long time.Duration) (float64, error) {
	runtime.GC()
	count, begin := 0, time.Now()
	for ; time.Since(begin) < long; count++ {
		if err := do(ctx); err != nil {
			return 0, err
		}
	}
	return micros(time.Since(begin)) / float64(count), nil
}

// BenchmarkPage goes each way by itself, for profiles.
func BenchmarkPage(b *testing.B) {
	for _, w := range ways(b, "http://"+start(b, self(b, "upstream")).address) {
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := w.do(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
