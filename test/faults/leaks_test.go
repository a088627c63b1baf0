package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// handling are the calls that carry secrets, one way or the other.
func handling(s secrets) map[string]func(context.Context, *grpc.ClientConn, ...grpc.CallOption) (proto.Message, error) {
	headers := &tallydv1.HttpHeaders{Headers: []*tallydv1.HttpHeader{{Name: "X-Token", Value: "Bearer " + s.ourHeader}}}
	return map[string]func(context.Context, *grpc.ClientConn, ...grpc.CallOption) (proto.Message, error){
		"CreateWebhook": func(ctx context.Context, conn *grpc.ClientConn, o ...grpc.CallOption) (proto.Message, error) {
			return tallydv1.NewWebhookServiceClient(conn).CreateWebhook(ctx, &tallydv1.CreateWebhookRequest{
				FormId: "f1", Url: "https://hooks.example.com/a", SigningSecret: &s.ourSigning, HttpHeaders: headers,
			}, o...)
		},
		"UpdateWebhook": func(ctx context.Context, conn *grpc.ClientConn, o ...grpc.CallOption) (proto.Message, error) {
			return tallydv1.NewWebhookServiceClient(conn).UpdateWebhook(ctx, &tallydv1.UpdateWebhookRequest{
				WebhookId: "wh1", SigningSecret: &s.ourSigning,
			}, o...)
		},
		"UpdateForm": func(ctx context.Context, conn *grpc.ClientConn, o ...grpc.CallOption) (proto.Message, error) {
			return tallydv1.NewFormServiceClient(conn).UpdateForm(ctx, &tallydv1.UpdateFormRequest{
				FormId: "f1", Settings: &tallydv1.FormSettings{Password: &s.ourPassword},
			}, o...)
		},
		"UpdateForm of another setting": func(ctx context.Context, conn *grpc.ClientConn, o ...grpc.CallOption) (proto.Message, error) {
			return tallydv1.NewFormServiceClient(conn).UpdateForm(ctx, &tallydv1.UpdateFormRequest{
				FormId: "f1", Settings: &tallydv1.FormSettings{IsClosed: new(true)},
			}, o...)
		},
		"ListSubmissions": func(ctx context.Context, conn *grpc.ClientConn, o ...grpc.CallOption) (proto.Message, error) {
			return tallydv1.NewSubmissionServiceClient(conn).ListSubmissions(ctx, &tallydv1.ListSubmissionsRequest{FormId: "f1"}, o...)
		},
		"ListWebhookEvents": func(ctx context.Context, conn *grpc.ClientConn, o ...grpc.CallOption) (proto.Message, error) {
			return tallydv1.NewWebhookServiceClient(conn).ListWebhookEvents(ctx, &tallydv1.ListWebhookEventsRequest{WebhookId: "wh1"}, o...)
		},
	}
}

// TestSecretsStayInside covers invariant I1 and row 63: whatever Tally answers, at whatever level and in whatever form the log is
// written, no output of the process and no error has a part of a secret. Only the answers themselves may.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, format string
		secure       bool
		env          []string
		wantDebug    string
	}{
		{name: "log in JSON", format: "json"},
		{name: "log in text", format: "text"},
		{
			name: "all that can be switched on", format: "json", secure: true, wantDebug: "http2: Transport",
			env: []string{"GODEBUG=http2debug=2", "GRPC_GO_LOG_SEVERITY_LEVEL=info", "GRPC_GO_LOG_VERBOSITY_LEVEL=99", "GRPC_BINARY_LOG_FILTER=*"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := &liar{secrets: newSecrets()}
			tally, env := startLiar(t, l, test.secure)
			key := write(t, []byte(l.key), 0o600)
			p := serve(t, append(env, test.env...), "--tally-url", tally.URL, "--key-file", key, "--log-format", test.format)
			answers := tempt(t, p, l, lies(false, test.secure)) + tempt(t, p, l, lies(true, test.secure))
			l.wantAllIn(t, "what travelled", answers+fmt.Sprint(tally.seen()))
			searchOutputs(t, p, l.secrets)
			if !strings.Contains(p.output.String(), test.wantDebug) {
				t.Errorf("the output lacks %q, so that nothing was switched on", test.wantDebug)
			}
		})
	}
}

// searchOutputs looks for secrets wherever a process shows something of itself, and ends it.
func searchOutputs(t *testing.T, p *process, s secrets) {
	t.Helper()
	for _, path := range []string{"/metrics", "/livez", "/readyz"} {
		_, body := get(t, p.admin+path)
		s.wantNoneIn(t, path, body)
	}
	s.wantNoneIn(t, "the command line", p.file(t, "cmdline"))
	s.wantNoneIn(t, "the environment", p.file(t, "environ"))
	p.signal(t, syscall.SIGTERM)
	p.code(t)
	s.wantNoneIn(t, "the output", p.output.String())
}

// startLiar starts a Tally and returns what tallyd needs in its environment to trust it.
func startLiar(t *testing.T, l *liar, secure bool) (*fakeTally, []string) {
	t.Helper()
	if !secure {
		return newTally(t, l.ServeHTTP), nil
	}
	tally, trust := newSecureTally(t, l.ServeHTTP)
	return tally, []string{trust}
}

// isAnswer tells a lie that is an answer of Tally's all the same.
func isAnswer(l *lie) bool { return l.name == "404 in JSON" }

// tempt makes every call with an honest Tally and under each lie, and returns the honest answers.
func tempt(t *testing.T, p *process, l *liar, lies []*lie) string {
	t.Helper()
	conn := p.dial(t)
	var answers strings.Builder
	for name, call := range handling(l.secrets) {
		l.lie.Store(nil)
		answer, err := call(t.Context(), conn)
		if err != nil {
			t.Errorf("%s with an honest Tally = %v, want nil", name, err)
		}
		answers.WriteString(prototext.Format(answer))
		for _, lie := range lies {
			// An answer between the failures keeps the breaker closed. It is a lie as well: see liar_test.go on stray answers.
			l.lie.Store(lies[slices.IndexFunc(lies, isAnswer)])
			_, _ = call(t.Context(), conn)
			l.lie.Store(lie)
			var header, trailer metadata.MD
			_, err := call(t.Context(), conn, grpc.Header(&header), grpc.Trailer(&trailer))
			s := status.Convert(err)
			heard := fmt.Sprintf("%s\n%s\n%v\n%v\n%v", s.Message(), encode(t, s.Proto()), s.Details(), header, trailer)
			l.wantNoneIn(t, fmt.Sprintf("the end of %s after %q", name, lie.name), heard)
		}
	}
	for _, lie := range lies {
		if lie.told.Load() == 0 {
			t.Errorf("the lie %q was never told", lie.name)
		}
	}
	return answers.String()
}
