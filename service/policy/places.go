package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrUnknown says that Tally knows no such resource, or does not show it.
var ErrUnknown = errors.New("no such resource")

// Finder looks up at Tally where things lie. Its requests are paid by the call that ctx belongs to.
type Finder interface {
	// Forms returns where every form lies, and how many requests that took.
	Forms(ctx context.Context) (forms map[string]Place, requests int, err error)
	// Form returns where one form lies. It returns ErrUnknown for one that Tally does not show.
	Form(ctx context.Context, id string) (Place, error)
	// Webhooks returns the form of every webhook, and how many requests that took.
	Webhooks(ctx context.Context) (forms map[string]string, requests int, err error)
	// Within reports whether a form, a workspace or a webhook has a question, a submission, a folder or a delivery.
	Within(ctx context.Context, child Child) (bool, error)
}

// Child is something within a form, a workspace or a webhook.
type Child struct {
	// Kind is KIND_QUESTION, KIND_SUBMISSION, KIND_FOLDER or KIND_EVENT.
	Kind Kind
	// Parent is the id of the form, the workspace or the webhook, ID that of the thing.
	Parent, ID string
}

const (
	// listAge is how long a list is taken for true, for each request that reading it takes: it never costs more than one of them a
	// minute on average, and a form that moved is noticed within a minute for each 500 forms of the account.
	listAge = time.Minute
	// maxListAge bounds that for large accounts.
	maxListAge = 10 * time.Minute
	// singleAge is how long a look-up of one thing is remembered, and what was not there with it.
	singleAge = time.Minute
	// rereadAge is how soon the list of webhooks is read again for a webhook that is not on it.
	rereadAge = 5 * time.Second
	// lookupTimeout bounds a look-up that several calls wait for.
	lookupTimeout = 20 * time.Second
	// maxSingles bounds the memory of look-ups that ids from outside cause.
	maxSingles = 10_000
)

// Places remembers where forms and webhooks lie. It is safe for concurrent use.
type Places struct {
	finder Finder
	flight singleflight.Group

	mu       sync.Mutex
	forms    list[Place]
	webhooks list[string]
	singles  map[string]single
}

// list is one reading of all that there is.
type list[T any] struct {
	of    map[string]T
	read  time.Time
	until time.Time
}

func newList[T any](of map[string]T, requests int) list[T] {
	now := time.Now()
	age := min(time.Duration(max(requests, 1))*listAge, maxListAge)
	return list[T]{of: of, read: now, until: now.Add(age)}
}

// single is one reading of one form; found is false for what Tally does not show.
type single struct {
	place Place
	found bool
	until time.Time
}

// NewPlaces returns a memory that nothing is in yet.
func NewPlaces(finder Finder) *Places {
	return &Places{finder: finder, singles: map[string]single{}}
}

// Listed returns where a form lies by the list of forms, which is read again when it is too old. It returns ErrUnknown for a form
// that is not on it, and the error of a list that cannot be read.
func (p *Places) Listed(ctx context.Context, form string) (Place, error) {
	p.mu.Lock()
	at, fresh := p.forms, time.Now().Before(p.forms.until)
	p.mu.Unlock()
	if !fresh {
		var err error
		if at, err = p.readForms(ctx); err != nil {
			return Place{}, err
		}
	}
	place, found := at.of[form]
	if !found {
		return Place{}, ErrUnknown
	}
	return place, nil
}

// Single returns where a form lies by a look-up of it alone, at most a minute old. It returns ErrUnknown for one that Tally does not
// show, and any other error of the look-up, which is not remembered.
func (p *Places) Single(ctx context.Context, form string) (Place, error) {
	p.mu.Lock()
	at, found := p.singles[form]
	p.mu.Unlock()
	if !found || time.Now().After(at.until) {
		var err error
		if at, err = p.readForm(ctx, form); err != nil {
			return Place{}, err
		}
	}
	if !at.found {
		return Place{}, ErrUnknown
	}
	return at.place, nil
}

