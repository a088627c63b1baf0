package faults

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// deliverer is a Tally played by the test: it knows every form, signs what it delivers, and lets nobody list its submissions, so that a
// log holds what was delivered and nothing else, unless the test has it list them.
type deliverer struct {
	secrets

	listing
	tally  *fakeTally
	client *http.Client
	began  time.Time
	dir    string   // where tallyd keeps its log
	flags  []string // what tallyd is started with
	env    []string
	// Tally tells held of a request for a form whose id begins so, and answers when release is closed.
	held, release chan struct{}
}

func newDeliverer(t *testing.T) *deliverer {
	t.Helper()
	d := &deliverer{secrets: newSecrets(), began: time.Now(), dir: t.TempDir(), held: make(chan struct{}), release: make(chan struct{})}
	d.tally = newTally(t, alive(d.answer))
	// An idle connection to Tally is no goroutine that a fault left.
	d.tally.Config.SetKeepAlivesEnabled(false)
	d.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: patience}
	t.Cleanup(d.client.CloseIdleConnections)
	d.flags = []string{
		"--tally-url", d.tally.URL, "--key-file", write(t, []byte(d.key), 0o600), "--data-dir", d.dir,
		"--webhook-listen", "127.0.0.1:0", "--webhook-secret-file", d.secretFile(t, d.ourSigning), "--poll-interval", "24h",
	}
	return d
}

// answer answers a request about a form.
func (d *deliverer) answer(w http.ResponseWriter, r *http.Request) {
	form, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/forms/"), "/")
	if strings.HasPrefix(form, "held") {
		d.keepBack(r.Context())
	}
	if rest == "submissions" && d.list(w, r, form) {
		return
	}
	if rest != "" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message":"not yours"}`)
		return
	}
	_, _ = fmt.Fprintf(w, `{"id":%q,"name":"Form"}`, form)
}

// keepBack tells of a request and waits until it may be answered, or nobody waits for the answer.
func (d *deliverer) keepBack(ctx context.Context) {
	select {
	case d.held <- struct{}{}:
	case <-ctx.Done():
		return
	}
	select {
	case <-d.release:
	case <-ctx.Done():
	}
}

// secretFile writes a file with signing secrets of forms f1, f2 and warm.
func (d *deliverer) secretFile(t *testing.T, secrets ...string) string {
	t.Helper()
	var lines strings.Builder
	for _, secret := range secrets {
		fmt.Fprintf(&lines, "f1 %[1]s\nf2 %[1]s\nwarm %[1]s\n", secret)
	}
	return write(t, []byte(lines.String()), 0o600)
}

// logger is a tallyd that keeps a log of events.
type logger struct {
	*process

	hooks string // where deliveries come in
}

var hooksLine = regexp.MustCompile(`port for deliveries open.*address"?[:=]"?([0-9.:]+)`)

// serve starts a tallyd on the log.
func (d *deliverer) serve(t *testing.T, args ...string) *logger {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return d.serveBinary(t, binary, args...)
}

// launch starts a tallyd on the log and waits for nothing.
func (d *deliverer) launch(t *testing.T) *process {
	t.Helper()
	return launch(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, d.flags...)...)
}

// serveBinary is serve with another tallyd.
func (d *deliverer) serveBinary(t *testing.T, binary string, args ...string) *logger {
	t.Helper()
	p := serveBinary(t, binary, d.env, append(slices.Clone(d.flags), args...)...)
	return &logger{p, "http://" + p.await(t, hooksLine)}
}

// body is the body of a delivery of a submission that was sent off just now. It holds links that are secrets.
func (d *deliverer) body(form, submission, answer string) []byte {
	return d.bodyFrom(time.Now(), form, submission, answer)
}

// bodyFrom is the body of a delivery of a submission that was sent off at a time.
func (d *deliverer) bodyFrom(sent time.Time, form, submission, answer string) []byte {
	at := sent.UTC().Format("2006-01-02T15:04:05.000Z")
	return fmt.Appendf(nil, `{"eventId":"e-%s","eventType":"FORM_RESPONSE","createdAt":%q,"data":{"responseId":%q,"submissionId":%q,`+
		`"respondentId":"r1","formId":%q,"formName":"Form","createdAt":%q,"fields":[{"key":"question_q1","label":"Name","type":"INPUT_TEXT",`+
		`"value":%q}],"submissionPdfUrl":"https://files.example/%s","submissionPreviewUrl":"https://files.example/%s"}}`,
		submission, at, submission, submission, form, at, answer, d.pdf, d.preview)
}

// sign returns the signature of a body as Tally makes it.
func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// reply is what a delivery was answered.
type reply struct {
	status int
	body   string
	header http.Header
}

// post sends a delivery to a form's address with the headers given.
func (d *deliverer) post(ctx context.Context, l *logger, form string, body io.Reader, headers http.Header) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.hooks+"/hooks/"+form, body)
	if err != nil {
		return reply{}, err
	}
	req.Header = headers
	resp, err := d.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, string(said), resp.Header}, err
}

// deliver delivers a body as Tally does.
func (d *deliverer) deliver(ctx context.Context, l *logger, form string, body []byte) (reply, error) {
	return d.post(ctx, l, form, bytes.NewReader(body), http.Header{"Tally-Signature": {sign(d.ourSigning, body)}})
}

