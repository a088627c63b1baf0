package statuspage

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func facts() Facts {
	return Facts{
		Version: "1.2.3", Revision: "abcdef", Started: at(0), TallyHost: "api.tally.so",
		KeyAlias: "a1b2c3", KeyState: "rejected", KeySince: at(5), Drift: 7, CircuitOpen: true, InFlight: 12,
		Memory: Memory{Entries: 3, Bytes: 3 << 19, Stored: 20, Shared: 5, Fetched: 9},
		Events: &Events{Failure: "<b>disk</b>", Forms: []FormEvents{
			{Form: "JobApp", Sequence: 42, Last: at(20), Lag: 1500 * time.Millisecond, Watchers: 3, Gaps: 1, Webhook: "ok", Compared: at(10)},
			{Form: "Feedbk", Webhook: "none", Failure: "<i>broken</i>"},
		}},
		Quota: &Quota{Limit: 100, Margin: 10, Used: 55, Waiting: 4, BatchWaiting: 1, PausedUntil: at(30), Shares: []Share{
			{Name: "<b>web</b>", Weight: 3, Used: 30, Waiting: 3}, {Batch: true, Weight: 1, Used: 20, Waiting: 1},
		}},
	}
}

// page serves the page on a real port and returns it as a browser gets it.
func page(t *testing.T, r *Recorder) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(Handler(r, facts))
	t.Cleanup(server.Close)
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestPage shows what a person looks for.
func TestPage(t *testing.T) {
	r := NewRecorder()
	r.Observe(Call{Time: at(1), Caller: "billing", Service: "tallyd.v1.FormService", Method: "GetForm"})
	r.Observe(Call{
		Time: at(9), Service: "tallyd.v1.UserService", Method: "GetCurrentUser", RequestID: "req-1", Code: "Unauthenticated", Reason: "TALLY_KEY_REJECTED",
	})
	resp, body := page(t, r)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("GET / = %s %s, want 200 text/html", resp.Status, resp.Header.Get("Content-Type"))
	}
	text := strings.Join(strings.Fields(strings.Join(words(t, body), " ")), " ")
	for _, want := range []string{
		"Key rejected since 2026-11-23 12:00:05Z (a1b2c3)", "Tally api.tally.so", "Version 1.2.3 abcdef", "Drift 7 values",
		"Requests suspended", "In flight 12 calls", "3 answers in 1.5 MiB; reads answered from memory 20, with a call under way 5, by Tally 9",
		"55 of 100 used, 10 left to others who use the key; 4 calls wait, 1 of them batch.", "Paused until 2026-11-23 12:00:30Z",
		"<b>web</b> interactive 3 30 3", "anonymous batch 1 20 1",
		"The log cannot be used : <b>disk</b>", "JobApp 42 2026-11-23 12:00:20Z 1s 3 1 ok 2026-11-23 12:00:10Z",
		"Feedbk 0 – – 0 0 none – failed since : <i>broken</i>",
		"billing 1 0 2026-11-23 12:00:01Z", "anonymous 1 1 2026-11-23 12:00:09Z", "TALLY_KEY_REJECTED 1",
		"2026-11-23 12:00:09Z tallyd.v1.UserService/GetCurrentUser Unauthenticated TALLY_KEY_REJECTED anonymous req-1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}

// words returns the text that a browser without style sheets shows.
func words(t *testing.T, body string) (words []string) {
	t.Helper()
	tokens, hidden := html.NewTokenizer(strings.NewReader(body)), false
	for {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			return words
		case html.StartTagToken, html.EndTagToken:
			if name, _ := tokens.TagName(); string(name) == "style" {
				hidden = kind == html.StartTagToken
			}
		case html.TextToken:
			if !hidden {
				words = append(words, tokens.Token().Data)
			}
		}
	}
}

// TestPageIsEscaped shows hostile names as the text that they are.
func TestPageIsEscaped(t *testing.T) {
	for _, hostile := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "</table><h1>x", "\xff\xfe<b>", "{{.}}"} {
		t.Run(hostile, func(t *testing.T) {
			r := NewRecorder()
			r.Observe(Call{Time: at(1), Caller: hostile, Service: hostile, Method: hostile, Code: hostile, Reason: hostile, RequestID: hostile})
			_, body := page(t, r)
			if want := strings.ToValidUTF8(hostile, ""); strings.Count(strings.Join(words(t, body), ""), want) < 6 {
				t.Errorf("the page does not show %q as text", want)
			}
			for _, tag := range []string{"<script", "<img", "<b>", "<h1>x"} {
				if strings.Contains(body, tag) {
					t.Errorf("the page holds %s", tag)
				}
			}
		})
	}
}

// foreign is anything that a browser would run or fetch.
var foreign = regexp.MustCompile(`(?i)<(script|link|img|iframe|form|object)|\son[a-z]+=|url\(|@import|https?:`)