// Known returns where a form lies by what is remembered of it alone, else by the list.
func (p *Places) Known(ctx context.Context, form string) (Place, error) {
	p.mu.Lock()
	at, found := p.singles[form]
	p.mu.Unlock()
	if found && at.found && time.Now().Before(at.until) {
		return at.place, nil
	}
	return p.Listed(ctx, form)
}

// Webhook returns the form of a webhook by the list of webhooks. With again a list that is more than a few seconds old is read again
// first. It returns ErrUnknown for one that is not on it, and the error of a list that cannot be read.
func (p *Places) Webhook(ctx context.Context, id string, again bool) (string, error) {
	p.mu.Lock()
	at := p.webhooks
	p.mu.Unlock()
	if now := time.Now(); now.After(at.until) || again && now.Sub(at.read) > rereadAge {
		var err error
		if at, err = p.readWebhooks(ctx); err != nil {
			return "", err
		}
	}
	form := at.of[id]
	if form == "" { // also one that the list says no form of
		return "", ErrUnknown
	}
	return form, nil
}

// LearnForm remembers a form that was just made, before any list shows it.
func (p *Places) LearnForm(id string, at Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remember(id, single{place: at, found: true, until: time.Now().Add(singleAge)})
}

// LearnWebhook remembers a webhook that was just made or moved, until the list is read again.
func (p *Places) LearnWebhook(id, form string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.webhooks.of == nil {
		return
	}
	// The list that others may be reading stays as it is.
	of := make(map[string]string, len(p.webhooks.of)+1)
	maps.Copy(of, p.webhooks.of)
	of[id] = form
	p.webhooks.of = of
}

func (p *Places) readForms(ctx context.Context) (list[Place], error) {
	return shared(ctx, &p.flight, "forms", func(ctx context.Context) (list[Place], error) {
		forms, requests, err := p.finder.Forms(ctx)
		if err != nil {
			return list[Place]{}, err
		}
		at := newList(forms, requests)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.forms = at
		return at, nil
	})
}

func (p *Places) readWebhooks(ctx context.Context) (list[string], error) {
	return shared(ctx, &p.flight, "webhooks", func(ctx context.Context) (list[string], error) {
		forms, requests, err := p.finder.Webhooks(ctx)
		if err != nil {
			return list[string]{}, err
		}
		at := newList(forms, requests)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.webhooks = at
		return at, nil
	})
}

func (p *Places) readForm(ctx context.Context, id string) (single, error) {
	return shared(ctx, &p.flight, "form "+id, func(ctx context.Context) (single, error) {
		place, err := p.finder.Form(ctx, id)
		if err != nil && !errors.Is(err, ErrUnknown) {
			return single{}, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		// An answer about one form may leave out its folder, which the list of forms has: a denial of that folder still counts.
		if listed := p.forms.of[id]; err == nil && place.Folder == "" && listed.Workspace == place.Workspace {
			place.Folder = listed.Folder
		}
		at := single{place: place, found: err == nil, until: time.Now().Add(singleAge)}
		p.remember(id, at)
		return at, nil
	})
}

// remember keeps the bound: what is too old goes first, and all of it when nothing is.
func (p *Places) remember(id string, at single) {
	if len(p.singles) >= maxSingles {
		now := time.Now()
		for known, old := range p.singles {
			if now.After(old.until) {
				delete(p.singles, known)
			}
		}
		if len(p.singles) >= maxSingles {
			clear(p.singles)
		}
	}
	p.singles[id] = at
}

// shared makes one look-up for all calls that want it now. It outlives a caller that gives up, since others may wait for it, and is
// bounded instead.
func shared[T any](ctx context.Context, flight *singleflight.Group, key string, read func(context.Context) (T, error)) (T, error) {
	result := flight.DoChan(key, func() (_ any, err error) {
		defer func() {
			if p := recover(); p != nil { // nothing else on this goroutine would keep it from ending the process
				err = fmt.Errorf("look-up of %s: %v\n%s", key, p, debug.Stack())
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		return read(ctx)
	})
	select {
	case got := <-result:
		value, _ := got.Val.(T)
		return value, got.Err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
