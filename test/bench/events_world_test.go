package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// limit is how long something may take that must happen.
const limit = time.Minute

// serveTally stands for a Tally that knows every form and lets nobody list submissions, so that a log holds what was delivered and
// nothing else.
func serveTally(listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/me", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":"u1","organizationId":"o1","subscriptionPlan":"PRO"}`)
	})
	mux.HandleFunc("GET /forms/{form}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"id":%q,"name":"Form"}`, r.PathValue("form"))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message":"not yours"}`)
	})
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// newLogField is a field with a Tally that delivers.
func newLogField(t *testing.T) *field {
	t.Helper()
	f := &field{tallyd: build(t)}
	f.upstream = "http://" + f.start(t, self(t, "tally")).address
	f.control = newEcho(t, f.start(t, self(t, "echo")).address)
	return f
}

// logger is a server that hands out events. It says on a socket how it is.
type logger struct {
	*process

	admin *http.Client
}

// keep starts a tallyd that keeps a log below a directory.
func (f *field) keep(t *testing.T, dir string, env []string, args ...string) *logger {
	t.Helper()
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte(signingSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "admin")
	command := tallyd(t, f.tallyd, f.upstream)
	command.Args = append(append(command.Args, "--admin-listen", "unix:"+socket, "--data-dir", dir, "--webhook-listen", "127.0.0.1:0",
		"--webhook-secret-file", secrets, "--poll-interval", "24h"), args...)
	command.Env = append(command.Env, env...)
	return &logger{f.start(t, command), overSocket(t, socket)}
}

// overSocket is a client of whoever listens on a socket, whatever host it is asked for.
func overSocket(t *testing.T, socket string) *http.Client {
	t.Helper()
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

var hooksLine = regexp.MustCompile(`port for deliveries open.*address"?[:=]"?([0-9.:]+)`)

// hooks returns where deliveries come in. The line that says so may come a little after the one that says that it is ready.
func (l *logger) hooks() (string, error) {
	for begin := time.Now(); time.Since(begin) < limit; {
		said, err := os.ReadFile(l.said)
		if err != nil {
			return "", err
		}
		if found := hooksLine.FindSubmatch(said); found != nil {
			return string(found[1]), nil
		}
		<-time.After(time.Millisecond)
	}
	return "", fmt.Errorf("tallyd does not say where deliveries come in")
}

// ask returns what the server says of itself under a path.
func (l *logger) ask(path string, body io.Reader) (string, error) {
	method := map[bool]string{true: http.MethodGet, false: http.MethodPost}[body == nil]
	req, err := http.NewRequest(method, "http://admin"+path, body)
	if err != nil {
		return "", err
	}
	return askHTTP(l.admin, req)
}

func askHTTP(client *http.Client, req *http.Request) (string, error) {
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL, resp.Status, said)
	}
	return string(said), err
}

// metrics returns the values of metrics, which have no labels.
func (l *logger) metrics(names ...string) (map[string]float64, error) {
	said, err := l.ask("/metrics", nil)
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for line := range strings.Lines(said) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			values[name] = value
		}
	}
	for _, name := range names {
		if _, ok := values[name]; !ok {
			return nil, fmt.Errorf("there is no metric %s", name)
		}
	}
	return values, nil
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func earliest(forms ...string) *tallydv1.WatchSubmissionsRequest {
	return &tallydv1.WatchSubmissionsRequest{
		FormIds: forms, Start: &tallydv1.WatchSubmissionsRequest_StartAt{StartAt: tallydv1.WatchStart_WATCH_START_EARLIEST},
	}
}
