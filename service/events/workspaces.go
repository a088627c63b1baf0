package events

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tallyd/tallyd/service/store"
)

const (
	// rereadWorkspace is how often it is asked which forms a workspace has while somebody watches it.
	rereadWorkspace = 5 * time.Minute
	workspaceKey    = "workspace."
)

// Workspace is a workspace that somebody watches: its forms are looked after as they come and go.
type Workspace struct {
	id    string
	forms atomic.Pointer[[]string] // sorted
	due   time.Time
	users int
}

// Has tells whether a form lies in the workspace. It is quick.
func (w *Workspace) Has(form string) bool {
	_, found := slices.BinarySearch(*w.forms.Load(), form)
	return found
}

// Forms returns the workspace's forms.
func (w *Workspace) Forms() []string { return *w.forms.Load() }

// Workspace returns a workspace that is looked after until release is called. The error is Tally's or the store's.
func (k *Keeper) Workspace(ctx context.Context, id string) (w *Workspace, release func(), err error) {
	k.mu.Lock()
	w = k.workspaces[id]
	if w == nil {
		w = &Workspace{id: id}
		k.workspaces[id] = w
	}
	w.users++
	known := w.forms.Load() != nil
	k.mu.Unlock()
	if !known {
		err = k.readWorkspace(ctx, w)
	}
	release = func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if w.users--; w.users == 0 {
			delete(k.workspaces, id)
		}
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return w, release, nil
}

// readWorkspace asks which forms a workspace has. The log of one that is new to it begins when the list was read the last time, be it
// by another process: what came since is found by comparing.
func (k *Keeper) readWorkspace(ctx context.Context, w *Workspace) error {
	began := time.Now()
	forms, err := k.config.Upstream.Forms(ctx, w.id)
	if err != nil {
		return err
	}
	slices.Sort(forms)
	r, err := k.config.Log.store.Get(ctx, workspaceKey+w.id)
	if err != nil {
		return err
	}
	since, err := time.Parse(time.RFC3339Nano, string(r.Value))
	if err != nil {
		since = began // the first time of all
	}
	if err := k.watch(ctx, forms, since); err != nil {
		return err
	}
	r.Value = []byte(began.UTC().Format(time.RFC3339Nano))
	if _, err := k.config.Log.store.Put(ctx, r); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	w.forms.Store(&forms)
	return nil
}

// rereadWorkspaces asks again for those that are due.
func (k *Keeper) rereadWorkspaces(ctx context.Context) {
	k.mu.Lock()
	var due []*Workspace
	for _, w := range k.workspaces {
		if w.forms.Load() != nil && !w.due.After(time.Now()) {
			w.due = time.Now().Add(rereadWorkspace)
			due = append(due, w)
		}
	}
	k.mu.Unlock()
	for _, w := range due {
		if err := k.readWorkspace(ctx, w); err != nil && ctx.Err() == nil {
			k.config.Logger.Warn("the forms of a workspace cannot be read", "workspace", w.id, "error", err.Error())
		}
	}
}
