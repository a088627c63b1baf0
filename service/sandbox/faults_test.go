package sandbox

import (
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseFaultErrors(t *testing.T) {
	for _, tc := range []struct{ name, script, want string }{
		{"no array", `{}`, "script must be a JSON array of rules: "},
		{"no JSON", `[`, "script must be a JSON array of rules: "},
		{"no route", `[{"status":500}]`, `rule 0: field "route" is missing`},
		{"second rule", `[{"route":"*"},{"route":"*","state":500}]`, `rule 1: field "state" is unknown`},
		{"route is a number", `[{"route":7}]`, `rule 0: field "route" must be a string`},
		{"route without verb", `[{"route":"/forms"}]`, `rule 0: field "route" must be "METHOD /path" or "*", got "/forms"`},
		{"route without slash", `[{"route":"GET forms"}]`, `rule 0: field "route" must be "METHOD /path" or "*", got "GET forms"`},
		{"misspelt template", `[{"route":"GET /form/{formId}"}]`, `rule 0: field "route" names no route: "GET /form/{formId}"`},
		{"calls of words", `[{"route":"*","calls":"twice"}]`, `rule 0: field "calls" must be "all", "2", "2-5" or "2-", got "twice"`},
		{"calls from zero", `[{"route":"*","calls":"0"}]`, `rule 0: field "calls" must be "all", "2", "2-5" or "2-", got "0"`},
		{"calls backwards", `[{"route":"*","calls":"5-2"}]`, `rule 0: field "calls" must be "all", "2", "2-5" or "2-", got "5-2"`},
		{"calls as number", `[{"route":"*","calls":2}]`, `rule 0: field "calls" must be a string`},
		{"delay without unit", `[{"route":"*","delay":"2"}]`, `rule 0: field "delay" must be a duration such as "2s", got "2"`},
		{"delay below zero", `[{"route":"*","delay":"-2s"}]`, `rule 0: field "delay" must be a duration such as "2s", got "-2s"`},
		{"delay as number", `[{"route":"*","delay":2}]`, `rule 0: field "delay" must be a string`},
		{"status too low", `[{"route":"*","status":103}]`, `rule 0: field "status" must be a whole number from 200 to 999`},
		{"status too high", `[{"route":"*","status":1000}]`, `rule 0: field "status" must be a whole number from 200 to 999`},
		{"status as text", `[{"route":"*","status":"500"}]`, `rule 0: field "status" must be a whole number from 200 to 999`},
		{"headers as list", `[{"route":"*","headers":[]}]`, `rule 0: field "headers" must be an object`},
		{"header as number", `[{"route":"*","headers":{"Retry-After":7}}]`, `rule 0: field "headers" has a header "Retry-After" that is neither a string nor a list of strings`},
		{"body not base64", `[{"route":"*","bodyBase64":"%"}]`, `rule 0: field "bodyBase64" must be base64`},
		{"raw not base64", `[{"route":"*","rawBase64":"%"}]`, `rule 0: field "rawBase64" must be base64`},
		{"raw as number", `[{"route":"*","raw":7}]`, `rule 0: field "raw" must be a string`},
		{"repeat as number", `[{"route":"*","repeat":7}]`, `rule 0: field "repeat" must be an object of before, unit, times, after`},
		{"set as list", `[{"route":"*","set":[]}]`, `rule 0: field "set" must be an object of path to value`},
		{"after as text", `[{"route":"*","after":"yes"}]`, `rule 0: field "after" must be true or false`},
		{"reset as number", `[{"route":"*","reset":1}]`, `rule 0: field "reset" must be true or false`},
		{"dripHead as number", `[{"route":"*","dripHead":1}]`, `rule 0: field "dripHead" must be true or false`},
		{"hangUp as truth", `[{"route":"*","hangUp":true}]`, `rule 0: field "hangUp" must be "now" or "next"`},
		{"length of a number", `[{"route":"*","length":7}]`, `rule 0: field "length" must be "full" or "right"`},
		{"cut below zero", `[{"route":"*","cut":-1}]`, `rule 0: field "cut" must be a whole number from 0 to 2147483647`},
		{"drip of nothing", `[{"route":"*","drip":0}]`, `rule 0: field "drip" must be a whole number from 1 to 2147483647`},
		{"gzip too often", `[{"route":"*","gzip":9}]`, `rule 0: field "gzip" must be a whole number from 1 to 3`},
		{"bomb as text", `[{"route":"*","gzipBomb":"10 GB"}]`, `rule 0: field "gzipBomb" must be a number of bytes`},
		{"submit without count", `[{"route":"*","submit":{"form":"Feedbk"}}]`, `rule 0: field "submit" must be an object of form and count`},
		{"redirect as number", `[{"route":"*","redirect":7}]`, `rule 0: field "redirect" must be a string`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseFaults(strings.NewReader(tc.script))
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("ParseFaults(%s) = %v, want %s", tc.script, err, tc.want)
			}
		})
	}
}

