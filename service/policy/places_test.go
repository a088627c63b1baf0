package policy_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallyd/tallyd/service/policy"
)

// pretend is an account that can change, and counts what it is asked.
type pretend struct {
	forms    map[string]policy.Place
	hooks    map[string]string
	requests int
	pages    int
	err      error
	wait     time.Duration
}

func (p *pretend) Forms(ctx context.Context) (map[string]policy.Place, int, error) {
	p.requests += p.pages
	if p.wait > 0 {
		select {
		case <-time.After(p.wait):
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return maps.Clone(p.forms), p.pages, p.err
}

func (p *pretend) Form(_ context.Context, id string) (policy.Place, error) {
	p.requests++
	at, found := p.forms[id]
	if p.err == nil && !found {
		return at, policy.ErrUnknown
	}
	return at, p.err
}

func (p *pretend) Webhooks(context.Context) (map[string]string, int, error) {
	p.requests++
	return maps.Clone(p.hooks), 1, p.err
}

func (p *pretend) Within(context.Context, policy.Child) (bool, error) { return true, nil }

// TestMovedFormIsNoticed holds the stated time: a minute for each page of the list of forms, ten at most.
func TestMovedFormIsNoticed(t *testing.T) {
	tests := []struct {
		name  string
		pages int
		want  time.Duration
	}{
		{"one page", 1, time.Minute},
		{"three pages", 3, 3 * time.Minute},
		{"forty pages", 40, 10 * time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &pretend{forms: map[string]policy.Place{"f": {Workspace: "old"}}, pages: test.pages}
				places := policy.NewPlaces(world)
				start := time.Now()
				for at := (policy.Place{}); at.Workspace != "new"; time.Sleep(time.Second) {
					var err error
					if at, err = places.Listed(t.Context(), "f"); err != nil {
						t.Fatal(err)
					}
					world.forms["f"] = policy.Place{Workspace: "new"}
					if time.Since(start) > test.want+time.Second {
						t.Fatalf("the move is not noticed after %v, want %v", time.Since(start), test.want)
					}
				}
				if want := 2 * test.pages; world.requests != want {
					t.Errorf("%d requests, want %d: the list is to be read once in its time", world.requests, want)
				}
			})
		})
	}
}

// TestSingleLookUps holds that one form is asked for once a minute, whether Tally shows it or not, and that a failure is not remembered.
func TestSingleLookUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &pretend{forms: map[string]policy.Place{"f": {Workspace: "w"}}, pages: 1}
		places := policy.NewPlaces(world)
		for range 3 {
			if at, err := places.Single(t.Context(), "f"); err != nil || at.Workspace != "w" {
				t.Errorf("Single(f) = %v, %v, want w", at, err)
			}
			if _, err := places.Single(t.Context(), "nosuch"); !errors.Is(err, policy.ErrUnknown) {
				t.Errorf("Single(nosuch) = %v, want ErrUnknown", err)
			}
		}
		if world.requests != 2 {
			t.Errorf("%d requests within a minute, want 2", world.requests)
		}
		time.Sleep(61 * time.Second)
		world.err = errors.New("down")
		for range 2 {
			if _, err := places.Single(t.Context(), "f"); !errors.Is(err, world.err) {
				t.Errorf("Single(f) = %v, want the failure", err)
			}
		}
		if world.requests != 4 {
			t.Errorf("%d requests, want 4: a failure is not remembered", world.requests)
		}
	})
}

// TestFolderOfTheList holds that a look-up which leaves out the folder does not make the one of the list forgotten.
func TestFolderOfTheList(t *testing.T) {
	world := &pretend{forms: map[string]policy.Place{"f": {Workspace: "w", Folder: "d"}}, pages: 1}
	places := policy.NewPlaces(world)
	if _, err := places.Listed(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	world.forms = map[string]policy.Place{"f": {Workspace: "w"}}
	if _, err := places.Single(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	if at, err := places.Known(t.Context(), "f"); err != nil || at.Folder != "d" {
		t.Errorf("Known(f) = %v, %v, want it in d", at, err)
	}
}

// TestLearnedAtOnce holds that what was just made is known before any list shows it.
func TestLearnedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &pretend{hooks: map[string]string{"h": "f"}, pages: 1}
		places := policy.NewPlaces(world)
		if _, err := places.Webhook(t.Context(), "new", false); !errors.Is(err, policy.ErrUnknown) {
			t.Fatalf("Webhook(new) = %v, want ErrUnknown", err)
		}
		places.LearnWebhook("new", "g")
		places.LearnForm("g", policy.Place{Workspace: "w"})
		form, err := places.Webhook(t.Context(), "new", false)
		at, err2 := places.Known(t.Context(), form)
		if err != nil || err2 != nil || at.Workspace != "w" {
			t.Errorf("the new webhook's form %q lies at %v (%v, %v), want w", form, at, err, err2)
		}
		// A webhook that somebody else made is found once the list is a few seconds old.
		world.hooks["theirs"] = "x"
		time.Sleep(6 * time.Second)
		if form, err := places.Webhook(t.Context(), "theirs", true); err != nil || form != "x" {
			t.Errorf("Webhook(theirs) = %q, %v, want x", form, err)
		}
	})
}

// TestLookUpIsShared holds that calls at one time share a look-up, and that one that gives up takes it from nobody.
func TestLookUpIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &pretend{forms: map[string]policy.Place{"f": {Workspace: "w"}}, pages: 1, wait: time.Second}
		places := policy.NewPlaces(world)
		leader, leave := context.WithCancel(t.Context())
		results := make(chan error, 11)
		go func() {
			_, err := places.Listed(leader, "f")
			results <- err
		}()
		synctest.Wait()
		for range 10 {
			go func() {
				_, err := places.Listed(t.Context(), "f")
				results <- err
			}()
		}
		synctest.Wait()
		leave()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("the leader got %v, want its own end", err)
		}
		for range 10 {
			if err := <-results; err != nil {
				t.Errorf("a follower got %v, want nil", err)
			}
		}
		if world.requests != 1 {
			t.Errorf("%d requests, want 1", world.requests)
		}
	})
}

// TestMemoryIsBounded holds that ids from outside fill no memory.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &pretend{pages: 1}
		places := policy.NewPlaces(world)
		for i := range 25_000 {
			places.LearnForm(string(rune('a'+i%26))+time.Duration(i).String(), policy.Place{})
		}
		if got := places.Remembered(); got > 10_000 {
			t.Errorf("%d forms are remembered, want at most 10,000", got)
		}
	})
}

// broken is a finder with a defect.
type broken struct{ pretend }

func (*broken) Form(context.Context, string) (policy.Place, error) { panic("a defect") }

// TestPanickingLookUp holds that a defect in a look-up, which no call's own goroutine makes, ends a call and not the process.
func TestPanickingLookUp(t *testing.T) {
	if at, err := policy.NewPlaces(&broken{}).Single(t.Context(), "f1"); err == nil || errors.Is(err, policy.ErrUnknown) {
		t.Errorf("Single() = %v, %v, want the error of the look-up", at, err)
	}
}
