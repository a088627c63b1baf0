package tally_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

func itoa(n int) string { return strconv.Itoa(n) }

type step = func(net.Conn, *http.Request)

// faultWant is how a call under a fault ends, and how many requests of it Tally saw.
type faultWant struct {
	kind     tally.Kind
	outcome  tally.Outcome
	requests int64
}

// The three kinds of calls that a fault can hit.
func read() (proto.Message, proto.Message) {
	return &tallydv1.GetFormRequest{FormId: "f1"}, &tallydv1.GetFormResponse{}
}

func write() (proto.Message, proto.Message) {
	return &tallydv1.CreateWorkspaceRequest{Name: "n"}, &tallydv1.CreateWorkspaceResponse{}
}

func remove() (proto.Message, proto.Message) {
	return &tallydv1.DeleteFormRequest{FormId: "f1"}, &tallydv1.DeleteFormResponse{}
}

// retry is a write without a body.
func retry() (proto.Message, proto.Message) {
	return &tallydv1.RetryWebhookEventRequest{WebhookId: "w1", EventId: "e1"}, &tallydv1.RetryWebhookEventResponse{}
}

func quick(c *tally.Config) {
	c.Limits.Connect, c.Limits.TLS = 300*time.Millisecond, 300*time.Millisecond
	c.Limits.Header, c.Limits.Total = 150*time.Millisecond, 300*time.Millisecond
	c.Limits.Body = 1 << 20
}

const (
	okForm   = `{"id":"f1"}`
	html     = "<!DOCTYPE html><html><title>502 Bad Gateway</title>"
	json     = "Content-Type: application/json"
	htmlType = "Content-Type: text/html"
)