func TestParseFaults(t *testing.T) {
	script, err := ParseFaults(strings.NewReader(`[
		{"route":"GET /forms/{formId}","calls":"2-5","after":true,"delay":"1.5s","status":429,
		 "headers":{"retry-after":"7","X-Two":["a","b"]},"body":{"a": 1},"cut":3,"length":"right"},
		{"route":"POST /forms*","calls":"3-","body":"plain"},
		{"route":"*","calls":"4"},
		{"route":"*","calls":"all","bodyBase64":"//8=","submit":{"form":"Feedbk","count":2}}]`))
	if err != nil {
		t.Fatalf("ParseFaults() = %v, want no error", err)
	}
	first := script.rules[0]
	if first.method != "GET" || first.path != "/forms/{formId}" || first.from != 2 || first.to != 5 || !first.after ||
		first.delay != 1500*time.Millisecond || first.status != 429 || first.cut != 3 || !first.exactLength {
		t.Errorf("rule 0 = %+v, want every field as written", first)
	}
	if got := first.headers; got.Get("Retry-After") != "7" || len(got["X-Two"]) != 2 {
		t.Errorf("headers = %v, want Retry-After 7 and two X-Two", got)
	}
	if got := string(first.body); got != `{"a": 1}` {
		t.Errorf("body = %s, want the JSON as written", got)
	}
	if got := script.rules[1]; got.from != 3 || got.to != math.MaxInt || string(got.body) != "plain" || got.cut != -1 {
		t.Errorf("rule 1 = %+v, want calls from 3 and a plain body", got)
	}
	if got := script.rules[2]; got.from != 4 || got.to != 4 || got.scripted() {
		t.Errorf("rule 2 = %+v, want call 4 alone and the real answer", got)
	}
	if got := script.rules[3]; string(got.body) != "\xff\xff" || got.submitForm != "Feedbk" || got.submitCount != 2 || got.to != math.MaxInt {
		t.Errorf("rule 3 = %+v, want two bytes and two submissions", got)
	}
}

func TestLoadFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faults.json")
	if _, err := LoadFaults(path); err == nil || !strings.HasPrefix(err.Error(), "read faults: ") {
		t.Errorf("LoadFaults(missing) = %v, want read faults: ...", err)
	}
	for _, tc := range []struct{ name, script, want string }{
		{"good", `[{"route":"*","status":500}]`, ""},
		{"bad", `[{"route":"*","status":5}]`, "read faults " + path + ": rule 0: field \"status\" must be a whole number from 200 to 999"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tc.script), 0o600); err != nil {
				t.Fatalf("WriteFile() = %v, want no error", err)
			}
			got := ""
			if _, err := LoadFaults(path); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("LoadFaults() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestFaultFits(t *testing.T) {
	for _, tc := range []struct {
		route, method, path, pattern string
		want                         bool
	}{
		{"*", "GET", "/forms", "GET /forms", true},
		{"GET *", "GET", "/forms", "GET /forms", true},
		{"GET *", "POST", "/forms", "POST /forms", false},
		{"GET /forms", "GET", "/forms", "GET /forms", true},
		{"GET /forms", "GET", "/forms/Feedbk", "GET /forms/{formId}", false},
		{"GET /forms*", "GET", "/forms/Feedbk", "GET /forms/{formId}", true},
		{"GET /forms*", "GET", "/users/me", "GET /users/me", false},
		{"GET /forms/{formId}", "GET", "/forms/Feedbk", "GET /forms/{formId}", true},
		{"GET /forms/{formId}", "GET", "/forms/Feedbk/questions", "GET /forms/{formId}/questions", false},
		{"GET /forms/Feedbk", "GET", "/forms/Feedbk", "GET /forms/{formId}", true},
		{"GET /forms/Feedbk", "GET", "/forms/Contct", "GET /forms/{formId}", false},
		{"GET /nowhere", "GET", "/nowhere", "unmatched", true},
	} {
		t.Run(tc.route+" "+tc.path, func(t *testing.T) {
			script, err := ParseFaults(strings.NewReader(`[{"route":"` + tc.route + `"}]`))
			if err != nil {
				t.Fatalf("ParseFaults() = %v, want no error", err)
			}
			if got := script.rules[0].fits(httptest.NewRequest(tc.method, tc.path, nil), tc.pattern); got != tc.want {
				t.Errorf("fits(%s %s) = %v, want %v", tc.method, tc.path, got, tc.want)
			}
		})
	}
}

func TestPickCountsByRule(t *testing.T) {
	script, err := ParseFaults(strings.NewReader(`[{"route":"GET /forms","calls":"2"},{"route":"*","calls":"2-3"}]`))
	if err != nil {
		t.Fatalf("ParseFaults() = %v, want no error", err)
	}
	p := newPlayer(script, nil)
	defer p.stop()
	var got []string
	for _, path := range []string{"/users/me", "/forms", "/forms", "/forms"} {
		name := "none"
		if f := p.pick(httptest.NewRequest(http.MethodGet, path, nil), "GET "+path); f != nil {
			name = f.method + " " + f.path
		}
		got = append(got, name)
	}
	if joined, want := strings.Join(got, ", "), "none, * *, GET /forms, none"; joined != want {
		t.Errorf("picks = %s, want %s", joined, want)
	}
	p.load(script)
	if f := p.pick(httptest.NewRequest(http.MethodGet, "/forms", nil), "GET /forms"); f != nil {
		t.Errorf("first pick after load = %+v, want counts from zero again", f)
	}
}
