package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/sandbox"
	"github.com/tallyd/tallyd/service/tally"
)

// saysWho is a resolver for tests: callers say in x-test-caller who they are.
type saysWho struct{}

func (saysWho) Close() {}

func (saysWho) Resolve(ctx context.Context) (policy.Identity, error) {
	if who := metadata.ValueFromIncomingContext(ctx, "x-test-caller"); len(who) == 1 {
		return policy.Identity{Name: "dns:" + who[0], Source: "test"}, nil
	}
	return policy.Identity{}, errors.New("the call says not who it is")
}

// guarded is the whole chain under a policy, in front of the seeded sandbox, which counts what it is asked.
type guarded struct {
	*world

	sandbox *sandbox.Sandbox
	audit   *lockedBuffer
	file    string
	inForce atomic.Pointer[policy.InForce]
	paths   *lockedBuffer
	failing atomic.Int32                  // the status of every answer; 0 for the sandbox's own
	answers sync.Map                      // by METHOD /PATH, what is answered in place of the sandbox
	held    atomic.Pointer[chan struct{}] // every answer waits until it is closed; nil for none
}

func newGuarded(t testing.TB, rules string, change ...func(*tally.Config)) *guarded {
	t.Helper()
	return newGuardedWith(t, rules, func(*guarded, *tally.Client) {}, change...)
}

// newGuardedWith is a world of which prepare adds to what the handlers have, before anything is served.
func newGuardedWith(t testing.TB, rules string, prepare func(*guarded, *tally.Client), change ...func(*tally.Config)) *guarded {
	t.Helper()
	box, err := sandbox.New(sandbox.WithKey("tly-0123456789abcdefghijABCDEFGHIJ01"), sandbox.WithRate(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	g := &guarded{world: &world{log: &lockedBuffer{}}, sandbox: box, audit: &lockedBuffer{}, paths: &lockedBuffer{}}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = g.paths.Write([]byte(r.Method + " " + r.URL.RequestURI() + "\n"))
		if held := g.held.Load(); held != nil {
			<-*held
		}
		if code := g.failing.Load(); code != 0 {
			w.WriteHeader(int(code))
			return
		}
		if text, found := g.answers.Load(r.Method + " " + r.URL.Path); found {
			_, _ = fmt.Fprint(w, text)
			return
		}
		box.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(upstream.Close)
	client := newClient(t, upstream.URL, append(change, func(c *tally.Config) { g.handlers.Quota = c.Quota })...)
	g.file = filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(g.file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	g.reread(t)
	prepare(g, client)
	g.start(t, client, func(c *service.Config) {
		c.Authority = &service.Authority{Policy: g.inForce.Load, Places: policy.NewPlaces(service.NewFinder(client))}
		c.Audit = service.NewAuditLog(g.audit, func(err error) { t.Error(err) })
	})
	g.dial(t)
	return g
}

// reread puts in force what the policy's file says.
func (g *guarded) reread(t testing.TB) {
	t.Helper()
	prove := func([]*configv1.IdentitySource) (policy.Resolver, error) { return saysWho{}, nil }
	keeper, err := policy.Open(g.file, prove, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	g.inForce.Store(keeper.Current())
}

// as returns a context in which calls are a caller's.
func as(t testing.TB, caller string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "x-test-caller", caller)
}

// requests returns how many requests Tally got so far.
func (g *guarded) requests() int { return strings.Count(g.paths.String(), "\n") }

// fail makes Tally answer everything with a status.
func (g *guarded) fail(code int32) { g.failing.Store(code) }

// infoOf returns the ErrorInfo of an error.
func infoOf(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

// reasonOf returns the reason of an error, or its code where it has none.
func reasonOf(err error) string {
	if info := infoOf(err); info != nil {
		return info.GetReason()
	}
	return status.Code(err).String()
}

// rpc is a call by a caller that a table can hold.
type rpc struct {
	method string
	req    proto.Message
}

// call makes the call.
func (r rpc) call(ctx context.Context, t testing.TB, conn grpc.ClientConnInterface) error {
	t.Helper()
	return conn.Invoke(ctx, "/tallyd.v1."+r.method, r.req, answerOf(t, r.method))
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// answerOf returns an empty answer of an RPC, given as SERVICE/METHOD.
func answerOf(t testing.TB, name string) proto.Message {
	t.Helper()
	full := protoreflect.FullName("tallyd.v1." + strings.ReplaceAll(name, "/", "."))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(full)
	if err != nil {
		t.Fatal(err)
	}
	method, _ := found.(protoreflect.MethodDescriptor)
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}
