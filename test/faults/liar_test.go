package faults

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// liar is a Tally that knows secrets, and gives them away by the lie of the moment.
type liar struct {
	secrets

	lie atomic.Pointer[lie]
}

// lie is one way to answer with what must not be repeated.
type lie struct {
	name string
	// raw lies need the connection itself, which HTTP/2 does not give away.
	raw bool
	// knows says which secrets it tells: an echo of the request's own, or those in the data as well.
	knows knowledge
	tell  func(w http.ResponseWriter, known []string)
	told  atomic.Int64
	// reads are lied to as well as writes.
	reads bool
}

type knowledge int

const (
	echo knowledge = iota
	data
	keyOnly
)

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	lie := l.lie.Load()
	if r.URL.Path == "/users/me" || lie == nil || (r.Method == http.MethodGet && !lie.reads) {
		l.honest(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	lie.told.Add(1)
	lie.tell(w, l.known(lie.knows, string(body)))
}

// known returns the secrets that a lie tells, the key first.
func (l *liar) known(knows knowledge, body string) []string {
	known := []string{l.key}
	for _, name := range slices.Sorted(maps.Keys(l.byName())) {
		secret := l.byName()[name]
		if secret != l.key && (knows == data || (knows == echo && strings.Contains(body, secret))) {
			known = append(known, secret)
		}
	}
	return known
}

func (l *liar) honest(w http.ResponseWriter, r *http.Request) {
	webhook := map[string]any{
		"id": "wh1", "formId": "f1", "url": "https://hooks.example.com/a", "eventTypes": []string{"FORM_RESPONSE"}, "isEnabled": true,
		"signingSecret": l.theirSigning, "httpHeaders": []any{map[string]any{"name": "X-Token", "value": l.theirHeader}},
	}
	answers := map[string]any{
		"/webhooks":     map[string]any{"webhooks": []any{webhook}, "hasMore": false, "totalCount": 1},
		"/webhooks/wh1": map[string]any{},
		"/forms/f1":     map[string]any{"id": "f1", "settings": map[string]any{"password": l.theirPassword}},
		"/forms/f1/submissions": map[string]any{
			"hasMore": false, "questions": []any{map[string]any{"id": "q1", "type": "FILE_UPLOAD"}}, "submissions": []any{l.submission()},
		},
		"/webhooks/wh1/events": map[string]any{"hasMore": false, "totalNumberOfEvents": 1, "events": []any{l.event()}},
	}
	answer := answers[r.URL.Path]
	switch {
	case r.URL.Path == "/users/me":
		answer = json.RawMessage(owner)
	case r.Method == http.MethodPost:
		answer = webhook
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (l *liar) submission() map[string]any {
	file := map[string]any{"id": "x", "name": "a.pdf", "url": "https://files.example/a.pdf?signature=" + l.file, "mimeType": "application/pdf", "size": 1}
	return map[string]any{
		"id": "s1", "formId": "f1", "isCompleted": true, "previewUrl": "https://tally.so/s/" + l.preview, "pdfUrl": "https://tally.so/p/" + l.pdf,
		"responses": []any{map[string]any{"id": "r1", "questionId": "q1", "answer": []any{file}}},
	}
}

func (l *liar) event() map[string]any {
	return map[string]any{"id": "e1", "webhookId": "wh1", "payload": map[string]any{
		"eventId": "e1", "data": map[string]any{"submissionPdfUrl": "https://tally.so/p/" + l.hit},
	}}
}

// lies returns the ways in which this Tally misbehaves; over HTTP/2 those that need the connection itself are left out.
func lies(reads, http2 bool) []*lie {
	all := []*lie{
		{name: "401 in plain text", tell: failing(401, "text/plain", "%s")},
		{name: "401 in JSON", tell: failing(401, "application/json", `{"message":"Unauthorized: %s"}`)},
		{name: "404 in JSON", tell: failing(404, "application/json", `{"message":"nothing for %s"}`)},
		{name: "400 with broken rules", tell: brokenRules},
		{name: "403 with encodings", tell: encodings},
		{name: "500 in HTML", tell: failing(500, "text/html", "<html><title>%[1]s</title><!-- %[1]s --><p>%[1]s</p>")},
		{name: "503 in plain text", tell: failing(503, "text/plain", "%s")},
		{name: "status of its own", tell: failing(299, "application/json", `{"message":"%s"}`)},
		{name: "redirect", tell: redirect},
		{name: "headers", tell: headers},
		{name: "unknown encoding", tell: encoded},
		{name: "success that is cut", knows: data, tell: failing(200, "application/json", `{"id":"%[1]s","webhooks":[{"signingSecret":"%[1]s`)},
		{name: "success with rubbish after it", knows: data, tell: failing(200, "application/json", `{"id":"f1","hasMore":false,"webhooks":[]} %s`)},
		{name: "success of the wrong kind", knows: data, tell: wrongKind},
		{name: "success with unknown names", knows: keyOnly, tell: unknownNames},
		{name: "two answers to one request", raw: true, tell: spoken("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nX: %[1]s\r\n\r\n")},
		// The stray answer may pass for that to the next request, which must be a lie too.
		{name: "no HTTP", raw: true, tell: spoken("%[1]s\r\n\r\n")},
		{name: "odd status line", raw: true, tell: spoken("HTTP/1.1 4x4 %[1]s\r\nX: %[1]s\r\n\r\n")},
		{name: "odd header line", raw: true, tell: spoken("HTTP/1.1 200 OK\r\n%[1]s\r\n\r\n")},
		{name: "odd length", raw: true, tell: spoken("HTTP/1.1 200 OK\r\nContent-Length: %[1]s\r\n\r\n")},
		{name: "odd chunk", raw: true, tell: spoken("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%[1]s\r\n")},
		{name: "odd transfer", raw: true, tell: spoken("HTTP/1.1 200 OK\r\nTransfer-Encoding: %[1]s\r\n\r\n")},
	}
	for _, l := range all {
		l.reads = reads
	}
	return slices.DeleteFunc(all, func(l *lie) bool { return l.raw && http2 })
}

func failing(status int, kind, body string) func(http.ResponseWriter, []string) {
	return func(w http.ResponseWriter, known []string) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, body, strings.Join(known, " "))
	}
}

// brokenRules complains about each secret, in the words of Tally's validation.
func brokenRules(w http.ResponseWriter, known []string) {
	var items []any
	for _, secret := range known {
		items = append(items,
			map[string]any{"field": "settings", "message": `"settings.` + secret + `" is not allowed`, "type": "object.unknown"},
			map[string]any{"field": "settings.styles." + secret, "message": secret, "type": secret, "errorType": secret},
			map[string]any{"field": "signingSecret", "msg": `"signingSecret" with value "` + secret + `" is too short`},
			map[string]any{"field": secret, "message": `"` + secret + `" is required`})
	}
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]any{"message": "no: " + strings.Join(known, " "), "errorType": "VALIDATION", "errors": items})
}