// TestPageIsAlone holds nothing to run or to fetch, and says so in its headers.
func TestPageIsAlone(t *testing.T) {
	r := NewRecorder()
	for i := range 300 {
		r.Observe(Call{Time: at(i), Caller: fmt.Sprintf("caller-%d", i), Code: "Internal", Reason: "PANIC"})
	}
	resp, body := page(t, r)
	if found := foreign.FindString(body); found != "" {
		t.Errorf("the page holds %q", found)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	text := strings.Join(words(t, body), " ")
	if got := strings.Count(text, "caller-"); got != shownCallers+shownErrors || !strings.Contains(text, "200 callers that called longer ago") {
		t.Errorf("the page names callers %d times, want %d and how many are missing", got, shownCallers+shownErrors)
	}
	if !strings.Contains(text, "caller-299") || strings.Contains(text, "caller-199") {
		t.Error("the page does not show the latest callers")
	}
}

// TestPageIsForThisMachine refuses everybody else in one sentence, and shows nothing.
func TestPageIsForThisMachine(t *testing.T) {
	tests := []struct {
		name, peer, host string
		header           http.Header
		want             int
	}{
		{"port-forward", "127.0.0.1:4711", "localhost:9464", nil, 200},
		{"port-forward by address", "127.0.0.1:4711", "127.0.0.1:9464", nil, 200},
		{"IPv6", "[::1]:4711", "[::1]:9464", nil, 200},
		{"IPv6 without a port", "[::1]:4711", "[::1]", nil, 200},
		{"IPv4 as IPv6", "[::ffff:127.0.0.1]:4711", "LOCALHOST", nil, 200},
		{"neighbour", "10.0.0.7:4711", "localhost:9464", nil, 403},
		{"neighbour who owns up", "10.0.0.7:4711", "10.0.0.1:9464", nil, 403},
		{"sidecar that hands on", "127.0.0.6:4711", "localhost:9464", nil, 403},
		{"proxy beside us", "127.0.0.1:4711", "localhost", http.Header{"X-Forwarded-For": {"10.0.0.7"}}, 403},
		{"mesh beside us", "127.0.0.1:4711", "localhost", http.Header{"X-Forwarded-Client-Cert": {"By=x"}}, 403},
		{"rebound name", "127.0.0.1:4711", "evil.example:9464", nil, 403},
		{"rebound name that looks alike", "127.0.0.1:4711", "localhost.evil.example", nil, 403},
		{"address that looks alike", "127.0.0.1:4711", "127.0.0.1.evil.example", nil, 403},
		{"private address as name", "127.0.0.1:4711", "10.0.0.1:9464", nil, 403},
		{"no name", "127.0.0.1:4711", "", nil, 403},
		{"no peer", "", "localhost", nil, 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr, r.Host = test.peer, test.host
			maps.Copy(r.Header, test.header)
			w := httptest.NewRecorder()
			Handler(NewRecorder(), facts).ServeHTTP(w, r)
			body := w.Body.String()
			if w.Code != test.want || (w.Code == 403) == strings.Contains(body, "api.tally.so") {
				t.Errorf("GET / from %s for %s = %d %s, want %d", test.peer, test.host, w.Code, body, test.want)
			}
			if w.Code == 403 && strings.Count(body, "\n") != 1 {
				t.Errorf("refusal = %q, want one sentence", body)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q, want no-store", got)
			}
		})
	}
}

// TestPageOnASocket answers over a unix socket, whose peers have no address.
func TestPageOnASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: Handler(NewRecorder(), facts)}}
	server.Start()
	t.Cleanup(server.Close)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("GET / = %.200s, %v, want 200", got, err)
	}
}

// TestBar draws each part as wide as it is, and never more than there is room for.
func TestBar(t *testing.T) {
	_, body := page(t, NewRecorder())
	got := regexp.MustCompile(`class="([a-z0-9]+)" style="width: ([0-9.]+)%" title="([^"]*)"`).FindAllStringSubmatch(body, -1)
	var parts []string
	for _, part := range got {
		parts = append(parts, strings.Join(part[1:], " "))
	}
	want := []string{"c0 30.00 &lt;b&gt;web&lt;/b&gt;", "c1 20.00 anonymous", "before 5.00 before this start", "margin 10.00 left to others"}
	if !slices.Equal(parts, want) {
		t.Errorf("the bar has %q, want %q", parts, want)
	}
	crowded := &Quota{Limit: 10, Margin: 5, Used: 15, Shares: []Share{{Name: "a", Used: 15}}}
	sum := 0.0
	for _, part := range crowded.bar() {
		sum += part.Percent
	}
	if sum > 100.001 {
		t.Errorf("the bar of %+v is %v %% long, want at most 100", crowded, sum)
	}
}
