package apikey

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// watched is a keeper of a real file. Its states arrive on a channel, so that no test sleeps.
type watched struct {
	*Keeper
	states chan State
}

func watch(t *testing.T, path string, u *upstream) *watched {
	t.Helper()
	w := &watched{states: make(chan State, 1000)}
	var err error
	w.Keeper, err = New(FromFile(path, nil), u.check,
		WithLogger(slog.New(slog.DiscardHandler)), WithNotify(func(s State) { w.states <- s }))
	if err != nil {
		t.Fatalf("New() = %v, want no error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	w.await(t, "the first check", func(s State) bool { return s.Known })
	return w
}

// await waits for a state. The limit is well under the poll, so that only the watch can bring it in time.
func (w *watched) await(t *testing.T, what string, reached func(State) bool) {
	t.Helper()
	limit := time.NewTimer(poll / 2)
	defer limit.Stop()
	for {
		select {
		case s := <-w.states:
			if reached(s) {
				return
			}
		case <-limit.C:
			t.Fatalf("State() = %+v, want %s", w.State(), what)
		}
	}
}

func (w *watched) awaitKey(t *testing.T, key Key) {
	t.Helper()
	w.await(t, "key "+key.Alias(), func(s State) bool { return s.Alias == key.Alias() && s.Known })
	if got := w.Current(); !got.Equal(key) {
		t.Errorf("Current() = %s, want %s", got.Alias(), key.Alias())
	}
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, path, content string)
	}{
		{name: "written over", change: func(t *testing.T, path, content string) { writeFile(t, path, content, 0o600) }},
		{name: "renamed over", change: func(t *testing.T, path, content string) {
			writeFile(t, path+".tmp", content, 0o600)
			rename(t, path+".tmp", path)
		}},
		{name: "removed and made again", change: func(t *testing.T, path, content string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, content, 0o600)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			writeFile(t, path, keyA.Reveal(), 0o600)
			w := watch(t, path, tallyWith(keyA, "org", keyB, "org", keyC, "org"))
			// Twice, because the first change may take the watch with it.
			for _, next := range []Key{keyB, keyC} {
				tt.change(t, path, next.Reveal()+"\n")
				w.awaitKey(t, next)
			}
		})
	}
}

func TestMountedSecretIsReadAgainWhenItsLinksSwap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	mountSecret(t, path, keyA.Reveal())
	w := watch(t, path, tallyWith(keyA, "org", keyB, "org", keyC, "org"))
	for version, next := range map[string]Key{"..2026_02": keyB, "..2026_03": keyC} {
		swapSecret(t, filepath.Dir(path), version, "key", next.Reveal())
		w.awaitKey(t, next)
	}
}

func TestTargetOfALinkIsWatched(t *testing.T) {
	target, path := filepath.Join(t.TempDir(), "vault"), filepath.Join(t.TempDir(), "key")
	writeFile(t, target, keyA.Reveal(), 0o600)
	link(t, target, path)
	w := watch(t, path, tallyWith(keyA, "org", keyB, "org"))
	writeFile(t, target, keyB.Reveal(), 0o600)
	w.awaitKey(t, keyB)
}

// The old key is revoked as soon as the new one is in use, and calls that took the old one before learn to send
// again: none is lost.
func TestRotationUnderLoadLosesNoCall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	writeFile(t, path, keyA.Reveal(), 0o600)
	u := tallyWith(keyA, "org", keyB, "org")
	w := watch(t, path, u)
	var stop atomic.Bool
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for !stop.Load() {
				if err := w.call(t.Context(), u); err != nil {
					t.Errorf("call = %v, want no error", err)
					return
				}
			}
		})
	}
	writeFile(t, path+".tmp", keyB.Reveal(), 0o600)
	rename(t, path+".tmp", path)
	w.awaitKey(t, keyB)
	u.revoke(keyA)
	stop.Store(true)
	callers.Wait()
	if err := w.call(t.Context(), u); err != nil {
		t.Errorf("call after the rotation = %v, want no error", err)
	}
}

// call does what the REST client does: ask, take, send, and after a 401 ask what it meant.
func (w *watched) call(ctx context.Context, u *upstream) error {
	for {
		if err := w.Err(); err != nil {
			return err
		}
		key := w.Current()
		if u.alive(key) {
			return nil
		}
		if verdict, err := w.Confirm(ctx, key); verdict != VerdictSuperseded {
			return err
		}
	}
}

func (u *upstream) alive(key Key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, alive := u.orgs[key.Alias()]
	return alive
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