// mustDeliver delivers submissions of f1, one after the other, and demands that each is taken.
func (d *deliverer) mustDeliver(t *testing.T, l *logger, submissions ...string) {
	t.Helper()
	for _, id := range submissions {
		if got, err := d.deliver(t.Context(), l, "f1", d.body("f1", id, "x")); err != nil || got.status != http.StatusOK {
			t.Fatalf("delivering %s = %v, %v, want 200", id, got, err)
		}
	}
}

// names returns n ids with a prefix.
func names(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = prefix + strconv.Itoa(i+1)
	}
	return ids
}

// each calls do with each event of a form's log, and demands that sequences have no gap.
func (l *logger) each(t *testing.T, form string, do func(*tallydv1.SubmissionEvent)) {
	t.Helper()
	conn := l.dial(t)
	defer conn.Close()
	stream, err := tallydv1.NewSubmissionEventServiceClient(conn).ReplaySubmissionEvents(
		t.Context(), &tallydv1.ReplaySubmissionEventsRequest{FormId: form})
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(1); ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || m.GetEvent().GetSequence() != n {
			t.Fatalf("event %d of ReplaySubmissionEvents(%s) = %v, %v, want that sequence", n, form, m, err)
		}
		do(m.GetEvent())
	}
}

// replay returns a form's log.
func (l *logger) replay(t *testing.T, form string) (events []*tallydv1.SubmissionEvent) {
	t.Helper()
	l.each(t, form, func(e *tallydv1.SubmissionEvent) { events = append(events, e) })
	return events
}

// ids returns the submissions that events are about.
func ids(events []*tallydv1.SubmissionEvent) []string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.GetSubmission().GetId()
	}
	return list
}

// checkLog demands that a form's log holds these submissions in this order, each once.
func (l *logger) checkLog(t *testing.T, form string, want ...string) {
	t.Helper()
	if got := ids(l.replay(t, form)); !slices.Equal(got, want) {
		t.Errorf("the log of %s holds %.2000q, want %.2000q", form, got, want)
	}
}

// metric returns the value of a metric, with its labels as /metrics has them.
func (l *logger) metric(t *testing.T, name string) float64 {
	t.Helper()
	_, body := get(t, l.admin+"/metrics")
	for line := range strings.Lines(body) {
		if text, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// goroutines returns how many goroutines tallyd has when nothing is under way.
func (d *deliverer) goroutines(t *testing.T, l *logger) int {
	t.Helper()
	d.client.CloseIdleConnections()
	// Nobody tells when the last of them ends: those that are left the first time that nothing changes any more are idle.
	before, same := -1, 0
	for range 500 {
		now := int(l.metric(t, "go_goroutines"))
		if same++; now != before {
			before, same = now, 0
		}
		if same == 10 {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	return before
}

// checkAfter demands what must hold after every fault: no goroutine is left over, and no secret is in anything that tallyd shows. It ends
// tallyd.
func (d *deliverer) checkAfter(t *testing.T, l *logger, goroutines int) {
	t.Helper()
	limit := time.After(patience)
	for now := d.goroutines(t, l); now > goroutines; now = d.goroutines(t, l) {
		select {
		case <-limit:
			t.Errorf("%d goroutines are left, want %d as before", now, goroutines)
			return
		default:
		}
	}
	d.checkOutputs(t, l)
}

// checkOutputs demands that no secret is in anything that tallyd shows, and ends it.
func (d *deliverer) checkOutputs(t *testing.T, l *logger) {
	t.Helper()
	_, page := get(t, l.admin+"/")
	d.wantNoneIn(t, "the status page", page)
	searchOutputs(t, l.process, d.secrets)
	if said := l.output.String(); strings.Contains(said, "panic:") || strings.Contains(said, "DATA RACE") {
		t.Errorf("tallyd said %s", said)
	}
}

// settle has a tallyd do everything once, and returns how many goroutines it has at rest.
func (d *deliverer) settle(t *testing.T, l *logger) int {
	t.Helper()
	if got, err := d.deliver(t.Context(), l, "warm", d.bodyFrom(d.began, "warm", "s1", "x")); err != nil || got.status != http.StatusOK {
		t.Fatalf("the first delivery = %v, %v, want 200", got, err)
	}
	w := l.watch(t, earliest("warm"))
	w.event(t)
	w.close()
	l.checkLog(t, "warm", "s1")
	return d.goroutines(t, l)
}

// settled starts a tallyd and has it do everything once.
func (d *deliverer) settled(t *testing.T, args ...string) (l *logger, goroutines int) {
	t.Helper()
	l = d.serve(t, args...)
	return l, d.settle(t, l)
}

// stop ends a tallyd in order.
func (d *deliverer) stop(t *testing.T, l *logger) {
	t.Helper()
	// A connection that never had a request counts as busy for five seconds.
	d.client.CloseIdleConnections()
	l.signal(t, syscall.SIGTERM)
	if code := l.code(t); code != 0 {
		t.Errorf("exit code = %d, want 0\n%s", code, l.output)
	}
}

// kill ends a tallyd as a crash does.
func (*deliverer) kill(t *testing.T, l *logger) {
	t.Helper()
	l.signal(t, syscall.SIGKILL)
	l.code(t)
}
