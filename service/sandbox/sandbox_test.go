package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// bench is a sandbox behind a server, and the calls a test makes on it.
type bench struct {
	t      *testing.T
	s      *Sandbox
	url    string
	key    string
	header http.Header
}

func start(t *testing.T, opts ...Option) *bench {
	t.Helper()
	s, err := New(opts...)
	if err != nil {
		t.Fatalf("New() = %v, want no error", err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		s.Close()
		server.Close()
	})
	return &bench{t: t, s: s, url: server.URL, key: "tly-sandbox", header: http.Header{}}
}

// in reports to the subtest.
func (b *bench) in(t *testing.T) *bench {
	t.Helper()
	other := *b
	other.t = t
	return &other
}

func (b *bench) as(key string) *bench {
	other := *b
	other.key = key
	return &other
}

func (b *bench) with(name, value string) *bench {
	other := *b
	other.header = b.header.Clone()
	other.header.Set(name, value)
	return &other
}

// answerOf is a response read to its end.
type answerOf struct {
	t      *testing.T
	call   string
	status int
	header http.Header
	body   string
}

func (b *bench) do(call string, body ...string) answerOf {
	b.t.Helper()
	a, err := b.try(call, body...)
	if err != nil {
		b.t.Fatalf("%s: %v", call, err)
	}
	return a
}

func (b *bench) try(call string, body ...string) (answerOf, error) {
	b.t.Helper()
	method, path, _ := strings.Cut(call, " ")
	var sent io.Reader
	if len(body) > 0 {
		sent = bytes.NewBufferString(body[0])
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, sent)
	if err != nil {
		b.t.Fatalf("%s: %v", call, err)
	}
	if sent != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	maps.Copy(req.Header, b.header)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return answerOf{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answerOf{b.t, call, resp.StatusCode, resp.Header, string(text)}, err
}

func (a answerOf) want(status int) answerOf {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s = %d %s, want %d", a.call, a.status, a.body, status)
	}
	return a
}

func (a answerOf) wantBody(body string) {
	a.t.Helper()
	if a.body != body {
		a.t.Errorf("%s = %s, want %s", a.call, a.body, body)
	}
}

// at walks the JSON body: "items.0.id"; "#" asks for a length.
func (a answerOf) at(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("%s = %s, want JSON", a.call, a.body)
	}
	return walk(a.t, v, path)
}

func walk(t *testing.T, v any, path string) any {
	t.Helper()
	for step := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			if step == "#" {
				v = len(node)
				continue
			}
			v = node[step]
		case []any:
			if step == "#" {
				v = len(node)
				continue
			}
			var i int
			if err := json.Unmarshal([]byte(step), &i); err != nil || i >= len(node) {
				t.Fatalf("path %q leaves a list of %d", path, len(node))
			}
			v = node[i]
		default:
			return nil
		}
	}
	return v
}

func (a answerOf) wantAt(path string, want any) answerOf {
	a.t.Helper()
	if got := a.at(path); got != want {
		a.t.Errorf("%s at %q = %v, want %v", a.call, path, got, want)
	}
	return a
}

func TestBearer(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, header string
		want         int
	}{
		{"good key", "Bearer tly-sandbox", 200},
		{"scheme in lower case", "bearer tly-sandbox", 200},
		{"other organization's key", "Bearer tly-sandbox-other", 200},
		{"unknown key", "Bearer tly-nobody", 401},
		{"no header", "", 401},
		{"another scheme", "Basic tly-sandbox", 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.with("Authorization", tc.header).do("GET /users/me").want(tc.want)
			if tc.want == 401 {
				a.wantBody("Unauthorized")
			}
		})
	}
}
