package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// catalogue are the faults that tallyd must survive, as far as an HTTP server
// can play them, each with the script that does. Hosts that cannot be
// resolved, certificates and HTTP/2 frames are beyond a script.
var catalogue = []struct {
	name, call, rule string
	wantStatus       int
	wantText         string
	wantErr          bool
}{
	{"429 with Retry-After", "GET /forms", `"status":429,"headers":{"Retry-After":"7"}`, 429, "", false},
	{"429 with a date", "GET /forms", `"status":429,"headers":{"Date":"Mon, 01 Jan 2024 00:00:00 GMT","Retry-After":"Mon, 01 Jan 2024 00:00:07 GMT"}`, 429, "", false},
	{"429 bare", "GET /forms", `"status":429`, 429, "", false},
	{"429 negative", "GET /forms", `"status":429,"headers":{"Retry-After":"-1"}`, 429, "", false},
	{"429 too long", "GET /forms", `"status":429,"headers":{"Retry-After":"1e9"}`, 429, "", false},
	{"429 of two minds", "GET /forms", `"status":429,"headers":{"Retry-After":["1","99"]}`, 429, "", false},
	{"503", "GET /forms", `"status":503`, 503, "", false},
	{"500 after the write", "POST /forms", `"after":true,"status":500`, 500, "", false},
	{"502 in HTML", "POST /forms", `"status":502,"headers":{"Content-Type":"text/html"},"body":"<html>Bad gateway</html>"`, 502, "<html>", false},
	{"520 in HTML", "POST /forms", `"status":520,"headers":{"Content-Type":"text/html"},"body":"<html>520</html>"`, 520, "520", false},
	{"521", "POST /forms", `"status":521`, 521, "", false},
	{"edge block", "GET /forms", `"status":403,"headers":{"Content-Type":"text/plain"},"body":"error code: 1010"`, 403, "1010", false},
	{"challenge with 200", "GET /forms", `"headers":{"Content-Type":"text/html"},"body":"<script>challenge</script>"`, 200, "<script>", false},
	{"404 in HTML", "GET /forms/Feedbk", `"status":404,"headers":{"Content-Type":"text/html"},"body":"<h1>Not found</h1>"`, 404, "<h1>", false},
	{"404 in JSON", "GET /forms/Feedbk", `"status":404,"body":{"message":"Form was not found"}`, 404, "message", false},
	{"delete, then reset", "DELETE /forms/Feedbk", `"after":true,"reset":true`, 0, "", true},
	{"bare 401", "GET /forms", `"status":401,"headers":{"Content-Type":"text/plain"},"body":"Unauthorized"`, 401, "Unauthorized", false},
	{"403 on one workspace", "GET /workspaces/wsTeam", `"status":403,"body":{"message":"no"}`, 403, "no", false},
	{"301", "GET /forms", `"redirect":"https://elsewhere.example.com/forms","status":301`, 301, "", false},
	{"302", "GET /forms", `"redirect":"https://elsewhere.example.com/forms"`, 302, "", false},
	{"307", "POST /forms", `"redirect":"http://127.0.0.1:1/forms","status":307`, 307, "", false},
	{"308", "POST /forms", `"redirect":"/forms","status":308`, 308, "", false},
	{"early hints", "GET /forms", `"raw":"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"`, 200, "{}", false},
	{"204 for a body", "GET /forms", `"status":204`, 204, "", false},
	{"200 for a 204", "DELETE /forms/Feedbk", `"status":200,"body":{}`, 200, "{}", false},
	{"418", "GET /forms", `"status":418`, 418, "", false},
	{"299", "GET /forms", `"status":299`, 299, "", false},
	{"999", "GET /forms", `"status":999`, 999, "", false},
	{"another envelope", "GET /forms", `"body":[]`, 200, "[]", false},
	{"short JSON, right length", "GET /forms", `"cut":40,"length":"right"`, 200, `{"items":[`, false},
	{"short body, length too big", "GET /forms", `"cut":40`, 200, `{"items":[`, true},
	{"chunks without end", "GET /forms", `"raw":"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n"`, 200, `{"`, true},
	{"megabytes", "GET /forms", `"repeat":{"before":"{\"items\":[","unit":"{\"id\":\"abcdef\",\"name\":\"a long name\"},","times":60000,"after":"{}]}"}`, 200, `{"items":[`, false},
	{"gzip bomb", "GET /forms", `"gzipBomb":5000000`, 200, "\x1f\x8b", false},
	{"double gzip", "GET /forms", `"gzip":2`, 200, "\x1f\x8b", false},
	{"unknown encoding", "GET /forms", `"headers":{"Content-Encoding":"zstd2"}`, 200, `{"items"`, false},
	{"bad gzip", "GET /forms", `"bodyBase64":"H4sIAAAA","headers":{"Content-Encoding":"gzip"}`, 200, "\x1f\x8b", false},
	{"nested arrays", "GET /forms", `"repeat":{"unit":"[","times":100000}`, 200, "[[[", false},
	{"duplicate id", "GET /forms/Feedbk", `"body":"{\"id\":\"one\",\"id\":\"two\"}"`, 200, "two", false},
	{"very many keys", "GET /forms/Feedbk", `"repeat":{"before":"{","unit":"\"a\":1,","times":100000,"after":"\"b\":2}"}`, 200, `{"a":1,`, false},
	{"invalid UTF-8", "GET /forms/Feedbk", `"bodyBase64":"eyJuYW1lIjoi/yJ9"`, 200, "\xff", false},
	{"lone surrogate", "GET /forms/Feedbk", `"body":"{\"name\":\"\\ud800\\u0000\"}"`, 200, `\ud800`, false},
	{"unknown enum", "GET /forms/Feedbk", `"set":{"status":"ARCHIVED"}`, 200, `"status":"ARCHIVED"`, false},
	{"number as text", "GET /forms", `"set":{"total":"12"}`, 200, `"total":"12"`, false},
	{"huge number", "GET /forms", `"body":"{\"items\":[],\"total\":1e400}"`, 200, "1e400", false},
	{"null for a list", "GET /forms", `"set":{"items":null}`, 200, `"items":null`, false},
	{"new block type", "GET /forms/Feedbk", `"set":{"blocks.1.type":"HOLOGRAM"}`, 200, "HOLOGRAM", false},
	{"date without zone", "GET /forms/Feedbk", `"set":{"createdAt":"0000-01-01 00:00"}`, 200, "0000-01-01", false},
	{"page drift", "GET /forms/Feedbk/submissions?limit=1", `"calls":"1","submit":{"form":"Feedbk","count":3}`, 200, `"all":1203`, false},
	{"hasMore for ever", "GET /forms?page=99", `"set":{"hasMore":true}`, 200, `"hasMore":true`, false},
	{"byte order mark", "GET /forms", `"bodyBase64":"77u/e30="`, 200, "\ufeff{}", false},
	{"two values", "GET /forms", `"body":"{} {}"`, 200, "{} {}", false},
	{"wrong type, good JSON", "GET /forms", `"headers":{"Content-Type":"text/html"}`, 200, `{"items"`, false},
	{"right type, HTML", "GET /forms", `"body":"<html>"`, 200, "<html>", false},
	{"echo of the key", "GET /forms", `"status":400,"body":{"message":"key {{key}} is wrong"}`, 400, "tly-sandbox", false},
	{"slow body", "GET /users/me", `"drip":5000`, 200, "usrIna", false},
	{"slow header", "GET /users/me", `"drip":5000,"dripHead":true`, 200, "usrIna", false},
	{"reset before the answer", "GET /forms", `"reset":true`, 0, "", true},
	{"reset after the write", "POST /forms", `"after":true,"reset":true`, 0, "", true},
	{"stale connection", "GET /forms", `"hangUp":"next"`, 200, `{"items"`, false},
}

