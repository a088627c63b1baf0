package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/policy"
)

// allowAll is the policy that says openly that whoever reaches the port may do all.
const allowAll = "allow-all"

const (
	// usualLameDuck is longer than endpoints take to reach the proxies of a cluster.
	usualLameDuck = 5 * time.Second
	// longestLameDuck leaves calls under way a part of the time in which the process stops.
	longestLameDuck = 20 * time.Second
)

type serveCmd struct {
	upstreamFlags
	eventFlags

	Listen          string         `default:"127.0.0.1:50051" placeholder:"ADDR" help:"gRPC: HOST:PORT or unix:PATH."`
	AdminListen     string         `default:"127.0.0.1:9464" placeholder:"ADDR" help:"HTTP for operators: /livez, /readyz, /metrics, a status page at /; empty for none."`
	Sandbox         bool           `help:"Start the built-in pretend Tally and use it: no key, no network."`
	SandboxRate     int            `default:"100" placeholder:"N" help:"Requests a minute that the built-in pretend Tally allows; 0 for any number."`
	Policy          string         `placeholder:"FILE" help:"Who may do what; allow-all says openly that whoever reaches the port may do all. Needed to listen beyond this machine. Re-read on change."`
	AuditLog        string         `placeholder:"FILE" help:"Record of each write and each denial, as JSON lines; stderr and stdout are names too. With a policy it is written among the log lines unless it has a file of its own."`
	TLSCert         string         `name:"tls-cert" placeholder:"FILE" help:"Certificate chain in PEM: serve TLS. Re-read on change, like the two below."`
	TLSKey          string         `name:"tls-key" placeholder:"FILE" help:"Private key of the certificate."`
	TLSClientCA     string         `name:"tls-client-ca" placeholder:"FILE" help:"Authorities in PEM: callers must show a certificate that one of them signed."`
	Reflection      string         `default:"auto" enum:"auto,on,off" placeholder:"WHEN" help:"gRPC reflection: auto (on for loopback and the sandbox), on or off."`
	TallyRate       int            `default:"100" placeholder:"N" help:"Requests a minute that Tally grants the key; 0 for any number, as a Tally of your own may."`
	CacheBytes      int64          `default:"67108864" placeholder:"N" help:"Memory for answers that are handed out again; 0 for none. Calls for the same that come together ask Tally once all the same."`
	DataDir         string         `placeholder:"DIR" help:"Keeps over a restart which requests the last minute saw, without which the first minute is paced evenly; and the log of submission events, unless --nats-url holds it."`
	DefaultDeadline time.Duration  `default:"30s" placeholder:"DURATION" help:"Deadline of calls that bring none."`
	MaxInFlight     int            `default:"4096" placeholder:"N" help:"Calls that may be under way at once, streams among them; more are refused at once with UNAVAILABLE."`
	LameDuck        *time.Duration `placeholder:"DURATION" help:"How long calls are still taken after SIGTERM, when health says no already and proxies are yet to learn of it, at most 20s. By default 5s where other machines reach the port, else 0."`
	LogFormat       string         `default:"auto" enum:"auto,text,json" placeholder:"FORMAT" help:"auto is text on a terminal, else json."`
}

// Run serves until ctx ends, then drains.
func (s serveCmd) Run(ctx context.Context, c console) error {
	log := newLogger(c.err, s.LogFormat)
	if err := s.check(); err != nil {
		return err
	}
	up, err := s.upstream(ctx, log)
	if err != nil {
		return err
	}
	defer up.close()
	if up.events, err = s.openEvents(ctx, up, log); err != nil {
		return err
	}
	defer up.events.close()
	if err := s.prepare(up, c, log); err != nil { //nolint:contextcheck // what a policy reads outlives the call that made it read
		return err
	}
	return s.serve(ctx, c, up, log)
}

