package events

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
)

// mostNoted bounds how exact the time is at which a form was last watched: noting it costs a write.
const mostNoted = time.Hour

// KeeperConfig is what a Keeper needs.
type KeeperConfig struct {
	// Log and Hub are the logs and who reads them.
	Log *Log
	Hub *Hub
	// Upstream is Tally.
	Upstream Upstream
	// PublicURL is where Tally reaches the intake, without a path; empty where it cannot.
	PublicURL string
	// Reconcile is how often a log is compared with Tally's list where a webhook fills it, Poll where none does.
	Reconcile, Poll time.Duration
	// Retention is how long a log lives on that nobody watches.
	Retention time.Duration
	// SecretAge is how old the secret of a webhook gets before another one takes its place; 0 for no end.
	SecretAge time.Duration
	// Found is told what a comparison found: submissions that were missing, or deletions that nobody told of. It must be quick. May be nil.
	Found func(form string, missing, deleted int)
	// Logger gets what operators should see.
	Logger *slog.Logger
}

// Keeper keeps logs complete: it sees to their webhooks and compares them with Tally's lists.
type Keeper struct {
	config KeeperConfig

	mu         sync.Mutex
	states     map[string]*FormState
	workspaces map[string]*Workspace
	kicked     chan struct{}
}

// FormState is how things are with a form's log.
type FormState struct {
	// Form is the form.
	Form string
	// Webhook is "ok", "none" where tallyd keeps none, or what is wrong with it.
	Webhook string
	// Compared is when the log was last compared with Tally's list; Failure is why not since, or empty.
	Compared time.Time
	Failure  string

	due     time.Time
	again   bool      // somebody asked for a comparison since the present one began
	watched time.Time // when it was last noted that somebody watches
}

// NewKeeper returns a keeper that works when it runs.
func NewKeeper(config KeeperConfig) *Keeper {
	if config.Found == nil {
		config.Found = func(string, int, int) {}
	}
	return &Keeper{config: config, states: map[string]*FormState{}, workspaces: map[string]*Workspace{}, kicked: make(chan struct{}, 1)}
}

// Watching notes that somebody watches forms; a log of each begins at the first time. The error is that of the store.
func (k *Keeper) Watching(ctx context.Context, forms []string) error {
	return k.watch(ctx, forms, time.Now())
}

// noted is how old a note that a form is watched may be: where logs live for less than an hour, an hour is too old.
func (k *Keeper) noted() time.Duration { return min(mostNoted, k.config.Retention/4) }

// watch notes that forms are watched. The log of one that has none begins at a time.
func (k *Keeper) watch(ctx context.Context, forms []string, since time.Time) error {
	for _, form := range forms {
		if k.justNoted(form) {
			continue
		}
		var failure error
		_, err := k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool {
			if f.GetBeginTime() == nil {
				f.Floor, failure = k.config.Log.ended(ctx, form)
			}
			return failure == nil && k.watched(f, since)
		})
		if err = errors.Join(err, failure); err != nil {
			return err
		}
		k.know(form, time.Now())
	}
	return nil
}

// justNoted tells whether the store knows already that somebody watches a form: ten thousand may come at once.
func (k *Keeper) justNoted(form string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.states[form]
	return s != nil && time.Since(s.watched) < k.noted()
}

// watched notes that a form is watched now.
func (k *Keeper) watched(f *logv1.Form, since time.Time) bool {
	now := time.Now()
	if f.GetBeginTime() != nil && now.Sub(f.GetWatchTime().AsTime()) < k.noted() {
		return false
	}
	f.WatchTime = timestamppb.New(now)
	if f.GetBeginTime() == nil {
		f.BeginTime = timestamppb.New(since)
		// Another replica may have noted its comparison just when the log before was closed.
		f.ReconcileTime, f.Uncounted = nil, 0
	}
	return true
}

// Knows tells whether a form has a log that is looked after.
func (k *Keeper) Knows(form string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.states[form] != nil
}

// Polls returns how often Tally is asked about these forms; 0 where webhooks tell of all.
func (k *Keeper) Polls(forms []string) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, form := range forms {
		if s := k.states[form]; s == nil || s.Webhook != hookGood {
			return k.config.Poll
		}
	}
	return 0
}

