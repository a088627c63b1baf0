package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Script is a list of faults to play, in JSON an array of rules. For each
// request the first rule that matches route and call is played. Fields:
//
//	route         "GET /forms/{formId}", "GET /forms/Feedbk", "POST /forms*" or "*"
//	calls         "all" (the default), "1", "2-5", "3-": counted by rule
//	after         true carries the request out before the fault
//	delay         "2s": wait first, or after the processing with after
//	submit        {"form": "Feedbk", "count": 3}: answers that arrive just before
//	status        of the answer; alone it comes with an empty body
//	headers       {"Retry-After": "7", "X-Two": ["a", "b"]}
//	body          a string as it is, anything else as JSON; {{key}} is the caller's key
//	bodyBase64    bytes that JSON cannot hold
//	repeat        {"before": "[", "unit": "0,", "times": 1000, "after": "0]"}
//	set           {"hasMore": true, "submissions.0.id": 7}: changes to the real answer
//	redirect      Location, with status 302 unless set
//	gzip          how many times the body is compressed
//	gzipBomb      bytes the body inflates to
//	cut           bytes of the body to send before the connection closes
//	length        Content-Length of a cut body: "full" (too big, the default) or "right"
//	reset         true ends the connection by a TCP reset, after cut bytes if given
//	hangUp        closes the connection unannounced: "now", after the answer, or
//	              "next", when the next request begins to arrive on it
//	drip          bytes a second
//	dripHead      true drips the header too
//	raw           the whole answer, written to the connection as it is
//	rawBase64     the same, for bytes that JSON cannot hold
//
// A rule without status, body or redirect changes or delays the real answer.
type Script struct {
	rules []*fault
}

// fault is one rule of a script.
type fault struct {
	method, path string
	from, to     int
	after        bool
	delay        time.Duration
	submitForm   string
	submitCount  int
	status       int
	headers      http.Header
	body         []byte
	hasBody      bool
	repeat       *repetition
	set          map[string]any
	gzip, drip   int
	gzipBomb     int64
	cut          int
	exactLength  bool
	reset        bool
	hangUp       string
	dripHead     bool
	raw          []byte
	seen         int
}

type repetition struct {
	Before string `json:"before"`
	Unit   string `json:"unit"`
	Times  int    `json:"times"`
	After  string `json:"after"`
}

// LoadFaults reads a script from a file. The error names the rule, by its
// index, and the field.
func LoadFaults(path string) (*Script, error) {
	file, err := os.Open(path) //nolint:gosec // the path is the operator's own
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	defer func() { _ = file.Close() }()
	script, err := ParseFaults(file)
	if err != nil {
		return nil, fmt.Errorf("read faults %s: %w", path, err)
	}
	return script, nil
}

// ParseFaults reads a script. The error names the rule, by its index, and the
// field.
func ParseFaults(r io.Reader) (*Script, error) {
	var rules []map[string]json.RawMessage
	if err := json.NewDecoder(r).Decode(&rules); err != nil {
		return nil, fmt.Errorf("script must be a JSON array of rules: %w", err)
	}
	script := &Script{}
	for i, fields := range rules {
		f, err := readFault(fields)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
		script.rules = append(script.rules, f)
	}
	return script, nil
}

func readFault(fields map[string]json.RawMessage) (*fault, error) {
	f := &fault{from: 1, to: math.MaxInt, cut: -1, headers: http.Header{}}
	if fields["route"] == nil {
		return nil, errors.New(`field "route" is missing`)
	}
	readers := faultFields()
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		read := readers[name]
		if read == nil {
			return nil, fmt.Errorf("field %q is unknown", name)
		}
		if err := read(f, fields[name]); err != nil {
			return nil, fmt.Errorf("field %q %w", name, err)
		}
	}
	return f, nil
}

type fieldReader func(*fault, json.RawMessage) error

func faultFields() map[string]fieldReader {
	return map[string]fieldReader{
		"route":      readRoute,
		"calls":      readCalls,
		"delay":      readDelay,
		"submit":     readSubmit,
		"headers":    readHeaders,
		"body":       readBody,
		"bodyBase64": func(f *fault, v json.RawMessage) (err error) { f.hasBody = true; f.body, err = bytesOf(v); return },
		"rawBase64":  func(f *fault, v json.RawMessage) (err error) { f.raw, err = bytesOf(v); return },
		"raw":        func(f *fault, v json.RawMessage) error { s, err := textOf(v); f.raw = []byte(s); return err },
		"redirect":   func(f *fault, v json.RawMessage) error { s, err := textOf(v); f.headers.Set("Location", s); return err },
		"repeat": func(f *fault, v json.RawMessage) error {
			return into(v, &f.repeat, "must be an object of before, unit, times, after")
		},
		"set":      func(f *fault, v json.RawMessage) error { return into(v, &f.set, "must be an object of path to value") },
		"after":    func(f *fault, v json.RawMessage) error { return into(v, &f.after, "must be true or false") },
		"reset":    func(f *fault, v json.RawMessage) error { return into(v, &f.reset, "must be true or false") },
		"hangUp":   readHangUp,
		"dripHead": func(f *fault, v json.RawMessage) error { return into(v, &f.dripHead, "must be true or false") },
		"status":   func(f *fault, v json.RawMessage) error { return between(v, &f.status, 200, 999) },
		"gzip":     func(f *fault, v json.RawMessage) error { return between(v, &f.gzip, 1, 3) },
		"drip":     func(f *fault, v json.RawMessage) error { return between(v, &f.drip, 1, math.MaxInt32) },
		"cut":      func(f *fault, v json.RawMessage) error { return between(v, &f.cut, 0, math.MaxInt32) },
		"gzipBomb": func(f *fault, v json.RawMessage) error { return into(v, &f.gzipBomb, "must be a number of bytes") },
		"length":   readLength,
	}
}

