package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	otelstats "google.golang.org/grpc/stats/opentelemetry"
	"google.golang.org/protobuf/proto"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/cache"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/policy/identity"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/statuspage"
	"github.com/tallyd/tallyd/service/tally"
)

// Names of the servers whose chains are compared, as the report prints them.
const (
	nameHidden  = "tallyd's chain, a caller from whom something is hidden"
	nameShown   = "tallyd's chain, a caller who sees all of its form"
	nameWatched = "grpc-go, same stats handler and log line"
	nameBare    = "grpc-go, bare"
)

// sampledShare is the part of the calls that is traced.
const sampledShare = 0.01

// forget takes spans and log lines and keeps none.
type forget struct{}

func (forget) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (forget) Shutdown(context.Context) error                             { return nil }
func (forget) Write(p []byte) (int, error)                                { return len(p), nil }

func meter() *sdkmetric.MeterProvider {
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
}

func tracer() *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(forget{}), sdktrace.WithSampler(sdktrace.TraceIDRatioBased(sampledShare)))
}

// fixed answers every call with the same form, encoded as the REST side hands it on.
type fixed struct{ wire []byte }

func newFixed() (fixed, error) {
	form, err := formByHand(singleForm())
	if err != nil {
		return fixed{}, err
	}
	wire, err := proto.Marshal(form)
	return fixed{wire}, err
}

func (f fixed) Call(_ context.Context, _, resp proto.Message, _ ...tally.Option) error {
	resp.ProtoReflect().SetUnknown(f.wire)
	return nil
}

func (fixed) Check(proto.Message) error { return nil }

// crowd is a policy of 200 callers and 2,000 forms. The last two have the form that is asked for; one of them sees all of it.
func crowd() string {
	var b strings.Builder
	b.WriteString("identify: [xfcc: {}]\ncallers:\n")
	for i := range 198 {
		var forms []string
		for j := range 10 {
			forms = append(forms, fmt.Sprintf("form%d", i*10+j))
		}
		fmt.Fprintf(&b, "- name: c%d\n  identities: ['spiffe://p/ns/n%d/sa/s']\n  allow: [{methods: [read], forms: [%s]}]\n", i, i, strings.Join(forms, ","))
	}
	b.WriteString("- name: hidden\n  identities: ['spiffe://p/hidden']\n  allow: [{methods: [read], forms: [f1]}]\n")
	b.WriteString("- name: shown\n  identities: ['spiffe://p/shown']\n  allow: [{methods: [read], workspaces: ['*'], organizations: ['*']}]\n" +
		"  reveal: [password, signing_secret, http_headers, file_links]\n")
	return b.String()
}

type resolver struct{ *identity.Resolver }

func (r resolver) Resolve(ctx context.Context) (policy.Identity, error) {
	who, err := r.Resolver.Resolve(ctx)
	return policy.Identity(who), err
}

// remembering is a client whose Tally is in this process and hardly ever asked: what it said last is handed out again, as in the
// program, for as long as the contract says.
func remembering() (*tally.Client, error) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(singleForm()) }))
	base, err := url.Parse(upstream.URL)
	if err != nil {
		return nil, err
	}
	contract, err := tally.NewContract(tallydv1.File_tallyd_v1_form_service_proto)
	if err != nil {
		return nil, err
	}
	k, err := apikey.ParseKey("tly-bench")
	if err != nil {
		return nil, err
	}
	return tally.New(contract, tally.Config{
		URL: base, Version: "2026-08-04", UserAgent: "bench", Keys: key{k}, Limits: tally.DefaultLimits(),
		Cache: cache.New(64 << 20), Quota: quota.New(quota.Config{Rate: 100, Unused: true}),
	}), nil
}