func TestCatalogue(t *testing.T) {
	for _, tc := range catalogue {
		t.Run(tc.name, func(t *testing.T) {
			b := faulty(t, `[{"route":"*",`+tc.rule+`}]`).with("Accept-Encoding", "gzip")
			a, err := b.try(tc.call, `{"status":"DRAFT","blocks":[]}`)
			if (err != nil) != tc.wantErr {
				t.Fatalf("%s = %v, want error: %v", tc.call, err, tc.wantErr)
			}
			if a.status != tc.wantStatus && !tc.wantErr {
				t.Errorf("%s = %d, want %d", tc.call, a.status, tc.wantStatus)
			}
			if !strings.Contains(a.body, tc.wantText) {
				t.Errorf("%s = %.80q, want it to hold %q", tc.call, a.body, tc.wantText)
			}
		})
	}
}

func TestCatalogueLeavesNothingBehind(t *testing.T) {
	b := start(t, WithRate(0))
	for _, tc := range catalogue {
		script, err := ParseFaults(strings.NewReader(`[{"route":"*","calls":"1",` + strings.TrimPrefix(tc.rule, `"calls":"1",`) + `}]`))
		if err != nil {
			t.Fatalf("%s: ParseFaults() = %v, want no error", tc.name, err)
		}
		if err := b.s.Reset(); err != nil {
			t.Fatalf("Reset() = %v, want no error", err)
		}
		b.s.SetFaults(script)
		if _, err := b.try(tc.call, `{"status":"DRAFT","blocks":[]}`); err != nil && !tc.wantErr && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: first call = %v, want an answer", tc.name, err)
		}
		b.s.SetFaults(nil)
		b.afresh("GET /users/me").want(200)
	}
}

