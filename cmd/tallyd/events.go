package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/statuspage"
	"github.com/tallyd/tallyd/service/store"
)

// eventFlags say how submission events are kept.
type eventFlags struct {
	Events            string        `default:"auto" enum:"auto,on,off" placeholder:"WHEN" help:"Keep a log of submission events and let callers watch it: auto (with --webhook-listen, --nats-url or the sandbox), on or off."`
	WebhookListen     string        `placeholder:"ADDR" help:"HTTP for Tally's deliveries, at /hooks/FORM; empty for none."`
	WebhookPublicURL  string        `name:"webhook-public-url" placeholder:"URL" help:"Where Tally reaches --webhook-listen, without /hooks: tallyd then keeps a webhook at Tally for each form that is watched. Without it Tally is asked every --poll-interval."`
	WebhookSecretFile string        `placeholder:"FILE" help:"Signing secrets of webhooks that were made by hand: a line each, for all forms, or FORM and SECRET. Read again when it changes."`
	WebhookSecretAge  time.Duration `default:"2160h" placeholder:"DURATION" help:"How old the secret of a webhook of tallyd's gets before another one takes its place; 0 for no end. The old one counts for 32 h more."`
	NATSURL           string        `name:"nats-url" placeholder:"URL" help:"NATS cluster that holds the log: nats://HOST:4222 or tls://HOST:4222, several with commas in between; by default files under --data-dir do. Give a password by the variable, not the flag, which others on this machine see."`
	NATSCreds         string        `name:"nats-creds" placeholder:"FILE" help:"Who tallyd is to the NATS cluster: a credentials file."`
	NATSCA            string        `name:"nats-ca" placeholder:"FILE" help:"Authorities in PEM that sign the certificates of the NATS cluster, instead of those of the system."`
	MaxWatches        int           `default:"20000" placeholder:"N" help:"Watches that may be open at once; more are refused at once with UNAVAILABLE."`
	EventRetention    time.Duration `default:"720h" placeholder:"DURATION" help:"How long events are kept."`
	EventBytes        int64         `default:"1073741824" placeholder:"N" help:"How much is kept of each form; the oldest events go first."`
	ReconcileInterval time.Duration `default:"10m" placeholder:"DURATION" help:"How often the log of a form with a webhook is compared with Tally's list."`
	PollInterval      time.Duration `default:"1m" placeholder:"DURATION" help:"How often Tally is asked about a form that no webhook tells of."`
}

// eventLog is what keeps the log of events.
type eventLog struct {
	store  *store.Store
	log    *events.Log
	hub    *events.Hub
	keeper *events.Keeper
	scrub  *events.Scrub
	intake *http.Server
	hooks  net.Listener // nil where Tally delivers nothing

	upstream *service.Upstream
	ledger   *service.Ledger
	remove   string // a directory that goes with the process
}

// keepsEvents tells whether a log is kept.
func (s serveCmd) keepsEvents() bool {
	return s.Events == "on" || s.Events == "auto" && (s.WebhookListen != "" || s.NATSURL != "" || s.Sandbox)
}

// leastSecretAge bounds how many secrets of a webhook count at once: each does for 32 h after it was replaced.
const leastSecretAge = time.Hour

// checkEvents refuses contradictions about the log.
func (s serveCmd) checkEvents() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"--event-retention", s.EventRetention}, {"--reconcile-interval", s.ReconcileInterval}, {"--poll-interval", s.PollInterval}} {
		if d.value < time.Second {
			return usagef("%s must be at least 1s", d.flag)
		}
	}
	switch {
	case s.WebhookSecretAge != 0 && s.WebhookSecretAge < leastSecretAge:
		return usagef("--webhook-secret-age must be 0, or at least %s", leastSecretAge)
	case s.EventBytes <= 0:
		return usagef("--event-bytes must be more than 0")
	case s.Events == "off" && s.WebhookListen != "":
		return usagef("--webhook-listen needs the log that --events=off switches off: leave one out")
	case s.keepsEvents() && s.DataDir == "" && s.NATSURL == "" && !s.Sandbox:
		return usagef("events must be kept somewhere: give --data-dir or --nats-url")
	case s.NATSURL == "" && (s.NATSCreds != "" || s.NATSCA != ""):
		return usagef("--nats-creds and --nats-ca need --nats-url, the cluster that they are for")
	case s.WebhookPublicURL != "" && s.WebhookListen == "":
		return usagef("--webhook-public-url needs --webhook-listen, where Tally's deliveries come in")
	case s.WebhookListen != "":
		if err := checkAddress("--webhook-listen", s.WebhookListen); err != nil {
			return err
		}
	}
	return s.checkPublicURL()
}

func (s serveCmd) checkPublicURL() error {
	if s.WebhookPublicURL == "" {
		return nil
	}
	address, err := url.Parse(s.WebhookPublicURL)
	if err != nil || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "" ||
		(address.Scheme != "https" && (address.Scheme != "http" || !isLoopback(address.Hostname()))) {
		return usagef("--webhook-public-url must be an https address with a host, such as https://hooks.example.com, not %q", s.WebhookPublicURL)
	}
	return nil
}

