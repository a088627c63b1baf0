package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestShippedFilesAreTheContracts holds that what lies in deploy/ is what the contract says today.
func TestShippedFilesAreTheContracts(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"istio", "linkerd"} {
		if err := os.MkdirAll(filepath.Join(dir, "kubernetes", folder), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"grpc-service-config.json", "kubernetes/istio/routes.yaml", "kubernetes/linkerd/routes.yaml"} {
		want, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", path))
		if err != nil || string(got) != string(want) {
			t.Errorf("deploy/%s is not what the contract says: run make generate (%v)", path, err)
		}
	}
}

// TestEveryMethodHasItsPlace holds that each RPC stands in the service config once, that what creates is never repeated, and that no
// mesh repeats a write.
func TestEveryMethodHasItsPlace(t *testing.T) {
	text, err := serviceConfig()
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		MethodConfig []methodConfig `json:"methodConfig"`
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, group := range config.MethodConfig {
		for _, name := range group.Name {
			seen["/"+name.Service+"/"+name.Method]++
			if strings.HasPrefix(name.Method, "Create") && group.RetryPolicy != nil {
				t.Errorf("%s is repeated", name.Method)
			}
		}
		if group.RetryPolicy != nil && !slices.Equal(group.RetryPolicy.RetryableStatusCodes, []string{"UNAVAILABLE"}) {
			t.Errorf("%v are repeated, want UNAVAILABLE alone", group.RetryPolicy.RetryableStatusCodes)
		}
	}
	all := methods(reads, repeatable, creates)
	if len(seen) != len(all) || len(all) < 38 {
		t.Errorf("the service config names %d of %d methods", len(seen), len(all))
	}
	istio, _, _ := strings.Cut(istioRoutes(), "name: streams")
	linkerd, _, _ := strings.Cut(linkerdRoutes(), "tallyd-all-else")
	for _, m := range append(methods(repeatable, creates), streams()...) {
		if strings.Contains(istio, m.path()+"}") || strings.Contains(linkerd, "method: "+m.name+"}") {
			t.Errorf("a mesh repeats %s", m.path())
		}
	}
}

// TestStreamsLast holds that no stream is given a deadline or repeated: not by a client library that takes the shipped config, and by no
// mesh.
func TestStreamsLast(t *testing.T) {
	conn := dial(t, &flaky{})
	if _, err := tallydv1.NewFormServiceClient(conn).GetForm(t.Context(), &tallydv1.GetFormRequest{}); err != nil {
		t.Fatal(err) // from the first call on the config is in force
	}
	var names []string
	for _, m := range streams() {
		names = append(names, m.name)
		if config := conn.GetMethodConfig(m.path()); config.Timeout != nil || config.RetryPolicy != nil {
			t.Errorf("a client gives %s timeout %v and retries %v, want none", m.path(), config.Timeout, config.RetryPolicy)
		}
	}
	if want := []string{"ReplaySubmissionEvents", "ExportSubmissions", "WatchSubmissions"}; !slices.Equal(names, want) {
		t.Errorf("streams are %q, want %q", names, want)
	}
	if config := conn.GetMethodConfig("/tallyd.v1.FormService/GetForm"); config.Timeout == nil || config.RetryPolicy == nil {
		t.Error("the client does not know the config: a read has no timeout or no retries")
	}
	_, istio, _ := strings.Cut(istioRoutes(), "name: streams")
	istio, _, _ = strings.Cut(istio, "- name:")
	for _, m := range streams() {
		if !strings.Contains(istio, "{exact: "+m.path()+"}") {
			t.Errorf("Istio's route for streams lacks %s", m.path())
		}
	}
	if !strings.Contains(istio, "\n    retries:\n      attempts: 0\n") || strings.Contains(istioRoutes()+linkerdRoutes(), "timeout:") ||
		strings.Contains(linkerdRoutes(), "timeout.linkerd.io") {
		t.Error("a mesh ends streams or repeats them")
	}
}

// flaky answers each method with UNAVAILABLE until it has been asked often enough; a write that has left sends its headers first.
type flaky struct {
	tallydv1.UnimplementedFormServiceServer

	gets, creates atomic.Int64
}

func (f *flaky) GetForm(context.Context, *tallydv1.GetFormRequest) (*tallydv1.GetFormResponse, error) {
	if f.gets.Add(1) < 3 {
		return nil, status.Error(codes.Unavailable, "not yet")
	}
	return &tallydv1.GetFormResponse{}, nil
}

func (f *flaky) UpdateForm(ctx context.Context, _ *tallydv1.UpdateFormRequest) (*tallydv1.UpdateFormResponse, error) {
	f.creates.Add(1)
	_ = grpc.SendHeader(ctx, metadata.MD{})
	return nil, status.Error(codes.Unavailable, "after the headers")
}

// dial returns a client with the shipped config, of a server with these forms.
func dial(t *testing.T, forms *flaky) *grpc.ClientConn {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "grpc-service-config.json"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	tallydv1.RegisterFormServiceServer(server, forms)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(text)))
	if err != nil {
		t.Fatalf("the client refuses the config: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestRealClientObeys gives the shipped config to a real client: a read is repeated until it succeeds, a write that has left is not.
func TestRealClientObeys(t *testing.T) {
	forms := &flaky{}
	client := tallydv1.NewFormServiceClient(dial(t, forms))
	if _, err := client.GetForm(t.Context(), &tallydv1.GetFormRequest{}); err != nil || forms.gets.Load() != 3 {
		t.Errorf("GetForm() = %v after %d tries, want nil after 3", err, forms.gets.Load())
	}
	if _, err := client.UpdateForm(t.Context(), &tallydv1.UpdateFormRequest{}); status.Code(err) != codes.Unavailable || forms.creates.Load() != 1 {
		t.Errorf("UpdateForm() = %v after %d tries, want Unavailable after 1", err, forms.creates.Load())
	}
}
