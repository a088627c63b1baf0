package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tallyd/tallyd/service/events"
)

// pretended is a Tally that tests change at will.
type pretended struct {
	mu       sync.Mutex
	items    []events.Item // completed, newest first
	partials []events.Item
	hooks    []events.Webhook
	failed   []string    // submissions whose deliveries failed
	asked    []time.Time // from when on deliveries were asked for
	forms    []string
	lists    []events.Search // what was asked of the lists
	broken   error           // of every call
	deaf     bool            // makes webhooks and says that it failed
	made     int             // webhooks
	removing func()          // is called before a webhook is removed
	listed   func()          // is called when the webhooks were read, before they are told
	refusing bool            // refuses the list of webhooks
}

var errBroken = errors.New("Tally is broken") //nolint:staticcheck // its name

func (p *pretended) submit(id string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items = append(p.items, events.Item{ID: id, Time: at, Data: []byte("submission " + id)})
	slices.SortStableFunc(p.items, func(a, b events.Item) int { return b.Time.Compare(a.Time) })
}

func (p *pretended) remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items = slices.DeleteFunc(p.items, func(i events.Item) bool { return i.ID == id })
}

// Submissions pages by two.
func (p *pretended) Submissions(_ context.Context, _ string, q events.Search) (events.Page, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists = append(p.lists, q)
	items := p.items
	if q.Partial {
		items = p.partials
	}
	items = slices.DeleteFunc(slices.Clone(items), func(i events.Item) bool { return i.Time.Before(q.Since) })
	from, _ := strconv.Atoi(q.Token)
	page := events.Page{Completed: int64(len(p.items)), Items: items[min(from, len(items)):min(from+2, len(items))]}
	if from+2 < len(items) {
		page.Next = fmt.Sprint(from + 2)
	}
	return page, p.broken
}

func (p *pretended) Submission(_ context.Context, _, id string) (events.Item, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.items {
		if i.ID == id {
			return i, p.broken
		}
	}
	return events.Item{}, errors.Join(events.ErrNoSubmission, p.broken)
}

func (p *pretended) Forms(context.Context, string) ([]string, error) { return p.forms, p.broken }

func (p *pretended) Webhooks(context.Context) ([]events.Webhook, error) {
	hooks, err := p.readHooks()
	if p.listed != nil {
		p.listed()
	}
	return hooks, err
}

func (p *pretended) readHooks() ([]events.Webhook, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		return nil, events.ErrListRefused
	}
	return slices.Clone(p.hooks), p.broken
}

func (p *pretended) SetWebhook(_ context.Context, w events.Webhook) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return "", p.broken
	}
	if w.ID == "" {
		p.made++
		w.ID = fmt.Sprintf("hook%d", p.made)
		p.hooks = append(p.hooks, w)
	}
	for i := range p.hooks {
		if p.hooks[i].ID == w.ID {
			p.hooks[i] = w
		}
	}
	if p.deaf {
		return "", errBroken
	}
	return w.ID, nil
}

func (p *pretended) RemoveWebhook(_ context.Context, id string) error {
	if p.removing != nil {
		p.removing()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hooks = slices.DeleteFunc(p.hooks, func(w events.Webhook) bool { return w.ID == id })
	return p.broken
}

func (p *pretended) Undelivered(_ context.Context, _ string, since time.Time) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, since)
	return slices.Clone(p.failed), p.broken
}