// serve opens the ports and serves until ctx ends.
func (s serveCmd) serve(ctx context.Context, c console, up *upstream, log *slog.Logger) error {
	listener, err := service.Listen(ctx, s.Listen)
	if err != nil {
		return usagef("--listen: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	// Calls under way need the key's custodian until they are done, and operators want to see them go.
	drain, drained := context.WithCancel(context.WithoutCancel(ctx))
	defer drained()
	if s.AdminListen != "" {
		admin, err := service.Listen(ctx, s.AdminListen)
		if err != nil {
			return usagef("--admin-listen: %w", errors.Join(err, listener.Close()))
		}
		log.Info("admin port open", slog.String("address", admin.Addr().String()))
		group.Go(func() error {
			return service.ServeAdmin(drain, admin, service.AdminHandler(up.server.Ready, up.seen.Metrics, up.page))
		})
	}
	group.Go(func() error { return up.keeper.Run(drain) })
	if up.policy != nil {
		group.Go(func() error { return up.policy.Run(drain) })
	}
	if up.events != nil {
		group.Go(func() error { return up.events.run(drain, log) })
	}
	group.Go(func() error { return up.server.Serve(listener) })
	group.Go(func() error {
		<-ctx.Done()
		up.server.Shutdown()
		drained()
		return nil
	})
	s.announce(c, listener.Addr())
	return group.Wait()
}

// check refuses what must not be served, before anything listens.
func (s serveCmd) check() error {
	if err := checkAddress("--listen", s.Listen); err != nil {
		return err
	}
	if err := checkAddress("--admin-listen", s.AdminListen); s.AdminListen != "" && err != nil {
		return err
	}
	if s.Policy == "" && !service.IsLocal(s.Listen) {
		return usagef("--listen %s can be reached from other machines: give --policy=FILE, or --policy=allow-all to let in whoever reaches it, or listen on 127.0.0.1 or unix:PATH", s.Listen)
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return usagef("--tls-cert and --tls-key belong together")
	}
	if s.TLSClientCA != "" && s.TLSCert == "" {
		return usagef("--tls-client-ca needs --tls-cert and --tls-key")
	}
	if s.DefaultDeadline <= 0 {
		return usagef("--default-deadline must be more than 0")
	}
	if s.CacheBytes < 0 {
		return usagef("--cache-bytes must be 0 or more")
	}
	if s.TallyRate < 0 {
		return usagef("--tally-rate must be 0 or more")
	}
	if s.MaxInFlight <= 0 {
		return usagef("--max-in-flight must be more than 0")
	}
	if s.MaxWatches <= 0 {
		return usagef("--max-watches must be more than 0")
	}
	if lame := s.lameDuck(); lame < 0 || lame > longestLameDuck {
		return usagef("--lame-duck must be from 0 to %v", longestLameDuck)
	}
	if err := s.checkEvents(); err != nil {
		return err
	}
	return s.checkUpstream()
}

// checkUpstream refuses contradictions about where Tally is.
func (s serveCmd) checkUpstream() error {
	switch {
	case s.Sandbox && (s.KeyFile != "" || os.Getenv(keyVariable) != ""):
		return usagef("--sandbox needs no key: unset %s and --key-file, or leave --sandbox out", keyVariable)
	case s.Sandbox && s.TallyURL != defaultURL:
		return usagef("--sandbox and --tally-url name two Tallys: leave one out")
	case s.SandboxRate < 0:
		return usagef("--sandbox-rate must be 0 or more")
	}
	return s.checkVersion()
}

// checkAddress refuses what nobody can listen on.
func checkAddress(flag, address string) error {
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix && path != "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(address); err == nil && port != "" {
		return nil
	}
	return usagef("%s must be HOST:PORT or unix:PATH, not %q", flag, address)
}

// prepare makes the server.
func (s serveCmd) prepare(up *upstream, c console, log *slog.Logger) error {
	config := service.DefaultConfig()
	config.DefaultDeadline, config.LameDuck, config.Log = s.DefaultDeadline, s.lameDuck(), log
	config.MaxInFlight, config.MaxWatches = s.MaxInFlight, s.MaxWatches
	up.seen.apply(&config)
	if err := s.authorize(&config, up, c, log); err != nil {
		return err
	}
	if s.TLSCert != "" {
		files := service.TLSFiles{
			Cert: s.TLSCert, Key: s.TLSKey, ClientCA: s.TLSClientCA, Log: log,
			Optional: up.policy != nil && up.policy.Current().ProvesWithoutCertificate(),
		}
		var err error
		if config.Credentials, err = files.Credentials(); err != nil {
			return usageError{err}
		}
	}
	if up.events != nil {
		up.events.ledger = service.NewLedger(up.events.store, func() string { return up.keeper.Current().Alias() }, s.NATSURL == "", log)
		config.Ledger = up.events.ledger
	}
	config.Reflection = s.Reflection == "on" || (s.Reflection == "auto" && (s.Sandbox || service.IsLocal(s.Listen)))
	up.server = service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, up.client, service.HandlerConfig{Drift: up.drift, AllowPrivateWebhooks: s.Sandbox, Quota: up.quota, Events: up.events.streams()})
	})
	showInFlight(up.metrics, up.server.InFlight)
	if up.events != nil {
		up.live.Store(up.server)
		up.showEvents()
		showWatches(up.metrics, up.server.Watches)
	}
	return nil
}

