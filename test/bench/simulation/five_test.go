package simulation

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// minutes is how long the five clients hammer in real time, for the guide; a second and a half proves that it works.
var minutes = flag.Float64("minutes", 0, "real minutes for which five clients hammer the real program")

// atOnceLimit parts the calls that were refused on arrival from those that waited in vain.
const atOnceLimit = 100 * time.Millisecond

// guide is the page that shows what became of them.
const guide = "../../../docs/guides/quota.md"

// client is one of the five: so many workers, each with a pause between its calls and a deadline for each.
type client struct {
	name     string
	weight   int
	batch    bool
	workers  int
	think    time.Duration
	deadline time.Duration
	says     string
}

func fiveClients() []client {
	return []client{
		{"web", 3, false, 2, 3 * time.Second, 5 * time.Second, "people: 2 at a time, 3 s between their calls, 5 s of patience"},
		{"app", 2, false, 8, 0, 30 * time.Second, "8 workers without a pause"},
		{"sync", 1, false, 4, 0, 30 * time.Second, "4 workers without a pause"},
		{"greedy", 1, false, 50, 0, 30 * time.Second, "50 workers without a pause"},
		{"backfill", 1, true, 4, 0, 2 * time.Minute, "batch, 4 workers without a pause"},
	}
}

// log is what became of one client's calls.
type log struct {
	mu       sync.Mutex
	answers  []point // when each came, in seconds, and how long it took
	refusals []time.Duration
	cost     int // what the trailers tell, of answers and refusals
	waiting  int // the most calls that waited at once, by GetQuota
	odd      []string
}

// program is a process of the real thing. It is stopped by its own id.
type program struct{ address string }

func launch(t *testing.T, path, line string, env []string, args ...string) program {
	t.Helper()
	command := exec.CommandContext(t.Context(), path, args...)
	command.Env = append(os.Environ(), env...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	})
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), line); found {
			return program{strings.Fields(rest)[0]}
		}
	}
	t.Fatalf("%s ended before it said %q", args[0], line)
	return program{}
}

// rules is the policy of the five, who prove by certificates who they are.
func rules(clients []client) string {
	text := "identify: [mtls: {}]\ncallers:\n"
	for _, c := range clients {
		priority := "interactive"
		if c.batch {
			priority = "batch"
		}
		text += fmt.Sprintf("- {name: %s, identities: ['spiffe://shop/%s'], weight: %d, priority: %s, allow: [{methods: [read], forms: ['*']}]}\n",
			c.name, c.name, c.weight, priority)
	}
	return text
}

// hammer calls until ctx ends, each call for a request of its own.
func (c client) hammer(ctx context.Context, conn *grpc.ClientConn, begin time.Time, l *log) {
	submissions := tallydv1.NewSubmissionServiceClient(conn)
	ctx = metadata.AppendToOutgoingContext(ctx, "cache-control", "no-cache")
	for ctx.Err() == nil {
		asked := time.Now()
		within, cancel := context.WithTimeout(ctx, c.deadline)
		var trailer metadata.MD
		_, err := submissions.ListSubmissions(within, &tallydv1.ListSubmissionsRequest{FormId: "Repair", PageSize: 5}, grpc.Trailer(&trailer))
		cancel()
		took := time.Since(asked)
		pause := c.think
		l.mu.Lock()
		l.cost += costOf(trailer)
		switch {
		case err == nil:
			l.answers = append(l.answers, point{time.Since(begin).Seconds(), took.Seconds()})
		case ctx.Err() != nil:
		case status.Code(err) == codes.ResourceExhausted:
			l.refusals = append(l.refusals, took)
			pause = max(pause, 200*time.Millisecond)
		default:
			l.odd = append(l.odd, err.Error())
		}
		l.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// watch asks every second how many of the client's calls wait.
func (c client) watch(ctx context.Context, conn *grpc.ClientConn, l *log) {
	quotas := tallydv1.NewQuotaServiceClient(conn)
	for {
		resp, err := quotas.GetQuota(ctx, &tallydv1.GetQuotaRequest{})
		l.mu.Lock()
		switch {
		case err == nil:
			l.waiting = max(l.waiting, int(resp.GetQuota().GetOwnWaiting()))
		case ctx.Err() == nil:
			l.odd = append(l.odd, err.Error())
		}
		l.mu.Unlock()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}

// costOf returns how many requests a call took; 0 where it does not say.
func costOf(trailer metadata.MD) int {
	cost, _ := strconv.Atoi(strings.Join(trailer.Get("tallyd-cost"), ""))
	return cost
}

// startBoth builds the program and starts it twice: as a sandbox, and in front of that with the policy of the five.
func startBoth(t *testing.T, clients []client, issuer *authority) (sandbox, tallyd program) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tallyd")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/tallyd")
	build.Dir = filepath.Join("..", "..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tallyd: %v\n%s", err, output)
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte(rules(clients)), 0o600); err != nil {
		t.Fatal(err)
	}
	sandbox = launch(t, binary, "ready at ", nil, "sandbox", "--listen", "127.0.0.1:0", "--rate", "100")
	tallyd = launch(t, binary, "tallyd is ready at ", []string{"TALLY_API_KEY=tly-sandbox"}, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "", "--tally-url", sandbox.address, "--policy", policy,
	}, issuer.flags(t)...)...)
	return sandbox, tallyd
}

