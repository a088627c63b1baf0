package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDropForgets(t *testing.T) {
	paths := []string{"/forms", "/forms/a", "/forms/a/blocks", "/forms/a/blocks/1", "/forms/ab", "/forms/b", "/workspaces"}
	for _, tt := range []struct {
		name string
		drop []string
		want []string
	}{
		{name: "nothing", want: nil},
		{name: "a member", drop: []string{"/forms/a"}, want: []string{"/forms", "/forms/a", "/forms/a/blocks", "/forms/a/blocks/1"}},
		{name: "a list", drop: []string{"/workspaces"}, want: []string{"/workspaces"}},
		{name: "a list with members", drop: []string{"/forms"}, want: paths[:6]},
		{name: "a part", drop: []string{"/forms/a/blocks"}, want: []string{"/forms/a", "/forms/a/blocks", "/forms/a/blocks/1"}},
		{name: "an unknown member", drop: []string{"/forms/z"}, want: []string{"/forms"}},
		{name: "two", drop: []string{"/workspaces/w", "/forms/b/"}, want: []string{"/forms", "/forms/b", "/workspaces"}},
		{name: "everything", drop: []string{"/"}, want: paths},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			for _, path := range paths {
				get(t, s, Ask{Key: Key{Request: path}, Path: path, Keep: time.Hour}, fetch("body"))
			}
			s.Drop(tt.drop...)
			var gone []string
			for _, path := range paths {
				if _, found, _ := s.Lookup(Key{Request: path}, time.Hour); !found {
					gone = append(gone, path)
				}
			}
			if diff := cmp.Diff(tt.want, gone); diff != "" {
				t.Errorf("Drop(%q) forgot (-want +got):\n%s", tt.drop, diff)
			}
			if stats := s.Stats(); int(stats.Dropped) != len(tt.want) {
				t.Errorf("Stats() = %+v, want %d dropped", stats, len(tt.want))
			}
		})
	}
}

func TestDropOfFlights(t *testing.T) {
	for _, tt := range []struct {
		name       string
		drop       string
		wantShared bool
	}{
		{name: "its own path", drop: "/forms/abc/blocks"},
		{name: "what it lies in", drop: "/forms/abc"},
		{name: "a member", drop: "/forms/abc/blocks/1"},
		{name: "another", drop: "/forms/abd", wantShared: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, old, young := newStore(t), newGate(), newGate()
				first := begin(t.Context(), s, kept(), old.fetch)
				synctest.Wait()
				s.Drop(tt.drop)
				if tt.wantShared {
					second := begin(t.Context(), s, kept(), never(t))
					synctest.Wait()
					old.pass <- "old"
					want(t, <-first, "old", Fetched)
					want(t, <-second, "old", Shared)
					want(t, get(t, s, kept(), never(t)), "old", Stored)
					return
				}
				second := begin(t.Context(), s, kept(), young.fetch)
				synctest.Wait()
				old.pass <- "old"
				want(t, <-first, "old", Fetched)
				if _, found, _ := s.Lookup(blocks, time.Hour); found {
					t.Error("Lookup() found what was dropped under way")
				}
				young.pass <- "young"
				want(t, <-second, "young", Fetched)
				want(t, get(t, s, kept(), never(t)), "young", Stored)
			})
		})
	}
}

func TestDropOfFlightReplacedByAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, old, young, alone := newStore(t), newGate(), newGate(), kept()
		alone.Alone = true
		first := begin(t.Context(), s, kept(), old.fetch)
		synctest.Wait()
		second := begin(t.Context(), s, alone, young.fetch)
		synctest.Wait()
		s.Drop("/forms/abc")
		young.pass <- "young"
		old.pass <- "old"
		want(t, <-first, "old", Fetched)
		want(t, <-second, "young", Fetched)
		want(t, get(t, s, kept(), fetch("new")), "new", Fetched)
	})
}

func TestDropForgetsErrors(t *testing.T) {
	s, ask, missing := newStore(t), kept(), errors.New("missing")
	ask.KeepError = func(error) time.Duration { return time.Minute }
	get(t, s, ask, func(context.Context) ([]byte, error) { return nil, missing })
	if r := get(t, s, ask, never(t)); !errors.Is(r.err, missing) {
		t.Fatalf("Get() = %v, want %v remembered", r.err, missing)
	}
	s.Drop("/forms/abc")
	want(t, get(t, s, ask, fetch("there")), "there", Fetched)
}

// TestDropMeetsLanding drops while flights land all the time: what is got after Drop was fetched after it.
func TestDropMeetsLanding(t *testing.T) {
	s := newStore(t)
	var source atomic.Uint64
	tell := func(ctx context.Context) ([]byte, error) {
		return binary.BigEndian.AppendUint64(nil, source.Load()), ctx.Err()
	}
	stop := make(chan struct{})
	defer close(stop)
	keys := map[string]Key{"/forms": {Request: "list"}, "/forms/a": {Request: "a"}, "/forms/a/blocks": {Request: "blocks"}}
	for path, key := range keys {
		for range 2 {
			s.running.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = s.Get(context.Background(), Ask{Key: key, Path: path, Fresh: time.Hour, Keep: time.Hour}, tell)
					}
				}
			})
		}
	}
	paths := slices.Collect(maps.Keys(keys))
	for i := range 1000 {
		written := source.Add(1)
		s.Drop("/forms/a")
		path := paths[i%len(paths)]
		answer, err := s.Get(t.Context(), Ask{Key: keys[path], Path: path, Fresh: time.Hour, Keep: time.Hour}, tell)
		if err != nil || binary.BigEndian.Uint64(answer.Body) < written {
			t.Fatalf("Get(%q) = %v, %v after a Drop, want %d or later", path, answer.Body, err, written)
		}
	}
}
