// Command generate writes what follows from the contract for those who call tallyd through a client library or a mesh: the recommended
// gRPC service config, and the routes of Istio and Linkerd. They agree on one thing: what writes is never repeated by a proxy.
//
// usage: go run ./deploy/generate DIR
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(dir string) error {
	config, err := serviceConfig()
	if err != nil {
		return err
	}
	for path, text := range map[string]string{
		"grpc-service-config.json":       config,
		"kubernetes/istio/routes.yaml":   istioRoutes(),
		"kubernetes/linkerd/routes.yaml": linkerdRoutes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(path)), []byte(text), 0o644); err != nil { //nolint:gosec // the manifests are for everybody to read
			return err
		}
	}
	return nil
}

// method is an RPC as routes name it.
type method struct{ service, name string }

func (m method) path() string { return "/" + m.service + "/" + m.name }

// methods returns the RPCs of the contract with one of these effects, sorted, but for streams.
func methods(levels ...descriptorpb.MethodOptions_IdempotencyLevel) []method {
	return chosen(func(rpc protoreflect.MethodDescriptor) bool {
		options, _ := rpc.Options().(*descriptorpb.MethodOptions)
		return !rpc.IsStreamingServer() && slices.Contains(levels, options.GetIdempotencyLevel())
	})
}

// streams returns the RPCs that answer with a stream, sorted. Each takes as long as it takes, and whoever lost it goes on by its token,
// which no proxy and no client library knows: none has a deadline or is repeated.
func streams() []method { return chosen(protoreflect.MethodDescriptor.IsStreamingServer) }

// chosen returns the RPCs of the contract that are wanted, sorted.
func chosen(wanted func(protoreflect.MethodDescriptor) bool) (found []method) {
	protoregistry.GlobalFiles.RangeFilesByPackage(tallydv1.File_tallyd_v1_forms_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				if rpc := service.Methods().Get(j); wanted(rpc) {
					found = append(found, method{string(service.FullName()), string(rpc.Name())})
				}
			}
		}
		return true
	})
	slices.SortFunc(found, func(a, b method) int { return strings.Compare(a.path(), b.path()) })
	return found
}

// The effects, as the contract's idempotency_level tells them.
const (
	reads      = descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	repeatable = descriptorpb.MethodOptions_IDEMPOTENT
	creates    = descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
)

// deadline is for callers that set none: what tallyd itself would give them.
const deadline = "30s"

type retryPolicy struct {
	MaxAttempts          int      `json:"maxAttempts"`
	InitialBackoff       string   `json:"initialBackoff"`
	MaxBackoff           string   `json:"maxBackoff"`
	BackoffMultiplier    float64  `json:"backoffMultiplier"`
	RetryableStatusCodes []string `json:"retryableStatusCodes"`
}

type methodName struct {
	Service string `json:"service"`
	Method  string `json:"method"`
}

type methodConfig struct {
	Name        []methodName `json:"name"`
	Timeout     string       `json:"timeout"`
	RetryPolicy *retryPolicy `json:"retryPolicy,omitempty"`
}

// serviceConfig repeats reads, and what has the same effect when it is made twice, on UNAVAILABLE alone. tallyd never says that of a
// write that may have happened; UNKNOWN, which it says then, must not stand here. What creates is left to the caller, and so are streams:
// no entry stands for a whole service or for all.
func serviceConfig() (string, error) {
	policy := func(attempts int) *retryPolicy {
		return &retryPolicy{
			MaxAttempts: attempts, InitialBackoff: "0.1s", MaxBackoff: "2s", BackoffMultiplier: 2,
			RetryableStatusCodes: []string{"UNAVAILABLE"},
		}
	}
	config := map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": map[string]any{}}},
		"methodConfig": []methodConfig{
			{Name: names(methods(reads)), Timeout: deadline, RetryPolicy: policy(4)},
			{Name: names(methods(repeatable)), Timeout: deadline, RetryPolicy: policy(2)},
			{Name: names(methods(creates)), Timeout: deadline},
		},
		// When one call in ten fails so, nothing is repeated any more.
		"retryThrottling": map[string]any{"maxTokens": 10, "tokenRatio": 0.1},
	}
	text, err := json.MarshalIndent(config, "", "  ")
	return string(text) + "\n", err
}

func names(of []method) (list []methodName) {
	for _, m := range of {
		list = append(list, methodName{Service: m.service, Method: m.name})
	}
	return list
}

const generated = "# Generated from the contract by `make generate`; changes here are lost.\n"

// istioRoutes replaces Istio's default, two more tries on UNAVAILABLE and CANCELLED for everything, with tries of reads alone.
func istioRoutes() string {
	var b strings.Builder
	b.WriteString(generated + `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: tallyd
spec:
  hosts: [tallyd, tallyd-headless]
  http:
  - name: reads
    match:
`)
	istioMatches(&b, methods(reads))
	b.WriteString(`    route:
    - destination: {host: tallyd, port: {number: 50051}}
    retries:
      attempts: 2
      retryOn: unavailable,connect-failure,refused-stream
  # They last: watches until their connection is half an hour old, a word every 30 s; exports as long as the quota makes them wait. Istio
  # ends no request of a route without a timeout, and takes no 0s for one.
  - name: streams
    match:
`)
	istioMatches(&b, streams())
	b.WriteString(`    route:
    - destination: {host: tallyd, port: {number: 50051}}
    retries:
      attempts: 0
  - name: writes-and-all-else
    route:
    - destination: {host: tallyd, port: {number: 50051}}
    retries:
      attempts: 0
`)
	return b.String()
}

func istioMatches(b *strings.Builder, list []method) {
	for _, m := range list {
		fmt.Fprintf(b, "    - uri: {exact: %s}\n", m.path())
	}
}

// maxMatches is how many matches the Gateway API allows in a rule.
const maxMatches = 8

// linkerdRoutes lets Linkerd repeat reads; without an annotation it repeats nothing and ends nothing.
func linkerdRoutes() string {
	var b strings.Builder
	b.WriteString(generated + `apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  name: tallyd-reads
  annotations:
    retry.linkerd.io/grpc: unavailable
    retry.linkerd.io/limit: "2"
spec:
  parentRefs:
  - {group: "", kind: Service, name: tallyd, port: 50051}
  rules:
`)
	for part := range slices.Chunk(methods(reads), maxMatches) {
		b.WriteString("  - matches:\n")
		for _, m := range part {
			fmt.Fprintf(&b, "    - method: {service: %s, method: %s}\n", m.service, m.name)
		}
		b.WriteString("    backendRefs:\n    - {name: tallyd, port: 50051}\n")
	}
	b.WriteString(`---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  name: tallyd-all-else # streams among it: no annotation here may set a timeout
spec:
  parentRefs:
  - {group: "", kind: Service, name: tallyd, port: 50051}
  rules:
  - backendRefs:
    - {name: tallyd, port: 50051}
`)
	return b.String()
}
