package sandbox

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// faulty is a sandbox that plays the rules.
func faulty(t *testing.T, rules string) *bench {
	t.Helper()
	script, err := ParseFaults(strings.NewReader(rules))
	if err != nil {
		t.Fatalf("ParseFaults(%s) = %v, want no error", rules, err)
	}
	return start(t, WithFaults(script), WithRate(0))
}

func TestScriptedAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, rule, wantBody string
		wantStatus           int
		wantHeader           map[string]string
	}{
		{"status alone", `"status":503`, ``, 503, nil},
		{"with a header", `"status":429,"headers":{"Retry-After":"7"}`, ``, 429, map[string]string{"Retry-After": "7"}},
		{"a bad header", `"status":429,"headers":{"Retry-After":"NaN"}`, ``, 429, map[string]string{"Retry-After": "NaN"}},
		{"a date", `"status":429,"headers":{"Date":"Mon, 01 Jan 2024 00:00:00 GMT"}`, ``, 429, map[string]string{"Date": "Mon, 01 Jan 2024 00:00:00 GMT"}},
		{"JSON", `"status":404,"body":{"message":"Form was not found"}`, `{"message":"Form was not found"}`, 404, map[string]string{"Content-Type": "application/json; charset=utf-8"}},
		{"HTML with 200", `"body":"<html>challenge</html>","headers":{"Content-Type":"text/html"}`, `<html>challenge</html>`, 200, map[string]string{"Content-Type": "text/html"}},
		{"plain 401", `"status":401,"body":"Unauthorized"`, `Unauthorized`, 401, nil},
		{"teapot", `"status":418`, ``, 418, nil},
		{"999", `"status":999,"body":"x"`, `x`, 999, nil},
		{"no content", `"status":204`, ``, 204, nil},
		{"redirect", `"redirect":"https://example.com/x"`, ``, 302, map[string]string{"Location": "https://example.com/x"}},
		{"another redirect", `"redirect":"http://localhost:1/","status":308`, ``, 308, map[string]string{"Location": "http://localhost:1/"}},
		{"bytes", `"bodyBase64":"77u/e30="`, "\ufeff{}", 200, nil},
		{"invalid UTF-8", `"bodyBase64":"eyJhIjoi/yJ9"`, "{\"a\":\"\xff\"}", 200, nil},
		{"nesting", `"repeat":{"before":"","unit":"[","times":5}`, `[[[[[`, 200, nil},
		{"filling", `"repeat":{"before":"[","unit":"1,","times":3,"after":"1]"}`, `[1,1,1,1]`, 200, nil},
		{"echo of the key", `"status":400,"body":"bad key {{key}}!"`, `bad key tly-sandbox!`, 400, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := faulty(t, `[{"route":"GET /users/me",`+tc.rule+`}]`)
			a := b.do("GET /users/me").want(tc.wantStatus)
			a.wantBody(tc.wantBody)
			for name, want := range tc.wantHeader {
				if got := a.header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestTwoHeaders(t *testing.T) {
	a := faulty(t, `[{"route":"*","status":429,"headers":{"Retry-After":["1","99"]}}]`).do("GET /forms").want(429)
	if got := a.header["Retry-After"]; len(got) != 2 {
		t.Errorf("Retry-After = %q, want two", got)
	}
}

func TestFaultsEnd(t *testing.T) {
	b := faulty(t, `[{"route":"GET /users/me","calls":"2","status":503},{"route":"GET /users/me","calls":"4-","status":500}]`)
	var got []int
	for range 5 {
		got = append(got, b.do("GET /users/me").status)
	}
	b.s.SetFaults(nil)
	got = append(got, b.do("GET /users/me").status)
	want := []int{200, 503, 200, 500, 500, 200}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("call %d = %d, want %d", i+1, got[i], want[i])
		}
	}
}

func TestFaultsNeedNoKey(t *testing.T) {
	faulty(t, `[{"route":"*","status":503}]`).as("nobody").do("GET /nowhere").want(503)
}

// The write is carried out, only its answer is lost.
func TestAfter(t *testing.T) {
	b := faulty(t, `[
		{"route":"POST /forms","calls":"1","after":true,"status":500,"body":"boom"},
		{"route":"POST /forms","calls":"2","status":500},
		{"route":"POST /forms","calls":"3","after":true,"reset":true},
		{"route":"POST /forms","calls":"4","reset":true},
		{"route":"DELETE /forms/Contct","calls":"1","after":true,"reset":true}]`)
	const body = `{"status":"DRAFT","blocks":[]}`
	total := func(want float64) {
		t.Helper()
		b.do("GET /forms").want(200).wantAt("total", want)
	}
	b.do("POST /forms", body).want(500).wantBody("boom")
	total(13)
	b.do("POST /forms", body).want(500)
	total(13)
	for _, want := range []float64{14, 14} {
		if _, err := b.try("POST /forms", body); err == nil {
			t.Errorf("POST /forms = no error, want a reset")
		}
		total(want)
	}
	if _, err := b.try("DELETE /forms/Contct"); !isReset(err) {
		t.Errorf("DELETE = %v, want a reset", err)
	}
	b.do("DELETE /forms/Contct").want(404)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset")
}

func TestResetIsAReset(t *testing.T) {
	b := faulty(t, `[{"route":"*","reset":true}]`)
	conn := b.dial()
	io.WriteString(conn, "GET /users/me HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read() = %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestResetInTheBody(t *testing.T) {
	b := faulty(t, `[{"route":"GET /users/me","reset":true,"cut":4}]`)
	a, err := b.try("GET /users/me")
	if err == nil || len(a.body) > 4 {
		t.Errorf("GET = %q (%v), want at most 4 bytes and an error", a.body, err)
	}
}

func (b *bench) dial() net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatalf("Dial() = %v, want no error", err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return conn
}

func TestCut(t *testing.T) {
	whole := faulty(t, `[]`).do("GET /users/me").want(200).body
	for _, tc := range []struct {
		name, rule string
		wantBody   string
		wantErr    error
	}{
		{"length too big", `"cut":10`, whole[:10], io.ErrUnexpectedEOF},
		{"length right", `"cut":10,"length":"right"`, whole[:10], nil},
		{"nothing", `"cut":0`, "", io.ErrUnexpectedEOF},
		{"more than there is", `"cut":100000`, whole, nil},
		{"a scripted body", `"cut":3,"body":"abcdef"`, "abc", io.ErrUnexpectedEOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := faulty(t, `[{"route":"GET /users/me",`+tc.rule+`}]`).try("GET /users/me")
			if a.body != tc.wantBody || !errors.Is(err, tc.wantErr) {
				t.Errorf("body = %q (%v), want %q (%v)", a.body, err, tc.wantBody, tc.wantErr)
			}
		})
	}
}

func TestSet(t *testing.T) {
	b := faulty(t, `[{"route":"GET /forms","set":{"hasMore":true,"items.0.id":7,"items.1.name":null,"items.99.id":"x","new":{"a":[1]}}}]`)
	b.do("GET /forms?limit=3").want(200).wantAt("hasMore", true).wantAt("items.0.id", 7.0).wantAt("items.1.name", nil).
		wantAt("items.#", 3).wantAt("new.a.0", 1.0).wantAt("total", 12.0)
	text := faulty(t, `[{"route":"*","set":{"a":1}}]`).as("nobody").do("GET /forms").want(401)
	text.wantBody("Unauthorized")
}

func TestSubmitDuringPaging(t *testing.T) {
	b := faulty(t, `[{"route":"GET /forms/{formId}/submissions","calls":"2","submit":{"form":"Contct","count":3}}]`)
	page := func(n string) []any {
		return b.do("GET /forms/Contct/submissions?limit=5&page=" + n).want(200).at("submissions").([]any)
	}
	one, two := page("1"), page("2")
	for i := range 3 {
		if got, want := walk(t, two[i], "id"), walk(t, one[i+2], "id"); got != want {
			t.Errorf("page 2 item %d = %v, want %v again", i, got, want)
		}
	}
}

func TestSubmitToUnknownForm(t *testing.T) {
	b := faulty(t, `[{"route":"*","submit":{"form":"nobody","count":1}}]`)
	b.do("GET /users/me").want(200)
}

func TestGzip(t *testing.T) {
	for _, tc := range []struct {
		name, rule string
		layers     int
	}{{"once", `"gzip":1`, 1}, {"twice", `"gzip":2`, 2}} {
		t.Run(tc.name, func(t *testing.T) {
			a := faulty(t, `[{"route":"*",`+tc.rule+`}]`).with("Accept-Encoding", "gzip").do("GET /users/me").want(200)
			body := []byte(a.body)
			for range tc.layers {
				z, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatalf("NewReader() = %v, want no error", err)
				}
				if body, err = io.ReadAll(z); err != nil {
					t.Fatalf("ReadAll() = %v, want no error", err)
				}
			}
			if !json.Valid(body) || a.header.Get("Content-Encoding") != "gzip" {
				t.Errorf("body = %q by %q, want JSON by gzip", body, a.header.Get("Content-Encoding"))
			}
		})
	}
}