// know makes sure that a form is looked after, at once if it is new. It was watched at a time; zero where nobody here watched it.
func (k *Keeper) know(form string, watched time.Time) {
	k.mu.Lock()
	s, known := k.states[form]
	if !known {
		s = &FormState{Form: form, Webhook: hookNone}
		k.states[form] = s
	}
	s.watched = laterOf(s.watched, watched)
	k.mu.Unlock()
	if !known {
		k.kick()
	}
}

// Check compares a form's log with Tally's list as soon as may be: something of it is lost.
func (k *Keeper) Check(form string) {
	k.mu.Lock()
	if s := k.states[form]; s != nil {
		s.due, s.again = time.Time{}, true
	}
	k.mu.Unlock()
	k.kick()
}

func (k *Keeper) kick() {
	select {
	case k.kicked <- struct{}{}:
	default:
	}
}

// States returns how things are with every form.
func (k *Keeper) States() []FormState {
	k.mu.Lock()
	defer k.mu.Unlock()
	states := make([]FormState, 0, len(k.states))
	for _, s := range k.states {
		states = append(states, *s)
	}
	return states
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for pause := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-k.kicked:
		case <-time.After(pause):
			if forms, err := k.config.Log.Forms(ctx); err == nil {
				for _, form := range forms {
					k.know(form, time.Time{})
				}
			}
		}
		k.rereadWorkspaces(ctx)
		k.pass(ctx)
		pause = k.untilDue()
	}
}

// rediscover is how often the forms with a log are read anew: another replica may have begun one.
const rediscover = time.Minute

// untilDue is how long nothing has to be done.
func (k *Keeper) untilDue() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	until := rediscover
	for _, s := range k.states {
		until = min(until, time.Until(s.due))
	}
	return max(until, 0)
}

// pass looks after every form that is due.
func (k *Keeper) pass(ctx context.Context) {
	list := sync.OnceValue(func() *hooks { return k.hooks(ctx) })
	for _, form := range k.dueForms() {
		if ctx.Err() != nil {
			return
		}
		k.lookAfter(ctx, form, list)
	}
}

func (k *Keeper) dueForms() (forms []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for form, s := range k.states {
		if !s.due.After(time.Now()) {
			forms = append(forms, form)
			s.again = false
		}
	}
	return forms
}

// lookAfter sees to a form's webhook and compares its log with Tally's list.
func (k *Keeper) lookAfter(ctx context.Context, form string, list func() *hooks) {
	f, err := k.config.Log.Form(ctx, form)
	if err == nil && f.GetBeginTime() == nil {
		k.closed(ctx, form)
		return
	}
	if err == nil && k.abandoned(f) {
		if err = k.abandon(ctx, f); err == nil {
			return
		}
	}
	if err == nil && k.config.Hub.Watchers(form) > 0 {
		err = k.Watching(ctx, []string{form}) // for the other replicas, which do not see who watches here
	}
	webhook, unregistered := hookUnknown, err
	if err == nil {
		webhook, unregistered = k.register(ctx, form, list)
		if failed(unregistered) {
			k.config.Logger.Warn("the webhook of a form cannot be kept", slog.String("form", form), slog.String("error", unregistered.Error()))
		}
		// All the more where no webhook tells of the form: events come late then, but they come.
		err = k.reconcile(ctx, form)
	}
	if failed(err) {
		k.config.Logger.Warn("a log cannot be compared with Tally's list", slog.String("form", form), slog.String("error", err.Error()))
	}
	k.noteState(form, webhook, err == nil, errors.Join(unregistered, err))
}

// failed tells a failure from the end of the process.
func failed(err error) bool { return err != nil && !errors.Is(err, context.Canceled) }

// noteState notes how a look at a form went, and when the next is due.
func (k *Keeper) noteState(form, webhook string, compared bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.states[form]
	s.Webhook = webhook
	every := k.config.Reconcile
	if webhook != hookGood {
		every = k.config.Poll
	}
	if s.due = time.Now().Add(every); s.again {
		s.due = time.Time{}
	}
	if compared {
		s.Compared = time.Now()
	}
	switch {
	case err == nil:
		s.Failure = ""
	case !errors.Is(err, context.Canceled):
		s.Failure = err.Error()
	}
}
