package faults

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// debugPaths are what Go programs like to serve to anybody who asks.
var debugPaths = []string{
	"/debug", "/debug/", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/debug/vars",
	"/debug/requests", "/debug/events",
}

// TestPublicPortServesOnlyTheContract covers row 64.
func TestPublicPortServesOnlyTheContract(t *testing.T) {
	t.Parallel()
	tally := newTally(t, alive(aForm))
	p := serveWith(t, tally, newKey(), "--reflection=off")
	for _, path := range append(debugPaths, "/metrics", "/livez", "/readyz", "/", "/status") {
		if code, body := get(t, "http://"+p.address+path); code == http.StatusOK {
			t.Errorf("GET %s on the public port = %d %q, want a refusal", path, code, body)
		}
		w := connect(t, p.address)
		w.send(t, slices.Concat([]field{{":method", "GET"}}, usual(path)[1:]), nil)
		if e := w.end(t); !e.refused("12") {
			t.Errorf("GET %s by HTTP/2 on the public port = %v, want a refusal", path, e.headers)
		}
	}
	conn := p.dial(t)
	for _, method := range []string{
		"/grpc.channelz.v1.Channelz/GetServers", "/grpc.channelz.v1.Channelz/GetTopChannels",
		"/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus", "/grpc.admin.v1.Admin/Stop",
		"/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics", "/grpc.testing.TestService/UnaryCall",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
	} {
		if err := conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("Invoke(%q) = %v, want Unimplemented", method, err)
		}
	}
	if got := tally.seen(); len(got) != 0 {
		t.Errorf("Tally saw %v, want nothing", got)
	}
}

