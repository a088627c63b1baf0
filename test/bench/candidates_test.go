package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// Names of the candidates, as the report prints them.
const (
	nameDirect  = "direct: net/http + encoding/json"
	nameTallyd  = "tallyd"
	nameProxy   = "Go ReverseProxy"
	nameNode    = "Node wrapper"
	nameAdapter = "naive Go gRPC adapter"
)

// call fetches one thing and returns it decoded: a *formJSON or *pageJSON, or the contract's response.
type call func(context.Context) (any, error)

// candidate is one way to a form and to a page of submissions.
type candidate struct {
	name       string
	between    *process // what stands between the caller and the upstream; nil for nothing
	form, page call
}

// operation is what a candidate is asked for.
type operation struct {
	name string
	of   func(candidate) call
}

func operations() []operation {
	return []operation{
		{"form", func(c candidate) call { return c.form }},
		{"page", func(c candidate) call { return c.page }},
	}
}

// field is all that takes part: the servers, and the ways to call them.
type field struct {
	tallyd     string // path of the program
	upstream   string // address, with scheme
	candidates []candidate
	control    *echo
	processes  []*process    // all that run beside us
	patience   time.Duration // what is left of it
}

func newField(t *testing.T) *field {
	t.Helper()
	f := &field{tallyd: build(t)}
	f.upstream = "http://" + f.start(t, self(t, "upstream")).address
	f.control = newEcho(t, f.start(t, self(t, "echo")).address)
	toUpstream := upstreamVariable + "=" + f.upstream
	f.candidates = []candidate{
		rest(nameDirect, f.upstream, nil),
		overGRPC(t, nameTallyd, f.start(t, tallyd(t, f.tallyd, f.upstream))),
		behind(nameProxy, f.start(t, self(t, "proxy", toUpstream))),
		overGRPC(t, nameAdapter, f.start(t, self(t, "adapter", toUpstream))),
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Logf("no %s: node is not installed", nameNode)
		return f
	}
	command := exec.CommandContext(t.Context(), node, "testdata/wrapper.mjs")
	command.Env = append(os.Environ(), toUpstream)
	f.candidates = append(f.candidates, behind(nameNode, f.start(t, command)))
	return f
}

func (f *field) start(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := start(t, command)
	f.processes = append(f.processes, p)
	return p
}

// behind is a caller of something that speaks the upstream's own language.
func behind(name string, between *process) candidate {
	return rest(name, "http://"+between.address, between)
}

// rest is a caller that keeps all its connections and decodes into structs.
func rest(name, base string, between *process) candidate {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true}}
	return candidate{
		name: name, between: between,
		form: func(ctx context.Context) (any, error) { return fetch[formJSON](ctx, client, base+"/forms/f1") },
		page: func(ctx context.Context) (any, error) {
			return fetch[pageJSON](ctx, client, base+"/forms/f1/submissions?limit=100")
		},
	}
}

func fetch[T any](ctx context.Context, client *http.Client, address string) (*T, error) {
	body, err := fetchBytes(ctx, client, address)
	if err != nil {
		return nil, err
	}
	out := new(T)
	return out, json.Unmarshal(body, out)
}

// fetchBytes reads an answer into a buffer of its size, which is what a careful client does.
func fetchBytes(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
		return nil, fmt.Errorf("GET %s: %s, %d bytes", address, resp.Status, resp.ContentLength)
	}
	body := make([]byte, resp.ContentLength)
	_, err = io.ReadFull(resp.Body, body)
	return body, err
}

// anew asks for an answer that nobody else asked for: what is compared is the way to the upstream and back.
func anew(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "cache-control", "no-cache")
}

// overGRPC is a caller with a generated client, on one connection.
func overGRPC(t *testing.T, name string, between *process) candidate {
	t.Helper()
	conn, err := grpc.NewClient(between.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	forms, submissions := tallydv1.NewFormServiceClient(conn), tallydv1.NewSubmissionServiceClient(conn)
	return candidate{
		name: name, between: between,
		form: func(ctx context.Context) (any, error) {
			return forms.GetForm(anew(ctx), &tallydv1.GetFormRequest{FormId: "f1"})
		},
		page: func(ctx context.Context) (any, error) {
			return submissions.ListSubmissions(anew(ctx), &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 100})
		},
	}
}
