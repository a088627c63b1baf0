package service

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // callers may compress, and answers to those are compressed
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/tallyd/tallyd/service/statuspage"
)

// HealthTally is the health service name that follows the state of the key; the empty name and the services' own do not.
const HealthTally = "tally"

// HealthEvents is the health service name that says whether the log of events can be used; unknown where none is kept.
const HealthEvents = "events"

// Config is what a Server needs. DefaultConfig returns what production uses.
type Config struct {
	// DefaultDeadline is for calls that bring none.
	DefaultDeadline time.Duration
	// MaxInFlight is how many calls of the contract's methods may be under way at once, streams among them but for watches.
	MaxInFlight int
	// MaxWatches is how many watches may be open at once.
	MaxWatches int
	// MaxConnectionAge ends connections, so that clients spread over new replicas; gRPC adds 10 % of jitter.
	MaxConnectionAge time.Duration
	// LameDuck is how long calls are still taken when the server stops and its health says no already: balancers and proxies learn
	// of it late, and what they send until then must not be lost.
	LameDuck time.Duration
	// Drain bounds how long stopping may take, LameDuck and the calls under way included.
	Drain time.Duration
	// Reflection serves the contract with its comments.
	Reflection bool
	// Credentials prove the server and check its callers; nil for neither.
	Credentials credentials.TransportCredentials
	// Authority decides who may do what; nil lets whoever reaches the port do all.
	Authority *Authority
	// Ledger remembers writes by their request ids; nil refuses such ids.
	Ledger *Ledger
	// Audit gets a record of each write and each denial; nil for none.
	Audit *slog.Logger
	// Check validates requests.
	Check protovalidate.Validator
	// Log gets one line per call.
	Log *slog.Logger
	// Meter takes gRPC's own metrics of calls; nil for none.
	Meter metric.MeterProvider
	// Tracer takes a span of each call; nil for none.
	Tracer trace.TracerProvider
	// Observe is told of each finished call; it must be quick. May be nil.
	Observe func(statuspage.Call)
}

// DefaultConfig returns the configuration that production uses.
func DefaultConfig() Config {
	return Config{
		DefaultDeadline:  30 * time.Second,
		MaxInFlight:      4096,
		MaxWatches:       20000,
		MaxConnectionAge: 30 * time.Minute,
		Drain:            25 * time.Second,
		Check:            protovalidate.GlobalValidator, // one for the process: each remembers its own rules
		Log:              slog.New(slog.DiscardHandler),
	}
}

const (
	maxStreams      = 1000
	maxRequestBytes = 4 << 20
	maxAnswerBytes  = 4 << 20
	// maxHeaderList bounds a caller's metadata; grpc-go alone would accept 16 MiB.
	maxHeaderList    = 16 << 10
	handshakeTimeout = 10 * time.Second
	minPing          = 10 * time.Second
)

// Server is the gRPC server with its health.
type Server struct {
	config  Config
	grpc    *grpc.Server
	health  *health.Server
	spans   *spans // nil for none
	gate    *gate
	streams streams

	mu    sync.Mutex
	ready bool
}

// NewServer returns a server with the services that register registers.
func NewServer(config Config, register func(grpc.ServiceRegistrar)) *Server {
	s := &Server{config: config, health: health.NewServer()}
	s.gate = newGate(config)
	creds := config.Credentials
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	s.grpc = grpc.NewServer(
		grpc.Creds(creds),
		grpc.ForceServerCodecV2(newSharingCodec()),
		s.unaryChain(),
		grpc.ChainStreamInterceptor(s.serveStream),
		s.callMetrics(),
		s.callSpans(),
		grpc.StatsHandler(connAge{greatest: config.MaxConnectionAge}),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxSendMsgSize(maxAnswerBytes),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: config.MaxConnectionAge, MaxConnectionAgeGrace: config.Drain,
			// A peer that died silently is noticed within these two.
			Time: time.Minute, Timeout: 20 * time.Second,
		}),
	)
	register(s.grpc)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.spans.learn(s.grpc.GetServiceInfo())
	s.setAll(healthpb.HealthCheckResponse_NOT_SERVING)
	s.SetTally(healthpb.HealthCheckResponse_UNKNOWN)
	if config.Reflection {
		RegisterReflection(s.grpc)
	}
	return s
}

// Serve answers calls on listener until Shutdown. It returns the error of the listener.
func (s *Server) Serve(listener net.Listener) error {
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	s.setAll(healthpb.HealthCheckResponse_SERVING)
	if err := s.grpc.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Ready reports whether this process can answer calls: it serves and is not stopping.
func (s *Server) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// Watches returns how many watches are open.
func (s *Server) Watches() int64 { return s.gate.watches.Load() }

// InFlight returns how many calls of the contract's methods are under way, watches aside.
func (s *Server) InFlight() int64 { return s.gate.inFlight.Load() }

// SetTally says whether Tally takes the key: SERVING, NOT_SERVING, or UNKNOWN before it was asked. It changes the health name
// "tally" alone: a dead key must not remove every endpoint.
func (s *Server) SetTally(status healthpb.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus(HealthTally, status)
}

// SetEvents says whether the log of events can be used, with the health name "events". Other calls do not need it.
func (s *Server) SetEvents(status healthpb.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus(HealthEvents, status)
}

// Shutdown stops in the order in which nobody is surprised: health says no while calls are taken for another LameDuck, GOAWAY tells
// clients to go elsewhere, streams that would never end are ended, calls under way get the rest of Drain to finish, and what is left
// is cut.
func (s *Server) Shutdown() {
	s.mu.Lock()
	s.ready = false
	s.mu.Unlock()
	s.health.Shutdown()
	limit := time.NewTimer(s.config.Drain)
	defer limit.Stop()
	// A listener that closes resets the connections that nobody took from it yet, and their proxies cannot tell a call that was on
	// one from a call that was carried out.
	<-time.After(min(s.config.LameDuck, s.config.Drain))
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	s.streams.end()
	select {
	case <-drained:
	case <-limit.C:
		s.config.Log.Warn("calls cut at shutdown", slog.Duration("after", s.config.Drain))
		s.grpc.Stop()
		<-drained
	}
}

// setAll sets the health of the process and of each service.
func (s *Server) setAll(status healthpb.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", status)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, status)
	}
}