func TestUnknownEncoding(t *testing.T) {
	a := faulty(t, `[{"route":"*","body":"x","headers":{"Content-Encoding":"br2"}}]`).do("GET /users/me").want(200)
	if got := a.header.Get("Content-Encoding"); got != "br2" {
		t.Errorf("Content-Encoding = %q, want br2", got)
	}
}

func TestGzipBomb(t *testing.T) {
	const size = 20<<20 + 5
	a := faulty(t, `[{"route":"*","gzipBomb":20971525}]`).with("Accept-Encoding", "gzip").do("GET /users/me").want(200)
	if len(a.body) > 64<<10 {
		t.Errorf("compressed = %d bytes, want a bomb to be small", len(a.body))
	}
	z, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatalf("NewReader() = %v, want no error", err)
	}
	if n, err := io.Copy(io.Discard, z); n != size || err != nil {
		t.Errorf("inflated = %d (%v), want %d", n, err, size)
	}
}

func TestRaw(t *testing.T) {
	for _, tc := range []struct{ name, rule, want string }{
		{"as it is", `"raw":"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"`, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"},
		{"early hints", `"raw":"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"`, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"bytes", `"rawBase64":"` + base64.StdEncoding.EncodeToString([]byte("\x00\xff")) + `"`, "\x00\xff"},
		{"chunks without end", `"raw":"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"`, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"nothing at all", `"raw":""`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn := faulty(t, `[{"route":"*",`+tc.rule+`}]`).dial()
			io.WriteString(conn, "GET /users/me HTTP/1.1\r\nHost: x\r\n\r\n")
			got, err := io.ReadAll(conn)
			if string(got) != tc.want || err != nil {
				t.Errorf("read %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

func TestHangUpNow(t *testing.T) {
	b := faulty(t, `[{"route":"*","calls":"1","hangUp":"now"}]`)
	conn := b.dial()
	io.WriteString(conn, "GET /users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tly-sandbox\r\nUser-Agent: x\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 OK\r\n") || strings.Contains(string(got), "Connection: close") {
		t.Errorf("read %q (%v), want a whole answer that announces nothing", got, err)
	}
}

func TestHangUpNext(t *testing.T) {
	b := faulty(t, `[{"route":"*","calls":"1","hangUp":"next"}]`)
	conn := b.dial()
	const request = "GET /users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tly-sandbox\r\nUser-Agent: x\r\n\r\n"
	io.WriteString(conn, request)
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("first answer = %v (%v), want 200", resp, err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	io.WriteString(conn, request)
	if _, err := reader.ReadByte(); err == nil {
		t.Errorf("second request was answered, want a closed connection")
	}
	if got := b.s.Requests()["GET /users/me"]; got > 1 {
		t.Errorf("requests = %d, want the second never to arrive", got)
	}
}

// Closing the sandbox must free a connection that waits for its next request.
func TestCloseFreesHungUp(t *testing.T) {
	b := faulty(t, `[{"route":"*","hangUp":"next"}]`)
	b.do("GET /users/me").want(200)
	b.s.Close()
}
