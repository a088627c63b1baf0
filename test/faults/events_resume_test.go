package faults

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// hop watches from a token on until it has one event, or none but a sign of life, and leaves. It returns the event in few words.
func hop(t *testing.T, conn *grpc.ClientConn, token *string, wait bool) (event string) {
	t.Helper()
	req := earliest("f1", "f2")
	if *token != "" {
		req = behind(*token, "f1", "f2")
	}
	w := watchOver(t, conn, req)
	defer w.close()
	if wait {
		event = say(w.event(t))
	}
	*token = w.token
	return event
}

// TestResumeAtEveryMessage covers row 98: a watcher that leaves behind every message, signs of life among them, and goes on with its
// token sees what the log holds, without a gap or a double, while deliveries come in, and from one process to the next, however the one
// before ended. So does one that goes on from any of the tokens later.
func TestResumeAtEveryMessage(t *testing.T) {
	t.Parallel()
	const lives, each = 4, 25
	d := newDeliverer(t)
	var l *logger
	var token string
	var seen, tokens []string
	goroutines := 0
	for life := range lives {
		l, goroutines = d.settled(t)
		var delivering sync.WaitGroup
		delivering.Go(func() { d.deliverInTurn(t, l, fmt.Sprintf("s%d-", life), each) })
		conn := l.dial(t)
		for range each {
			hop(t, conn, &token, false)
			seen = append(seen, hop(t, conn, &token, true))
			tokens = append(tokens, token)
		}
		delivering.Wait()
		conn.Close()
		if life < lives-1 {
			[]func(*testing.T, *logger){d.stop, d.kill}[life%2](t, l)
		}
	}
	checkAgainstLog(t, l, seen)
	checkTokens(t, l, seen, tokens, "f1", "f2")
	d.checkAfter(t, l, goroutines)
}

// checkTokens demands that behind each event's token comes what came behind the event.
func checkTokens(t *testing.T, l *logger, seen, tokens []string, forms ...string) {
	t.Helper()
	conn := l.dial(t)
	defer conn.Close()
	for i, token := range tokens {
		w := watchOver(t, conn, behind(token, forms...))
		if got := w.rest(t, len(seen)-i-1); !slices.Equal(got, seen[i+1:]) {
			t.Errorf("behind event %d come %q, want %q", i+1, got, seen[i+1:])
		}
		w.close()
	}
}

// deliverInTurn delivers n submissions to both forms, one after the other.
func (d *deliverer) deliverInTurn(t *testing.T, l *logger, prefix string, n int) {
	for i, id := range names(prefix, n) {
		form := fmt.Sprintf("f%d", 1+i%2)
		if got, err := d.deliver(t.Context(), l, form, d.body(form, id, "x")); err != nil || got.status != http.StatusOK {
			t.Errorf("delivering %s = %v, %v, want 200", id, got, err)
		}
	}
}

// checkAgainstLog demands that what a watcher has seen is what the logs of both forms hold.
func checkAgainstLog(t *testing.T, l *logger, seen []string) {
	t.Helper()
	for _, form := range []string{"f1", "f2"} {
		var log, heard []string
		for _, e := range l.replay(t, form) {
			log = append(log, say(e))
		}
		for _, s := range seen {
			if s[:len(form)] == form {
				heard = append(heard, s)
			}
		}
		if !slices.Equal(heard, log) {
			t.Errorf("the watcher saw %q of %s, want %q", heard, form, log)
		}
	}
}

// firstToken returns the token of the first of two events of f1.
func (d *deliverer) firstToken(t *testing.T, l *logger) string {
	t.Helper()
	d.mustDeliver(t, l, "s1", "s2")
	w := l.watch(t, earliest("f1"))
	defer w.close()
	w.event(t)
	return w.token
}

// TestForeignTokens covers row 101: a token that this log did not hand out for this very watch is refused as what it is.
func TestForeignTokens(t *testing.T) {
	t.Parallel()
	elsewhere := newDeliverer(t)
	foreign := elsewhere.firstToken(t, elsewhere.serve(t))
	d := newDeliverer(t)
	l, goroutines := d.settled(t)
	right := d.firstToken(t, l)
	conn := l.dial(t)
	for _, req := range append(forgedTokens(right), behind(foreign, "f1"), behind(pageToken(t, conn, right), "f1")) {
		stream, err := tallydv1.NewSubmissionServiceClient(conn).WatchSubmissions(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if code, reason := reasonOf(err); code != codes.InvalidArgument || reason != "RESUME_TOKEN_INVALID" {
			t.Errorf("a watch of %v with token %q where %q is right = %v, %v, want InvalidArgument RESUME_TOKEN_INVALID",
				req.GetFormIds(), req.GetResumeToken(), right, m, err)
		}
	}
	w := watchOver(t, conn, behind(right, "f1"))
	if got := say(w.event(t)); got != "f1 2 s2" {
		t.Errorf("behind the right token comes %s, want f1 2 s2", got)
	}
	w.close()
	conn.Close()
	d.checkAfter(t, l, goroutines)
}

// forgedTokens are watches with tokens that come near the right one, or with that one for other forms.
func forgedTokens(right string) []*tallydv1.WatchSubmissionsRequest {
	requests := []*tallydv1.WatchSubmissionsRequest{
		behind(right, "f2"), behind(right, "f1", "f2"), behind(right, "f2", "f1"),
		behind(right+right, "f1"), behind(right+"A", "f1"), behind(" "+right, "f1"), behind("!", "f1"),
	}
	for i := range len(right) {
		flipped := []byte(right)
		flipped[i] = letters[(strings.IndexByte(letters, flipped[i])+1)%len(letters)]
		requests = append(requests, behind(string(flipped), "f1"), behind(right[:max(i, 1)], "f1"), behind(right[i+1:]+"A", "f1"))
	}
	return requests
}

// pageToken returns the token of a page of the same log, which does not take one of a watch.
func pageToken(t *testing.T, conn *grpc.ClientConn, resume string) string {
	t.Helper()
	events := tallydv1.NewSubmissionEventServiceClient(conn)
	req := &tallydv1.ListSubmissionEventsRequest{FormId: "f1", PageSize: 1, PageToken: resume}
	_, err := events.ListSubmissionEvents(t.Context(), req)
	if code, reason := reasonOf(err); code != codes.InvalidArgument || reason != "PAGE_TOKEN_INVALID" {
		t.Errorf("a page behind a watch's token = %v, want InvalidArgument PAGE_TOKEN_INVALID", err)
	}
	req.PageToken = ""
	page, err := events.ListSubmissionEvents(t.Context(), req)
	if err != nil || page.GetNextPageToken() == "" {
		t.Fatalf("ListSubmissionEvents() = %v, %v, want a page with another behind it", page, err)
	}
	return page.GetNextPageToken()
}

// letters are what a token is written with.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