// afresh calls on a connection of its own, which no fault has touched.
func (b *bench) afresh(call string) answerOf { return b.with("Connection", "close").do(call) }

// Quirks that clients must code for, where no other test shows them whole.

func TestQuirkUnauthorizedIsNotTheKey(t *testing.T) {
	b := start(t, WithPlan(Free))
	gate := b.do("GET /forms/Feedbk/blocks").want(401)
	badKey := b.as("nobody").do("GET /forms/Feedbk/blocks").want(401)
	if gate.body != badKey.body || gate.header.Get("Content-Type") != badKey.header.Get("Content-Type") {
		t.Errorf("plan gate = %q, bad key = %q, want them alike", gate.body, badKey.body)
	}
	if json.Valid([]byte(gate.body)) {
		t.Errorf("401 = %q, want no JSON", gate.body)
	}
	b.do("GET /users/me").want(200)
}

func TestQuirkEnvelopes(t *testing.T) {
	b := start(t)
	for _, tc := range []struct{ call, want string }{
		{"GET /forms", "hasMore items limit page total"},
		{"GET /workspaces", "hasMore items limit page total"},
		{"GET /forms/Contct/submissions", "hasMore limit page questions submissions totalNumberOfSubmissionsPerFilter"},
		{"GET /webhooks", "hasMore limit page totalCount webhooks"},
		{"GET /webhooks/whkCrm/events", "events hasMore limit page totalNumberOfEvents"},
		{"GET /forms/Contct/questions", "hasResponses questions"},
		{"GET /organizations/orgSal/users", "[]"},
		{"GET /organizations/orgSal/invites", "[]"},
		{"GET /workspaces/wsCust/folders", "[]"},
	} {
		t.Run(tc.call, func(t *testing.T) {
			a := b.in(t).do(tc.call).want(200)
			var v any
			if err := json.Unmarshal([]byte(a.body), &v); err != nil {
				t.Fatalf("Unmarshal() = %v, want no error", err)
			}
			got := "[]"
			if m, isObject := v.(map[string]any); isObject {
				got = strings.Join(sortedKeys(m), " ")
			}
			if got != tc.want {
				t.Errorf("%s has %s, want %s", tc.call, got, tc.want)
			}
		})
	}
}

func TestQuirkSecretsComeInClear(t *testing.T) {
	b := start(t)
	b.do("GET /forms/Raffle").want(200).wantAt("settings.password", "tin-2026")
	b.do("GET /webhooks").want(200).wantAt("webhooks.0.signingSecret", "saltmarsh-crm-secret")
	a := b.do("GET /forms/JobApp/submissions?limit=1&filter=completed").want(200)
	if !strings.Contains(a.body, "https://storage.tally.so/private/") {
		t.Errorf("GET submissions = %.200s, want a signed file link", a.body)
	}
}

func TestQuirkCreateAnswersRealMilliseconds(t *testing.T) {
	clock := newWatch()
	clock.wind(262e6)
	b := start(t, WithClock(clock.read))
	b.do("POST /forms", `{"status":"DRAFT","blocks":[]}`).want(201).wantAt("createdAt", "2026-09-01T12:00:00.262Z")
	b.do("GET /forms/Feedbk").want(200).wantAt("createdAt", "2025-11-03T09:12:44.000Z")
}

func TestQuirkMalformedBlocksDoNotVanish(t *testing.T) {
	b := start(t)
	b.do("POST /forms", `{"status":"DRAFT","blocks":[{"type":"INPUT_TEXT"}]}`).want(400).wantAt("message", `"blocks[0].uuid" is required`)
	b.do("GET /forms").want(200).wantAt("total", 12.0)
}

func ExampleNew() {
	s, err := New(WithRate(0), WithPlan(Pro))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = s.Close() }()
	id, err := s.Submit("NewsLt", map[string]any{"Your e-mail address": "aila@example.com"})
	fmt.Println(len(id), err)
	// Output: 6 <nil>
}

func ExampleParseFaults() {
	_, err := ParseFaults(strings.NewReader(`[{"route": "GET /forms", "delay": "2"}]`))
	fmt.Println(err)
	// Output: rule 0: field "delay" must be a duration such as "2s", got "2"
}