// TestFiveClients lets five clients, of which one is a back-fill and one asks for ten times its share, hammer the real program in front
// of a sandbox that allows 100 requests a minute: the sandbox answers no 429, and each gets its share. With -minutes it renews the guide.
func TestFiveClients(t *testing.T) {
	length := time.Duration(*minutes * float64(time.Minute))
	if length == 0 {
		length = 1500 * time.Millisecond
	}
	clients := fiveClients()
	issuer := newAuthority(t)
	sandbox, tallyd := startBoth(t, clients, issuer)
	logs := make([]log, len(clients))
	// Calls under way at the end are cancelled; with a deadline theirs would be shorter than they say.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := time.Now()
	time.AfterFunc(length, cancel)
	var workers sync.WaitGroup
	for i, c := range clients {
		conn, err := grpc.NewClient(tallyd.address, grpc.WithTransportCredentials(credentials.NewTLS(issuer.client(t, "spiffe://shop/"+c.name))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		workers.Go(func() { c.watch(ctx, conn, &logs[i]) })
		for range c.workers {
			workers.Go(func() { c.hammer(ctx, conn, begin, &logs[i]) })
		}
	}
	workers.Wait()
	served, refused := requestsOf(t, sandbox)
	if refused != 0 {
		t.Errorf("the sandbox answered %d of %d requests with 429, want 0", refused, served)
	}
	cost := 0
	for i := range logs {
		cost += logs[i].cost
		if len(logs[i].odd) > 0 {
			t.Errorf("%s: %d calls ended oddly, such as in %s", clients[i].name, len(logs[i].odd), logs[i].odd[0])
		}
	}
	// What was under way at the end has no trailer, and the check of the key is tallyd's own.
	if cost == 0 || cost > served {
		t.Errorf("the trailers tell of %d requests, want at most the %d that the sandbox got", cost, served)
	}
	if *minutes > 0 {
		publish(t, clients, logs, served, refused)
	}
}

// requestsOf asks the sandbox how many requests it got and how many it answered with 429.
func requestsOf(t *testing.T, sandbox program) (served, refused int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sandbox.address+"/_sandbox/requests", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var counts map[string]map[string]int
	if err := json.NewDecoder(resp.Body).Decode(&counts); err != nil {
		t.Fatal(err)
	}
	for _, byStatus := range counts {
		served += byStatus["total"]
		refused += byStatus["429"]
	}
	if served == 0 {
		t.Errorf("the sandbox counts no request: %v", counts)
	}
	return served, refused
}

// publish writes the table into the guide and draws the plot beside it.
func publish(t *testing.T, clients []client, logs []log, served, refused int) {
	t.Helper()
	heads := []string{"client", "weight", "what it does", "answers", "a minute", "cost", "most waiting", "refused at once", "p99 of these", "refused after a wait", "p50 of these", "wait p50", "p99", "longest"}
	var rows [][]string
	total := 0
	for i, c := range clients {
		var waits []float64
		var atOnce, late []float64
		for _, a := range logs[i].answers {
			waits = append(waits, a.y)
		}
		for _, r := range logs[i].refusals {
			if r > atOnceLimit {
				late = append(late, r.Seconds())
			} else {
				atOnce = append(atOnce, r.Seconds())
			}
		}
		total += len(waits)
		row := []string{
			"`" + c.name + "`", fmt.Sprint(c.weight), c.says, fmt.Sprint(len(waits)), fmt.Sprintf("%.1f", float64(len(waits)) / *minutes),
			fmt.Sprint(logs[i].cost), fmt.Sprint(logs[i].waiting), fmt.Sprint(len(atOnce)), told(atOnce, 0.99), fmt.Sprint(len(late)), told(late, 0.5),
			told(waits, 0.5), told(waits, 0.99), told(waits, 1),
		}
		rows = append(rows, row)
	}
	text := fmt.Sprintf("%g real minutes: %d answers, for which the sandbox got %d requests (the check of the key among them) and answered %d with 429.\n\n%s",
		*minutes, total, served, refused, table(heads, rows))
	old, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	filled, err := fill(old, "five", text)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(guide, filled, 0o644); err != nil {
		t.Fatal(err)
	}
	page{published}.save(t, "five-clients.svg", fiveFigure(clients, logs).draw())
}

// told returns a percentile of times as the table shows it.
func told(seconds []float64, share float64) string {
	if len(seconds) == 0 {
		return "–"
	}
	slices.Sort(seconds)
	return fmt.Sprintf("%.3g s", percentile(seconds, share))
}

// fiveFigure shows how the answers of each added up.
func fiveFigure(clients []client, logs []log) figure {
	end, most := *minutes*60, 0.0
	colors := []string{blue, orange, purple, grey, ink}
	p := panel{title: "answers since the beginning", x: axis{label: "time, s", high: end, ticks: evenly(0, end, 30)}}
	f := figure{title: "Five clients, one key with 100 requests a minute"}
	for i, c := range clients {
		l := line{color: colors[i], wide: !c.batch, dashed: c.batch}
		for n, a := range logs[i].answers {
			l.points = append(l.points, point{a.x, float64(n + 1)})
		}
		most = max(most, float64(len(l.points)))
		p.lines = append(p.lines, l)
		f.legend = append(f.legend, key{fmt.Sprintf("%s, weight %d", c.name, c.weight), colors[i], c.batch})
	}
	p.y = axis{label: "answers", high: most * 1.05, room: 30, ticks: evenly(0, most, 25)}
	f.panels = []panel{p}
	return f
}