// openEvents opens the log, or returns nil where none is kept.
func (s serveCmd) openEvents(ctx context.Context, up *upstream, log *slog.Logger) (_ *eventLog, err error) {
	if !s.keepsEvents() {
		return nil, nil //nolint:nilnil // without a log there is nothing to open
	}
	e := &eventLog{}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	dir := s.DataDir
	if dir == "" && s.NATSURL == "" {
		if dir, err = os.MkdirTemp("", "tallyd-sandbox-"); err != nil && s.Events == "auto" && s.WebhookListen == "" {
			// An image without files has nowhere to keep any, and a trial of other calls needs none.
			log.Warn("no events are kept: there is no directory for them", slog.String("error", err.Error()))
			return nil, nil //nolint:nilnil // as where none are wanted
		} else if err != nil {
			return nil, usagef("--data-dir: %w", err)
		}
		e.remove = dir
	}
	seen := showEvents(up.metrics)
	if e.store, err = store.Begin(ctx, store.Config{
		Dir: dir, URL: s.NATSURL, Credentials: s.NATSCreds, Authorities: s.NATSCA, Log: log, Changed: func(err error) {
			seen.unavailable(err != nil)
			up.showEvents()
		},
	}); err != nil {
		return nil, usagef("the log of events cannot be opened: %w", err)
	}
	if s.NATSURL != "" {
		dir = "" // the log is elsewhere
	}
	showDisk(up.metrics, dir, e.store.Err)
	e.log = events.OpenLog(e.store, log, seen.observer(func(form string) { e.keeper.Check(form) })) //nolint:contextcheck // it lives until it is closed
	e.hub = events.NewHub(e.log)
	return e, s.openIntake(ctx, e, up, seen, log)
}

// openIntake opens the port for deliveries, and says who keeps the log complete.
func (s serveCmd) openIntake(ctx context.Context, e *eventLog, up *upstream, seen *eventsSeen, log *slog.Logger) (err error) {
	listen, public := s.WebhookListen, strings.TrimSuffix(s.WebhookPublicURL, "/")
	if s.Sandbox && listen == "" {
		listen = "127.0.0.1:0" // the pretend Tally reaches it
	}
	if listen != "" {
		if e.hooks, err = service.Listen(ctx, listen); err != nil {
			return usagef("--webhook-listen: %w", err)
		}
		if public == "" && s.Sandbox {
			public = "http://" + e.hooks.Addr().String()
		}
	}
	e.upstream = service.NewUpstream(up.client, service.HandlerConfig{Drift: up.drift})
	e.keeper = events.NewKeeper(events.KeeperConfig{
		Log: e.log, Hub: e.hub, Upstream: e.upstream, PublicURL: public,
		Reconcile: s.ReconcileInterval, Poll: s.PollInterval, Retention: s.EventRetention,
		SecretAge: s.WebhookSecretAge, Found: seen.found, Logger: log,
	})
	showForms(up.metrics, e.keeper.States)
	e.scrub = events.NewScrub(events.ScrubConfig{
		Log: e.log, Retention: s.EventRetention, Bytes: s.EventBytes, Walked: seen.walked, Logger: log,
	})
	intake := events.NewIntake(events.IntakeConfig{
		Log: e.log, Secrets: signingSecrets(e.log, s.WebhookSecretFile), Retention: s.EventRetention, Delivered: seen.delivered, Logger: log,
		Watching: func(ctx context.Context, form string) error {
			return e.keeper.Watching(ctx, []string{form})
		},
	})
	e.intake = intake.NewServer()
	return nil
}

// streams is what the streams of events need; nil where no log is kept.
func (e *eventLog) streams() *service.Events {
	if e == nil {
		return nil
	}
	return &service.Events{Log: e.log, Hub: e.hub, Keeper: e.keeper, Upstream: e.upstream}
}

// shownForms bounds the forms that the status page shows.
const shownForms = 200

// show tells the status page how things are with the log; nil where none is kept.
func (e *eventLog) show() *statuspage.Events {
	if e == nil {
		return nil
	}
	shown := &statuspage.Events{}
	if err := e.store.Err(); err != nil {
		shown.Failure = err.Error()
	}
	states := e.keeper.States()
	slices.SortFunc(states, func(a, b events.FormState) int { return strings.Compare(a.Form, b.Form) })
	for _, s := range states[:min(len(states), shownForms)] {
		last := e.log.Last(s.Form)
		shown.Forms = append(shown.Forms, statuspage.FormEvents{
			Form: s.Form, Sequence: last.Sequence, Last: last.Time, Lag: last.Lag, Watchers: e.hub.Watchers(s.Form), Gaps: last.Gaps,
			Webhook: s.Webhook, Compared: s.Compared, Failure: s.Failure,
		})
	}
	return shown
}

// intakeDrain bounds how long deliveries under way may take when the process stops.
const intakeDrain = 2 * time.Second

// run works until ctx ends, then lets deliveries under way be finished.
func (e *eventLog) run(ctx context.Context, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { e.hub.Run(ctx) })
	running.Go(func() { e.keeper.Run(ctx) })
	running.Go(func() { e.scrub.Run(ctx) })
	running.Go(func() { e.ledger.Run(ctx) })
	failed := make(chan error, 2)
	running.Go(func() {
		if err := e.store.Opened(ctx); err != nil && ctx.Err() == nil {
			failed <- usagef("the log of events cannot be opened: %w", err)
		}
	})
	if e.hooks != nil {
		log.Info("port for deliveries open", slog.String("address", e.hooks.Addr().String()))
		running.Go(func() {
			if err := e.intake.Serve(e.hooks); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	var err error
	select {
	case err = <-failed:
		stop()
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), intakeDrain)
	defer cancel()
	if e.intake.Shutdown(limited) != nil {
		_ = e.intake.Close()
	}
	running.Wait()
	return err
}

// close closes the log.
func (e *eventLog) close() {
	if e == nil {
		return
	}
	if e.hooks != nil {
		_ = e.hooks.Close() // closed already where it served
	}
	if e.ledger != nil {
		e.ledger.Close()
	}
	if e.log != nil {
		e.log.Close()
	}
	if e.store != nil {
		e.store.Close()
	}
	if e.remove != "" {
		_ = os.RemoveAll(e.remove)
	}
}