func into(v json.RawMessage, target any, complaint string) error {
	if err := json.Unmarshal(v, target); err != nil {
		return errors.New(complaint)
	}
	return nil
}

func between(v json.RawMessage, target *int, low, high int) error {
	if err := json.Unmarshal(v, target); err != nil || *target < low || *target > high {
		return fmt.Errorf("must be a whole number from %d to %d", low, high)
	}
	return nil
}

func textOf(v json.RawMessage) (s string, err error) {
	return s, into(v, &s, "must be a string")
}

func bytesOf(v json.RawMessage) ([]byte, error) {
	s, err := textOf(v)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("must be base64")
	}
	return b, nil
}

// readRoute wants a template to be one of the sandbox's: a misspelt one would
// never play, and nobody would notice.
func readRoute(f *fault, v json.RawMessage) error {
	s, err := textOf(v)
	if err != nil {
		return err
	}
	method, path, two := strings.Cut(s, " ")
	if s == "*" {
		method, path, two = "*", "*", true
	}
	if !two || !strings.HasPrefix(path, "/") && path != "*" {
		return fmt.Errorf(`must be "METHOD /path" or "*", got %q`, s)
	}
	if strings.Contains(path, "{") && !slices.Contains(patterns(), s) {
		return fmt.Errorf("names no route: %q", s)
	}
	f.method, f.path = method, path
	return nil
}

func patterns() []string {
	var all []string
	for _, list := range [][]route{accountRoutes(), formRoutes(), responseRoutes(), workspaceRoutes(), webhookRoutes()} {
		for _, rt := range list {
			all = append(all, rt.pattern)
		}
	}
	return all
}

func readCalls(f *fault, v json.RawMessage) error {
	s, err := textOf(v)
	if err != nil || s == "all" {
		return err
	}
	wrong := fmt.Errorf(`must be "all", "2", "2-5" or "2-", got %q`, s)
	low, high, ranged := strings.Cut(s, "-")
	if f.from, err = strconv.Atoi(low); err != nil || f.from < 1 {
		return wrong
	}
	switch {
	case !ranged:
		f.to = f.from
	case high != "":
		if f.to, err = strconv.Atoi(high); err != nil || f.to < f.from {
			return wrong
		}
	}
	return nil
}

func readDelay(f *fault, v json.RawMessage) error {
	s, err := textOf(v)
	if err != nil {
		return err
	}
	if f.delay, err = time.ParseDuration(s); err != nil || f.delay < 0 {
		return fmt.Errorf(`must be a duration such as "2s", got %q`, s)
	}
	return nil
}

func readSubmit(f *fault, v json.RawMessage) error {
	var submit struct {
		Form  string `json:"form"`
		Count int    `json:"count"`
	}
	if json.Unmarshal(v, &submit) != nil || submit.Form == "" || submit.Count < 1 {
		return errors.New("must be an object of form and count")
	}
	f.submitForm, f.submitCount = submit.Form, submit.Count
	return nil
}

func readHeaders(f *fault, v json.RawMessage) error {
	var headers map[string]json.RawMessage
	if err := into(v, &headers, "must be an object"); err != nil {
		return err
	}
	for name, value := range headers {
		var list []string
		if json.Unmarshal(value, &list) != nil {
			s, err := textOf(value)
			if err != nil {
				return fmt.Errorf("has a header %q that is neither a string nor a list of strings", name)
			}
			list = []string{s}
		}
		f.headers[http.CanonicalHeaderKey(name)] = list
	}
	return nil
}

func readBody(f *fault, v json.RawMessage) error {
	f.hasBody, f.body = true, v
	if s, err := textOf(v); err == nil {
		f.body = []byte(s)
	}
	return nil
}

func readLength(f *fault, v json.RawMessage) error {
	s, _ := textOf(v)
	if s != "full" && s != "right" {
		return errors.New(`must be "full" or "right"`)
	}
	f.exactLength = s == "right"
	return nil
}

func readHangUp(f *fault, v json.RawMessage) error {
	f.hangUp, _ = textOf(v)
	if f.hangUp != "now" && f.hangUp != "next" {
		return errors.New(`must be "now" or "next"`)
	}
	return nil
}