// TestFaults hits a read and a write with each fault of Tally's HTTP, of its payload and of the network. wantRequests counts what
// Tally saw of the read and of the write: a write never more than once.
func TestFaults(t *testing.T) {
	gz := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.String()
	}
	bomb := gz(strings.Repeat("0", 64<<20))
	badCRC := []byte(gz(okForm))
	badCRC[len(badCRC)-8] ^= 0xff
	type want = faultWant
	ok := want{requests: 1}
	both := func(kind tally.Kind, outcome tally.Outcome) [2]want {
		return [2]want{{kind, outcome, 1}, {kind, outcome, 1}}
	}
	protocol := [2]want{{tally.KindProtocol, tally.OutcomeUnknown, 1}, {tally.KindProtocol, tally.OutcomeApplied, 1}}
	repeated := func(kind tally.Kind) [2]want {
		return [2]want{{kind, tally.OutcomeUnknown, 2}, {kind, tally.OutcomeUnknown, 1}}
	}
	status := repeated(tally.KindStatus)
	tests := []struct {
		name  string
		steps []step
		want  [2]want
	}{
		{"row 7: 500 after processing", []step{reply("500 X", json, `{}`)}, status},
		{"row 8: 502 page", []step{reply("502 X", htmlType, html)}, status},
		{"row 8: 504 page", []step{reply("504 X", htmlType, html)}, status},
		{"row 8: 520 page", []step{reply("520 X", htmlType, html)}, status},
		{"row 8: 524 page", []step{reply("524 X", htmlType, html)}, status},
		{"row 9: 521", []step{reply("521 X", htmlType, html)}, [2]want{{tally.KindStatus, tally.OutcomeRejected, 2}, {tally.KindStatus, tally.OutcomeRejected, 1}}},
		{"row 9: 525", []step{reply("525 X", htmlType, html)}, [2]want{{tally.KindStatus, tally.OutcomeRejected, 2}, {tally.KindStatus, tally.OutcomeRejected, 1}}},
		{"row 10: edge block", []step{reply("403 X", "Cf-Ray: r1", "error code: 1010")}, both(tally.KindEdgeBlocked, tally.OutcomeRejected)},
		{"row 11: challenge with 200", []step{reply("200 OK", htmlType, "<html>Just a moment...</html>")}, protocol},
		{"row 11: challenge with 403", []step{reply("403 X", htmlType, "<html>Just a moment...</html>")}, both(tally.KindEdgeChallenge, tally.OutcomeRejected)},
		{"row 11: challenge by header", []step{reply("503 X", "Cf-Mitigated: challenge", "")}, both(tally.KindEdgeChallenge, tally.OutcomeRejected)},
		{"row 12: 404 page", []step{reply("404 X", htmlType, html)}, both(tally.KindProtocol, tally.OutcomeRejected)},
		{"row 12: 404 of nobody", []step{reply("404 X", "", "")}, both(tally.KindProtocol, tally.OutcomeRejected)},
		{"row 13: 404 JSON", []step{reply("404 X", json, `{"message":"Form was not found"}`)}, both(tally.KindStatus, tally.OutcomeRejected)},
		{"row 16: 401, key alive", []step{reply("401 X", "", "Unauthorized")}, both(tally.KindFeature, tally.OutcomeRejected)},
		{"row 17: 403 JSON", []step{reply("403 X", json, `{"message":"no"}`)}, both(tally.KindStatus, tally.OutcomeRejected)},
		{"402", []step{reply("402 X", json, `{"message":"pay"}`)}, both(tally.KindFeature, tally.OutcomeRejected)},
		{"row 21: early hints", []step{say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + okForm)}, [2]want{ok, ok}},
		{"row 21: flood of 1xx", []step{cut(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 500)+"\r\n\r\n", 400))}, repeated(tally.KindReset)},
		{"row 22: 204 where a body is due", []step{reply("204 No Content", "", "")}, protocol},
		{"row 23: 418", []step{reply("418 X", "", "")}, both(tally.KindStatus, tally.OutcomeRejected)},
		{"row 23: 299", []step{reply("299 X", json, okForm)}, [2]want{ok, ok}},
		{"row 23: 999", []step{reply("999 X", "", "")}, both(tally.KindStatus, tally.OutcomeUnknown)},
		{"row 25: truncated JSON", []step{reply("200 OK", json, `{"id":"f`)}, protocol},
		{"row 26: body shorter than told", []step{cut("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + okForm)}, [2]want{{tally.KindTruncated, tally.OutcomeUnknown, 2}, {tally.KindTruncated, tally.OutcomeApplied, 1}}},
		{"row 26: chunks without end", []step{cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" + okForm + "\r\n")}, [2]want{{tally.KindTruncated, tally.OutcomeUnknown, 2}, {tally.KindTruncated, tally.OutcomeApplied, 1}}},
		{"row 27: over the cap, told", []step{cut("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n")}, [2]want{{tally.KindTooLarge, tally.OutcomeUnknown, 1}, {tally.KindTooLarge, tally.OutcomeApplied, 1}}},
		{"row 28: gzip bomb", []step{reply("200 OK", "Content-Encoding: gzip", bomb)}, [2]want{{tally.KindTooLarge, tally.OutcomeUnknown, 1}, {tally.KindTooLarge, tally.OutcomeApplied, 1}}},
		{"row 29: gzip", []step{reply("200 OK", "Content-Encoding: gzip", gz(okForm))}, [2]want{ok, ok}},
		{"row 29: gzip twice", []step{reply("200 OK", "Content-Encoding: gzip", gz(gz(okForm)))}, protocol},
		{"row 29: unknown encoding", []step{reply("200 OK", "Content-Encoding: br", okForm)}, protocol},
		{"row 29: bad checksum", []step{reply("200 OK", "Content-Encoding: gzip", string(badCRC))}, protocol},
		{"row 29: no gzip at all", []step{reply("200 OK", "Content-Encoding: gzip", okForm)}, protocol},
		{"row 30: nested arrays", []step{reply("200 OK", json, `{"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}")}, protocol},
		{"row 31: key twice", []step{reply("200 OK", json, `{"id":"a","id":"b"}`)}, protocol},
		{"row 40: byte order mark", []step{reply("200 OK", json, "\uFEFF"+okForm)}, protocol},
		{"row 40: trailing garbage", []step{reply("200 OK", json, okForm+"x")}, protocol},
		{"row 40: two values", []step{reply("200 OK", json, okForm+okForm)}, protocol},
		{"row 41: wrong type, good JSON", []step{reply("200 OK", htmlType, okForm)}, [2]want{ok, ok}},
		{"row 41: right type, HTML", []step{reply("200 OK", json, html)}, protocol},
		{"row 46: header that never comes", []step{hang}, [2]want{{tally.KindTimeout, tally.OutcomeUnknown, 1}, {tally.KindTimeout, tally.OutcomeUnknown, 1}}},
		{"row 46: body that never ends", []step{func(c net.Conn, r *http.Request) {
			say("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{")(c, r)
			hang(c, r)
		}}, [2]want{{tally.KindTimeout, tally.OutcomeUnknown, 1}, {tally.KindTimeout, tally.OutcomeApplied, 1}}},
		{"row 47: reset, then fine", []step{reset, reply("200 OK", json, okForm)}, [2]want{{requests: 2}, {tally.KindReset, tally.OutcomeUnknown, 1}}},
		{"row 48: reset after the request was read", []step{reset}, repeated(tally.KindReset)},
		{"no HTTP at all", []step{cut("220 smtp.example.com ESMTP\r\n")}, repeated(tally.KindReset)},
	}
	for _, test := range tests {
		for i, call := range []func() (proto.Message, proto.Message){read, write} {
			effect := []string{"read", "write"}[i]
			t.Run(test.name+"/"+effect, func(t *testing.T) {
				fake := play(t, test.steps...)
				leavesNothing(t)
				client := clientFor(t, fake.url(), quick)
				req, resp := call()
				err := client.Call(t.Context(), req, resp)
				checkFault(t, err, test.want[i].kind, test.want[i].outcome)
				if got := fake.requests.Load(); got != test.want[i].requests {
					t.Errorf("Tally saw %d requests, want %d", got, test.want[i].requests)
				}
			})
		}
	}
}

// checkFault compares an error's kind and outcome, and demands that nothing of Tally's page is in what a caller may read.
func checkFault(t *testing.T, err error, kind tally.Kind, outcome tally.Outcome) {
	t.Helper()
	if kind == 0 {
		if err != nil {
			t.Errorf("Call() = %v, want nil", err)
		}
		return
	}
	failure, ok := errors.AsType[*tally.Error](err)
	if !ok {
		t.Fatalf("Call() = %v, want a *tally.Error", err)
	}
	if failure.Kind != kind || failure.Outcome != outcome {
		t.Errorf("Call() = %s, %s (%v), want %s, %s", failure.Kind, failure.Outcome, err, kind, outcome)
	}
	if strings.Contains(failure.Message, "<") || len([]rune(failure.Message)) > 200 {
		t.Errorf("Message = %q, want no HTML and at most 200 characters", failure.Message)
	}
}

// TestRedirectsAreNeverFollowed covers rows 18 to 20: the key must not travel, not even to a sub-domain or another port.
func TestRedirectsAreNeverFollowed(t *testing.T) {
	elsewhere := play(t, reply("200 OK", json, okForm))
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		for name, call := range map[string]func() (proto.Message, proto.Message){"read": read, "write": write} {
			t.Run(status+" "+name, func(t *testing.T) {
				fake := play(t, reply(status+" X", "Location: "+elsewhere.url()+"/secret?token=abc", ""))
				leavesNothing(t)
				client := clientFor(t, fake.url())
				req, resp := call()
				err := client.Call(t.Context(), req, resp)
				checkFault(t, err, tally.KindRedirect, tally.OutcomeUnknown)
				failure, _ := errors.AsType[*tally.Error](err)
				if want := strings.TrimPrefix(elsewhere.url(), "http://"); failure.RedirectHost != want {
					t.Errorf("RedirectHost = %q, want %q", failure.RedirectHost, want)
				}
				if n := fake.requests.Load(); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
			})
		}
	}
	if n := elsewhere.requests.Load(); n != 0 {
		t.Errorf("the other server saw %d requests, want 0", n)
	}
}

// TestDeleteIsRepeatedOnce covers row 14: a delete whose answer was lost and that finds nothing the second time has succeeded.
func TestDeleteIsRepeatedOnce(t *testing.T) {
	notFound := reply("404 X", json, `{"message":"Form was not found"}`)
	tests := []struct {
		name         string
		steps        []step
		wantKind     tally.Kind
		wantOutcome  tally.Outcome
		wantRequests int64
	}{
		{"reset after processing", []step{reset, notFound}, 0, "", 2},
		{"not there from the start", []step{notFound}, tally.KindStatus, tally.OutcomeRejected, 1},
		{"refused before, then not there", []step{reply("521 X", "", ""), notFound}, tally.KindStatus, tally.OutcomeRejected, 2},
		{"silence twice", []step{reset}, tally.KindReset, tally.OutcomeUnknown, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := play(t, test.steps...)
			leavesNothing(t)
			req, resp := remove()
			err := clientFor(t, fake.url()).Call(t.Context(), req, resp)
			checkFault(t, err, test.wantKind, test.wantOutcome)
			if got := fake.requests.Load(); got != test.wantRequests {
				t.Errorf("Tally saw %d requests, want %d", got, test.wantRequests)
			}
		})
	}
}

// TestRetryShare holds repetitions to a tenth of the calls, with a reserve for quiet times. Tally fails two times of three, which is
// too seldom for the breaker.
func TestRetryShare(t *testing.T) {
	const calls = 60
	var steps []step
	for range calls {
		steps = append(steps, reply("503 X", "", ""), reply("503 X", "", ""), reply("200 OK", json, okForm))
	}
	fake := play(t, steps...)
	leavesNothing(t)
	client := clientFor(t, fake.url())
	for range calls {
		req, resp := read()
		if err := client.Call(t.Context(), req, resp); err != nil {
			checkFault(t, err, tally.KindStatus, tally.OutcomeUnknown)
		}
	}
	if got := fake.requests.Load(); got <= calls || got > calls+calls/10+3 {
		t.Errorf("Tally saw %d requests of %d calls, want some repeated and at most a tenth and the reserve", got, calls)
	}
}

// TestKeyNeverShown covers row 42: whatever Tally echoes, the key is in nothing that an error says, to a caller or to a log.
func TestKeyNeverShown(t *testing.T) {
	echo := "bad key " + testKey
	steps := map[string]step{
		"JSON":      reply("400 X", json, `{"message":"`+echo+`","errors":[{"message":"`+echo+`","field":"`+testKey+`"}]}`),
		"text":      reply("418 X", "", echo),
		"halved":    reply("418 X", "", strings.Repeat(" ", 8<<10-len(testKey)/2)+testKey),
		"halved 4K": reply("418 X", "", strings.Repeat(" ", 4<<10-len(testKey)/2)+testKey),
		"in JSON":   reply("400 X", json, `{"message":"`+strings.Repeat(" ", 8<<10-len(testKey)/2)+testKey+`"}`),
		"headers":   reply("500 X", "Cf-Ray: "+testKey+"\nX-Request-Id: "+testKey, ""),
		"location":  reply("302 X", "Location: https://"+testKey+".example.com/", ""),
		"encoding":  reply("200 OK", "Content-Encoding: "+testKey, ""),
		"no HTTP":   cut(echo + "\r\n\r\n"),
		"bad value": reply("200 OK", json, `{"`+testKey+`":{}} `+testKey),
	}
	for name, s := range steps {
		t.Run(name, func(t *testing.T) {
			fake := play(t, s)
			leavesNothing(t)
			client := clientFor(t, fake.url())
			req, resp := write()
			err := client.Call(t.Context(), req, resp)
			failure, ok := errors.AsType[*tally.Error](err)
			if !ok {
				t.Fatalf("Call() = %v, want a *tally.Error", err)
			}
			shown := err.Error() + failure.Message + failure.Ray + failure.RequestID + failure.RedirectHost
			for _, v := range failure.Violations {
				shown += v.Field + v.Key + v.Code + v.Description
			}
			if strings.Contains(shown, testKey[4:14]) {
				t.Errorf("the error shows the key: %s", shown)
			}
		})
	}
}
