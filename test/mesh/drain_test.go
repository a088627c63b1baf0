package mesh

import (
	"math/rand/v2"
	"net/http"
	"regexp"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// learning is when a balancer learns that a replica goes.
type learning int

const (
	// before the replica is told to stop.
	before learning = iota
	// from the replica's health.
	fromHealth
	// not at all: the next replica comes at the same place.
	never
)

// TestRollingRestarts restarts the replicas one after the other while callers read and write: every call ends well, and each write
// reaches Tally once.
func TestRollingRestarts(t *testing.T) {
	tests := []struct {
		name    string
		learns  learning
		through func(t *testing.T, replicas []*process) balancer
		args    []string
	}{
		{name: "client is told before", learns: before, through: throughClient},
		{name: "client learns from health", learns: fromHealth, through: throughClient},
		{name: "client is not told", learns: never, through: throughClient},
		{name: "proxy is told before", learns: before, through: throughProxy},
		{name: "proxy learns from health", learns: fromHealth, through: throughProxy},
		{name: "proxy is not told", learns: never, through: throughProxy},
		// It never asks for health, and has no word of its own for "not processed": what it sends until it is told must be served.
		{name: "nginx is told when health says no", learns: fromHealth, through: throughNginx, args: []string{"--lame-duck", "1s"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tally := newTally(t, slowly)
			replicas := []*process{serve(t, tally, test.args...), serve(t, tally, test.args...)}
			balancer := test.through(t, replicas)
			callers := startLoad(t, 8, balancer.conn())
			for n := range *restarts {
				restart(t, tally, balancer, replicas, n%len(replicas), test.learns, test.args)
			}
			callers.check(t, tally, *restarts)
		})
	}
}

// slowly answers after a moment, as Tally does, so that there are always calls under way.
func slowly(w http.ResponseWriter, r *http.Request, body string) {
	<-time.After(time.Duration(rand.N(20)) * time.Millisecond)
	anything(w, r, body)
}

// busy is a replica that has answered enough calls to be in everybody's use.
var busy = regexp.MustCompile(`(?s)(finished call.*){10}`)

// restart replaces one replica as a rolling restart does, and waits until the new one has its share of the load.
func restart(t *testing.T, tally *fakeTally, b balancer, replicas []*process, which int, learns learning, args []string) {
	t.Helper()
	old := replicas[which]
	if learns == never {
		old.terminate(t)
		replicas[which] = serve(t, tally, append(args, "--listen", old.address)...)
	} else {
		replicas[which] = serve(t, tally, args...)
		if learns == before {
			b.use(t, replicas)
		}
		health := watch(t, old)
		old.signal(t, syscall.SIGTERM)
		health(healthpb.HealthCheckResponse_NOT_SERVING)
		if learns == fromHealth {
			b.use(t, replicas)
		}
		old.ended(t)
	}
	replicas[which].await(t, busy)
}

// watch opens a health watch of a replica and returns what waits until that says a status, or ends.
func watch(t *testing.T, replica *process) func(healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	conn := dial(t, replica.address)
	stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	wait := func(want healthpb.HealthCheckResponse_ServingStatus) {
		for {
			if last, err := stream.Recv(); err != nil || last.GetStatus() == want {
				return
			}
		}
	}
	wait(healthpb.HealthCheckResponse_SERVING)
	return func(want healthpb.HealthCheckResponse_ServingStatus) {
		wait(want)
		conn.Close()
	}
}

// balancer is how callers find the replicas.
type balancer interface {
	// use makes the replicas known in place of those before.
	use(t *testing.T, replicas []*process)
	// conn is what callers call through.
	conn() *grpc.ClientConn
}

// resolved is a client that takes the replicas in turn, itself or as a part of a proxy.
type resolved struct {
	*manual.Resolver

	entry *grpc.ClientConn
}

// impatient tries a replica again sooner than a plain client would; the proxies of meshes do.
var impatient = grpc.ConnectParams{
	Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1, MaxDelay: 20 * time.Millisecond},
	// Whoever takes a connection may take its time with it.
	MinConnectTimeout: patience,
}

func newResolved(t *testing.T, replicas []*process) *resolved {
	t.Helper()
	r := &resolved{Resolver: manual.NewBuilderWithScheme("mesh")}
	r.InitialState(stateOf(replicas))
	r.entry = dial(t, "mesh:///tallyd", grpc.WithResolvers(r.Resolver), grpc.WithConnectParams(impatient),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	return r
}

func stateOf(replicas []*process) (state resolver.State) {
	for _, p := range replicas {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p.address}}})
	}
	return state
}

func (r *resolved) use(_ *testing.T, replicas []*process) { r.UpdateState(stateOf(replicas)) }

func (r *resolved) conn() *grpc.ClientConn { return r.entry }

func throughClient(t *testing.T, replicas []*process) balancer { return newResolved(t, replicas) }

func throughProxy(t *testing.T, replicas []*process) balancer {
	r := newResolved(t, replicas)
	r.entry = dial(t, newProxy(t, r.entry).address)
	return r
}

func throughNginx(t *testing.T, replicas []*process) balancer {
	n := newNginx(t, "", replicas...)
	n.entry = dial(t, n.address, grpc.WithConnectParams(impatient))
	return n
}