// TestReflectionListsOnlyTheContract is the other side of row 64: what is served is what reflection names, and nothing stands beside
// the contract but health and reflection itself.
func TestReflectionListsOnlyTheContract(t *testing.T) {
	t.Parallel()
	p := serveWith(t, newTally(t, alive(aForm)), newKey(), "--reflection=on")
	stream, err := reflectionpb.NewServerReflectionClient(p.dial(t)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		if name := service.GetName(); !strings.HasPrefix(name, "tallyd.v1.") {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	want := []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
	if diff := cmp.Diff(want, others); diff != "" {
		t.Errorf("services beside the contract (-want +got):\n%s", diff)
	}
}

// TestAdminPortHasNoDebug covers the rest of row 64: operators get health and metrics, and no door into the process.
func TestAdminPortHasNoDebug(t *testing.T) {
	t.Parallel()
	p := serveWith(t, newTally(t, alive(aForm)), newKey())
	for _, path := range debugPaths {
		if code, _ := get(t, p.admin+path); code != http.StatusNotFound {
			t.Errorf("GET %s on the admin port = %d, want 404", path, code)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if code, _ := get(t, p.admin+path); code != http.StatusOK {
			t.Errorf("GET %s on the admin port = %d, want 200", path, code)
		}
	}
}

// hostileMetadata is what a caller might send to speak to Tally in our name.
var hostileMetadata = []field{
	{"authorization", "Bearer theirs"},
	{"proxy-authorization", "Basic theirs"},
	{"host", "evil.example"},
	{"x-forwarded-for", "10.0.0.1"},
	{"x-forwarded-host", "evil.example"},
	{"x-forwarded-proto", "http"},
	{"forwarded", "for=10.0.0.1"},
	{"x-real-ip", "10.0.0.1"},
	{"x-original-url", "/users/me"},
	{"x-http-method-override", "DELETE"},
	{"tally-version", "1999-01-01"},
	{"tally-signature", "theirs"},
	{"cookie", "session=theirs"},
	{"idempotency-key", "theirs"},
	{"if-match", "theirs"},
	{"range", "bytes=0-1"},
	{"accept-encoding", "br"},
	{"accept-language", "de"},
	{"user-agent", "theirs"},
	{"x-request-id", "two\r\nx-injected: words"},
	{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	{"x-crlf", "a\r\nauthorization: Bearer theirs"},
	{"grpc-timeout", "9S"},
	{"connection-hint", "close"},
}

// TestCallerMetadataStaysHere covers row 66: the request that Tally sees has our own headers, all of them and no other.
func TestCallerMetadataStaysHere(t *testing.T) {
	t.Parallel()
	key := newKey()
	tally := newTally(t, alive(aForm))
	p := serveWith(t, tally, key)
	read := encode(t, &tallydv1.GetFormRequest{FormId: "f1"})
	change := encode(t, &tallydv1.UpdateFormRequest{FormId: "f1", Name: new("n")})
	tests := []struct {
		name, path string
		message    []byte
		body       string
	}{
		{"read", "/tallyd.v1.FormService/GetForm", read, ""},
		{"write", "/tallyd.v1.FormService/UpdateForm", change, `{"name":"n"}`},
	}
	for _, test := range tests {
		before := len(tally.seen())
		// One by one and all at once: a header that spoils the call as a whole must not hide the others.
		for _, h := range hostileMetadata {
			connectAndSend(t, p, usual(test.path, h), test.message)
		}
		w := connect(t, p.address)
		w.send(t, usual(test.path, slices.DeleteFunc(slices.Clone(hostileMetadata), isRejected)...), test.message)
		if e := w.end(t); e.headers["grpc-status"] != "0" || strings.ContainsAny(e.headers["tallyd-request-id"], "\r\n ") {
			t.Errorf("%s with all headers ended in %v, want status 0 and a clean request id", test.name, e.headers)
		}
		got := tally.seen()[before:]
		if len(got) < len(hostileMetadata)/2 {
			t.Errorf("Tally saw %d requests, want most calls to get through", len(got))
		}
		for _, a := range got {
			checkHeaders(t, tally, a, key, test.body)
		}
	}
}

// isRejected tells of a header at which HTTP/2 itself ends the call.
func isRejected(h field) bool { return strings.Contains(h.value, "\r\n") }

func connectAndSend(t *testing.T, p *process, headers []field, message []byte) ending {
	t.Helper()
	w := connect(t, p.address)
	w.send(t, headers, message)
	return w.end(t)
}

// checkHeaders compares a request's headers with the allow-list as a whole.
func checkHeaders(t *testing.T, tally *fakeTally, got asked, key, body string) {
	t.Helper()
	want := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "Authorization": {"Bearer " + key},
		"Tally-Version": got.header["Tally-Version"], "User-Agent": got.header["User-Agent"],
	}
	if body != "" {
		want["Content-Type"], want["Content-Length"] = []string{"application/json"}, []string{"12"}
	}
	if diff := cmp.Diff(want, got.header); diff != "" {
		t.Errorf("headers of %s %s (-want +got):\n%s", got.method, got.path, diff)
	}
	if len(want["Tally-Version"]) != 1 || !strings.HasPrefix(want["Tally-Version"][0], "20") {
		t.Errorf("Tally-Version = %q, want the pinned one", want["Tally-Version"])
	}
	if len(want["User-Agent"]) != 1 || !strings.HasPrefix(want["User-Agent"][0], "tallyd/") {
		t.Errorf("User-Agent = %q, want ours", want["User-Agent"])
	}
	if got.host != tally.Listener.Addr().String() || got.path != "/forms/f1" || got.body != body {
		t.Errorf("request = %s %s with body %q, want /forms/f1 with %q at Tally's own name", got.host, got.path, got.body, body)
	}
}

func encode(t *testing.T, message proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOddPaths covers row 67: what is not exactly a method of the contract reaches nothing, neither Tally nor another method.
func TestOddPaths(t *testing.T) {
	t.Parallel()
	tally := newTally(t, alive(aForm))
	p := serveWith(t, tally, newKey())
	message := encode(t, &tallydv1.GetFormRequest{FormId: "f1"})
	const method = "/tallyd.v1.FormService/GetForm"
	for _, path := range []string{
		strings.TrimPrefix(method, "/"), method + "/", "/" + method, "//" + method, "/tallyd.v1.FormService//GetForm",
		"/tallyd.v1.formservice/GetForm", "/tallyd.v1.FormService/getform", "/TALLYD.V1.FORMSERVICE/GETFORM", "/Tallyd.v1.FormService/GetForm",
		"/tallyd.v1.FormService%2FGetForm", "/tallyd.v1.FormService/Get%46orm", "/%74allyd.v1.FormService/GetForm",
		"/./tallyd.v1.FormService/GetForm", "/x/../tallyd.v1.FormService/GetForm", "/tallyd.v1.FormService/../FormService/GetForm",
		method + "?x=1", method + "#x", method + ";x", method + " ", " " + method, method + "\x00", method + "\r\n", `\tallyd.v1.FormService\GetForm`,
		"http://tallyd" + method, "/v1.FormService/GetForm", "/FormService/GetForm", "/tallyd.v1.FormService.GetForm", "/GetForm", "/", "*", "",
	} {
		if e := connectAndSend(t, p, usual(path), message); !e.refused("12") {
			t.Errorf(":path %q ended in %v, want UNIMPLEMENTED or an error of HTTP", path, e.headers)
		}
	}
	if got := tally.seen(); len(got) != 0 {
		t.Errorf("Tally saw %v, want nothing", got)
	}
	if e := connectAndSend(t, p, usual(method), message); e.headers["grpc-status"] != "0" || len(tally.seen()) != 1 {
		t.Errorf(":path %q ended in %v, want status 0 and one request", method, e.headers)
	}
}