// serveChain is all of tallyd, with answers from memory.
func serveChain(listener net.Listener) error {
	answers, err := remembering()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tallyd-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(file, []byte(crowd()), 0o600); err != nil {
		return err
	}
	prove := func([]*configv1.IdentitySource) (policy.Resolver, error) {
		return resolver{identity.New(identity.XFCC(identity.DefaultPeers()))}, nil
	}
	keeper, err := policy.Open(file, prove, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	config := service.DefaultConfig()
	config.Log = slog.New(slog.NewJSONHandler(forget{}, nil))
	config.Meter, config.Tracer, config.Observe = meter(), tracer(), statuspage.NewRecorder().Observe
	config.Authority = &service.Authority{Policy: keeper.Current, Places: policy.NewPlaces(service.NewFinder(answers))}
	return service.NewServer(config, func(to grpc.ServiceRegistrar) {
		service.Register(to, answers, service.HandlerConfig{})
	}).Serve(listener)
}

// plainForms is a handler as a generated server has it.
type plainForms struct {
	tallydv1.UnimplementedFormServiceServer

	form *tallydv1.GetFormResponse
}

func (p plainForms) GetForm(context.Context, *tallydv1.GetFormRequest) (*tallydv1.GetFormResponse, error) {
	return p.form, nil
}

func servePlain(listener net.Listener, options ...grpc.ServerOption) error {
	answers, err := newFixed()
	if err != nil {
		return err
	}
	forms := plainForms{form: &tallydv1.GetFormResponse{}}
	if err := proto.Unmarshal(answers.wire, forms.form); err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	tallydv1.RegisterFormServiceServer(server, forms)
	return server.Serve(listener)
}

func serveBare(listener net.Listener) error { return servePlain(listener) }

// serveWatched has grpc's own metrics and traces, and the middleware's log line.
func serveWatched(listener net.Listener) error {
	log := slog.New(slog.NewJSONHandler(forget{}, nil))
	line := logging.LoggerFunc(func(ctx context.Context, level logging.Level, _ string, fields ...any) {
		log.Log(ctx, slog.Level(level), "finished call", fields...)
	})
	stats := otelstats.Options{MetricsOptions: otelstats.MetricsOptions{MeterProvider: meter()}}
	stats.TraceOptions.TracerProvider, stats.TraceOptions.TextMapPropagator = tracer(), propagation.TraceContext{}
	return servePlain(listener, otelstats.ServerOption(stats),
		grpc.ChainUnaryInterceptor(logging.UnaryServerInterceptor(line, logging.WithLogOnEvents(logging.FinishCall))))
}

// TestChainSideBySide compares what tallyd's chain costs (identity, policy, metrics, traces of one call in a hundred, log line) with a
// server of grpc-go that has the same stats handler and log line, and with a bare one. Without rounds it proves that it works.
func TestChainSideBySide(t *testing.T) {
	chain := start(t, self(t, "chain"))
	candidates := []candidate{
		overChain(t, nameHidden, chain, "spiffe://p/hidden"), overChain(t, nameShown, chain, "spiffe://p/shown"),
		overChain(t, nameWatched, start(t, self(t, "watched")), "spiffe://p/hidden"), overChain(t, nameBare, start(t, self(t, "bare")), "spiffe://p/hidden"),
	}
	p := paceFor(*rounds)
	r := report{wanted: p.rounds, candidates: candidates}
	for range p.rounds {
		turn := round{lanes: map[lane]sample{}}
		for _, i := range rand.Perm(len(candidates)) {
			s, err := measure(t.Context(), candidates[i].form, candidates[i].between, p)
			if err != nil {
				t.Fatalf("%s: %v", candidates[i].name, err)
			}
			turn.lanes[lane{candidates[i].name, "form"}] = s
		}
		r.rounds = append(r.rounds, turn)
	}
	r.kept = r.rounds
	output := io.Discard
	if *rounds > 0 {
		output = os.Stdout
	}
	r.writeChain(t, output)
}

// overChain is a caller whose sidecar says who it is.
func overChain(t *testing.T, name string, server *process, who string) candidate {
	t.Helper()
	conn, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	forms := tallydv1.NewFormServiceClient(conn)
	md := metadata.Pairs("x-forwarded-client-cert", "By=spiffe://p/tallyd;Hash=00ff;Subject=\"CN=x\";URI="+who)
	return candidate{name: name, between: server, form: func(ctx context.Context) (any, error) {
		return forms.GetForm(metadata.NewOutgoingContext(ctx, md), &tallydv1.GetFormRequest{FormId: "f1"})
	}}
}

// writeChain writes each server's figures, and their ratios over the paired rounds.
func (r report) writeChain(t *testing.T, w io.Writer) {
	t.Helper()
	fmt.Fprintf(w, "%s\n\n%d rounds.\n", machine(), len(r.kept))
	r.writeLanes(w, "form")
	fmt.Fprint(w, "\n| against | figure | ratio | 95 % interval |\n|---|---|---|---|\n")
	between := func(s sample) float64 { return s.between }
	for _, own := range []string{nameHidden, nameShown} {
		for _, peer := range []string{nameWatched, nameBare} {
			for _, figure := range []struct {
				name string
				of   func(sample) float64
			}{{"p50", p50}, {"CPU", between}} {
				e := overRounds(paired(r.values(own, "form", figure.of), r.values(peer, "form", figure.of), ratio))
				if e.mid <= 0 {
					t.Errorf("%s to %s, %s: %+v, want a ratio", own, peer, figure.name, e)
				}
				fmt.Fprintf(w, "| %s / %s | %s | %.2f | %.2f to %.2f |\n", own, peer, figure.name, e.mid, e.low, e.high)
			}
		}
	}
}