func encodings(w http.ResponseWriter, known []string) {
	w.WriteHeader(http.StatusForbidden)
	var texts []string
	for _, secret := range known {
		texts = append(texts, base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"message": strings.Join(texts, " ")})
}

func redirect(w http.ResponseWriter, known []string) {
	w.Header().Set("Location", "https://"+strings.Join(known, ".")+".example/"+known[0]+"?all="+strings.Join(known, "+"))
	w.WriteHeader(http.StatusFound)
	_, _ = io.WriteString(w, strings.Join(known, " "))
}

func headers(w http.ResponseWriter, known []string) {
	for _, name := range []string{"Retry-After", "Cf-Ray", "X-Request-Id", "Server", "Www-Authenticate", "Cf-Mitigated", "X-Echo"} {
		w.Header().Set(name, strings.Join(known, " "))
	}
	w.WriteHeader(http.StatusTooManyRequests)
}

func encoded(w http.ResponseWriter, known []string) {
	w.Header().Set("Content-Encoding", strings.Join(known, "-"))
	_, _ = io.WriteString(w, "{}")
}

func wrongKind(w http.ResponseWriter, known []string) {
	everything := strings.Join(known, " ")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": []any{everything}, "webhooks": everything, "submissions": everything, "events": everything, "settings": everything,
		"hasMore": everything, "webhook": everything, "url": map[string]any{known[0]: everything},
	})
}

func unknownNames(w http.ResponseWriter, known []string) {
	answer := map[string]any{
		"id": "f1", "hasMore": false, "webhooks": []any{}, "events": []any{},
		"submissions": []any{map[string]any{"id": "s1", known[0]: 1}}, "questions": []any{},
		"settings": map[string]any{known[0]: []any{}, "password": map[string]any{known[0]: 1}},
	}
	for _, secret := range known {
		answer[secret] = secret
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// spoken writes bytes that need not be HTTP and hangs up.
func spoken(text string) func(http.ResponseWriter, []string) {
	return func(w http.ResponseWriter, known []string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, text, strings.Join(known, " "))
		// What is unread would turn the end into a reset, and the bytes before it would be lost.
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}
