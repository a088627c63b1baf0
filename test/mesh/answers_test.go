package mesh

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
)

// answer is one way in which Tally answers, well or badly. Its name is an id, so that a call picks its answer by the id that it names.
type answer struct {
	name   string
	status int
	body   string
	header http.Header
	// tell answers by more than a status and a body.
	tell http.HandlerFunc
}

const (
	sentence = `{"message":"Tally says no"}`
	page     = "<html><body>down for a moment</body></html>"
)

// badAnswers are the rows of the table of statuses that differ in what a caller reads or may do, and the ends of a connection.
var badAnswers = []answer{
	{name: "html", status: 200, body: page},
	{name: "half", status: 200, body: `{"id":"f1","na`},
	{name: "cut", tell: hangUp("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"id\":")},
	{name: "reset", tell: hangUp("")},
	{name: "redirect", status: 302, header: http.Header{"Location": {"https://elsewhere.example/"}}},
	{name: "field", status: 400, body: `{"message":"no","errors":[{"field":"name","message":"\"name\" is too long"}]}`},
	{name: "unknown", status: 400, body: `{"message":"no","errors":[{"field":"x","message":"\"x\" is not allowed","type":"object.unknown"}]}`},
	{name: "many", status: 400, body: manyViolations()},
	{name: "plan", status: 401, body: "Unauthorized"},
	{name: "pay", status: 402, body: sentence},
	{name: "forbidden", status: 403, body: sentence},
	{name: "edge", status: 403, body: "error code: 1010"},
	{name: "missing", status: 404, body: sentence},
	{name: "noroute", status: 404, body: page},
	{name: "method", status: 405, body: sentence},
	{name: "timeout", status: 408, body: sentence},
	{name: "conflict", status: 409, body: sentence},
	{name: "gone", status: 410, body: sentence},
	{name: "changed", status: 412, body: sentence},
	{name: "large", status: 413, body: sentence},
	{name: "teapot", status: 418, body: sentence},
	{name: "misdirected", status: 421, body: sentence},
	{name: "rule", status: 422, body: sentence},
	{name: "locked", status: 423, body: sentence},
	{name: "early", status: 425, body: sentence},
	{name: "spent", status: 429, body: sentence, header: http.Header{"Retry-After": {"7"}}},
	{name: "legal", status: 451, body: sentence},
	{name: "error", status: 500, body: sentence},
	{name: "notdone", status: 501, body: sentence},
	{name: "gateway", status: 502, body: page},
	{name: "down", status: 503, body: page, header: http.Header{"Retry-After": {"9"}}},
	{name: "slow", status: 504, body: page},
	{name: "edge520", status: 520, body: page},
	{name: "edge521", status: 521, body: page},
	{name: "edge524", status: 524, body: page},
}

// manyViolations breaks more rules than an error can name.
func manyViolations() string {
	var violations []map[string]string
	for range 60 {
		violations = append(violations, map[string]string{"field": "name", "message": strings.Repeat(`"name" breaks one rule more; `, 6)})
	}
	text, err := json.Marshal(map[string]any{"message": strings.Repeat("no, no, ", 40), "errors": violations})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// hangUp writes bytes that need not be HTTP, and closes the connection.
func hangUp(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text)
	}
}

// idIn is where a request of these tests carries what it is to be answered, and what makes it unlike all others.
var idIn = regexp.MustCompile(`as-([a-z0-9]+)-[A-Za-z0-9-]+`)

// asNamed answers each request as its id says.
func asNamed(answers ...[]answer) func(http.ResponseWriter, *http.Request, string) {
	byName := map[string]answer{}
	for _, some := range answers {
		for _, a := range some {
			byName[a.name] = a
		}
	}
	return func(w http.ResponseWriter, r *http.Request, body string) {
		match := idIn.FindStringSubmatch(r.URL.Path + body)
		if match == nil {
			anything(w, r, body)
			return
		}
		byName[match[1]].play(w, r)
	}
}

func (a answer) play(w http.ResponseWriter, r *http.Request) {
	if a.tell != nil {
		a.tell(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if a.body == page {
		w.Header().Set("Content-Type", "text/html")
	}
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}
