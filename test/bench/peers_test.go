package bench

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

const (
	// roleVariable makes this test binary a server of one kind instead of a test.
	roleVariable     = "TALLYD_BENCH_ROLE"
	upstreamVariable = "UPSTREAM"
	// idleConnections is how many connections to the upstream every Go peer keeps, as tallyd does.
	idleConnections = 32
)

// TestMain runs the tests, or one of the servers that they start.
func TestMain(m *testing.M) {
	serve := map[string]func(net.Listener) error{
		"upstream": serveUpstream,
		"echo":     serveEcho,
		"proxy":    serveProxy,
		"adapter":  serveAdapter,
		"chain":    serveChain,
		"watched":  serveWatched,
		"bare":     serveBare,
		"capped":   serveCapped,
		"uncapped": serveUncapped,
		"archive":  serveArchive,
		"naive":    serveNaiveExport,
		"tally":    serveTally,
		"streams":  serveStreams,
		"crowd":    serveCrowd,
		"reply":    serveReply,
	}[os.Getenv(roleVariable)]
	if os.Getenv(roleVariable) == "jetstream" {
		announce(beginJetStream())
		return
	}
	if serve == nil {
		m.Run()
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(serve(listener)) }()
	announce(listener.Addr().String(), nil)
}

// announce says where a server is, and waits for the end of the test that started it.
func announce(address string, err error) {
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, "ready at", address)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serveUpstream stands for Tally and answers from memory.
func serveUpstream(listener net.Listener) error {
	answer := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /forms/{id}", answer(singleForm()))
	mux.Handle("GET /forms/{id}/submissions", answer(submissionsPage()))
	mux.Handle("GET /users/me", answer([]byte(`{"id":"u1","organizationId":"o1","subscriptionPlan":"PRO"}`)))
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// serveEcho sends back what comes: the control, in which no code of anybody's takes part.
func serveEcho(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			buffer := make([]byte, echoBytes)
			for {
				if _, err := io.ReadFull(conn, buffer); err != nil {
					return
				}
				if _, err := conn.Write(buffer); err != nil {
					return
				}
			}
		}()
	}
}

func upstreamTransport() *http.Transport {
	return &http.Transport{MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idleConnections, DisableCompression: true}
}

// buffers lends the proxy its buffers, so that it need not make one for each answer.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte { return *b.pool.Get().(*[]byte) }

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// serveProxy is the standard library's reverse proxy.
func serveProxy(listener net.Listener) error {
	upstream, err := url.Parse(os.Getenv(upstreamVariable))
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport:  upstreamTransport(),
		BufferPool: &buffers{pool: sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}},
	}
	return (&http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// serveAdapter is a gRPC server as it is written in an afternoon: read all, decode into structs, translate.
func serveAdapter(listener net.Listener) error {
	server := grpc.NewServer()
	a := adapter{http: &http.Client{Transport: upstreamTransport()}, base: os.Getenv(upstreamVariable)}
	tallydv1.RegisterFormServiceServer(server, formAdapter{adapter: a})
	tallydv1.RegisterSubmissionServiceServer(server, submissionAdapter{adapter: a})
	return server.Serve(listener)
}

type adapter struct {
	http *http.Client
	base string
}

func (a adapter) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

type formAdapter struct {
	tallydv1.UnimplementedFormServiceServer
	adapter
}

// GetForm answers from the upstream.
func (a formAdapter) GetForm(ctx context.Context, req *tallydv1.GetFormRequest) (*tallydv1.GetFormResponse, error) {
	data, err := a.get(ctx, "/forms/"+url.PathEscape(req.GetFormId()))
	if err != nil {
		return nil, err
	}
	return formByHand(data)
}

type submissionAdapter struct {
	tallydv1.UnimplementedSubmissionServiceServer
	adapter
}

// ListSubmissions answers from the upstream.
func (a submissionAdapter) ListSubmissions(ctx context.Context, req *tallydv1.ListSubmissionsRequest) (*tallydv1.ListSubmissionsResponse, error) {
	query := "?limit=" + strconv.Itoa(int(req.GetPageSize()))
	data, err := a.get(ctx, "/forms/"+url.PathEscape(req.GetFormId())+"/submissions"+query)
	if err != nil {
		return nil, err
	}
	return pageByHand(data)
}