// authorize puts the policy and the audit trail in force.
func (s serveCmd) authorize(config *service.Config, up *upstream, c console, log *slog.Logger) error {
	if s.hasPolicy() {
		var err error
		if up.policy, err = policy.Open(s.Policy, prover(log), log, up.seen.read); err != nil {
			return usagef("--policy: %w", err)
		}
		config.Authority = &service.Authority{
			Policy: up.policy.Current, Places: policy.NewPlaces(service.NewFinder(up.client)), Decided: up.seen.decided,
		}
		config.Audit = log.With(slog.Bool("audit", true))
	}
	if s.AuditLog == "" {
		return nil
	}
	sink, err := s.auditSink(c)
	if err != nil {
		return usagef("--audit-log: %w", err)
	}
	config.Audit = service.NewAuditLog(sink, up.seen.lost)
	return nil
}

// hasPolicy tells a policy file from the open word that there is none.
func (s serveCmd) hasPolicy() bool { return s.Policy != "" && s.Policy != allowAll }

func (s serveCmd) auditSink(c console) (io.Writer, error) {
	switch s.AuditLog {
	case "stderr":
		return c.err, nil
	case "stdout":
		return c.out, nil
	default:
		return service.OpenAuditFile(s.AuditLog)
	}
}

// lameDuck returns how long calls are taken while proxies learn that this process stops. A port of this machine alone has none.
func (s serveCmd) lameDuck() time.Duration {
	switch {
	case s.LameDuck != nil:
		return *s.LameDuck
	case service.IsLocal(s.Listen):
		return 0
	default:
		return usualLameDuck
	}
}

// grpcurlFlags are what a first call needs. The certificate of a trial is rarely for the address that it is tried at.
func (s serveCmd) grpcurlFlags() string {
	switch {
	case s.TLSCert == "":
		return "-plaintext"
	case s.TLSClientCA == "":
		return "-insecure"
	default:
		return "-insecure -cert FILE -key FILE"
	}
}

// announce prints the address in use and, with the sandbox, a line to try it.
func (s serveCmd) announce(c console, at net.Addr) {
	address := at.String()
	if at.Network() == "unix" {
		address = "unix:" + address
	}
	_, _ = fmt.Fprintf(c.out, "tallyd is ready at %s\n", address)
	if s.Sandbox {
		_, _ = fmt.Fprintf(c.out, "try: grpcurl %s %s tallyd.v1.FormService/ListForms\n", s.grpcurlFlags(), address)
	}
}
