package sandbox

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// watch is a clock that tests wind on.
type watch struct {
	mu  sync.Mutex
	now time.Time
}

func newWatch() *watch { return &watch{now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)} }

func (w *watch) read() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *watch) wind(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func TestOtherBearerKey(t *testing.T) {
	b := start(t, WithKey("tly-mine"))
	b.do("GET /users/me").want(401)
	b.as("tly-mine").do("GET /users/me").want(200).wantAt("id", "usrIna")
	b.as("tly-sandbox-member").do("GET /users/me").want(200).wantAt("id", "usrTom")
}

func TestEdge(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, agent string
		want        int
	}{
		{"a browser", "Mozilla/5.0", 200},
		{"our client", "tallyd/1", 200},
		{"a script", "Python-urllib/3.13", 403},
		{"none", "", 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.with("User-Agent", tc.agent).do("GET /users/me").want(tc.want)
			if tc.want == 403 {
				a.wantBody("error code: 1010")
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	clock := newWatch()
	b := start(t, WithRate(3), WithClock(clock.read))
	for range 3 {
		b.do("GET /users/me").want(200)
		clock.wind(10 * time.Second)
	}
	refused := b.do("GET /users/me").want(429)
	refused.wantBody(`{"message":"Too many requests"}`)
	if got := refused.header.Get("Retry-After"); got != "" {
		t.Errorf("Retry-After = %q, want none", got)
	}
	b.as("tly-sandbox-other").do("GET /users/me").want(200)
	clock.wind(29 * time.Second)
	b.do("GET /users/me").want(429)
	clock.wind(time.Second)
	b.do("GET /users/me").want(200)
}

func TestRateLimitCountsRefusals(t *testing.T) {
	b := start(t, WithRate(2))
	b.do("GET /forms/nobody").want(404)
	b.do("GET /forms?foo=1").want(400)
	b.do("GET /users/me").want(429)
	b.as("tly-nobody").do("GET /users/me").want(401)
}

func TestRetryAfter(t *testing.T) {
	clock := newWatch()
	b := start(t, WithRate(1), WithRetryAfter(), WithClock(clock.read))
	b.do("GET /users/me").want(200)
	clock.wind(20*time.Second + time.Millisecond)
	if got := b.do("GET /users/me").want(429).header.Get("Retry-After"); got != "40" {
		t.Errorf("Retry-After = %q, want 40", got)
	}
}

func TestNoRateLimit(t *testing.T) {
	b := start(t, WithRate(0))
	for range 150 {
		b.do("GET /users/me").want(200)
	}
}

func TestVersion(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, version, path string
		wantAt              string
		want                any
	}{
		{"no header, forms", "", "/forms", "total", 12.0},
		{"no header, workspaces", "", "/workspaces", "total", 3.0},
		{"first version, forms", "2025-01-15", "/forms", "#", 12},
		{"first version, workspaces", "2025-01-15", "/workspaces", "#", 3},
		{"second version", "2025-02-01", "/forms", "total", 12.0},
		{"today's version", "2026-08-04", "/forms", "total", 12.0},
		{"a version of tomorrow", "2031-01-01", "/workspaces", "limit", 50.0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			h := b
			if tc.version != "" {
				h = b.with("Tally-Version", tc.version)
			}
			h.do("GET "+tc.path).want(200).wantAt(tc.wantAt, tc.want)
		})
	}
	for _, bad := range []string{"latest", "2026-13-01", "20260804"} {
		b.with("Tally-Version", bad).do("GET /forms").want(400).wantAt("errors.0.field", "tally-version")
	}
}

func TestFirstVersionKeepsPages(t *testing.T) {
	b := start(t).with("Tally-Version", "2025-01-15")
	b.do("GET /forms?limit=5").want(200).wantAt("#", 5)
	b.do("GET /forms?limit=5&page=3").want(200).wantAt("#", 2)
}

// gated are the routes the reference calls paid.
var gated = []struct{ call, body string }{
	{"GET /forms/Feedbk/blocks", ""},
	{"PATCH /forms/Feedbk/blocks", `{"blocks":[]}`},
	{"PATCH /forms/Feedbk/questions/nobody", `{"title":"x"}`},
	{"POST /workspaces", `{"name":"x"}`},
	{"GET /workspaces/wsCust/folders", ""},
	{"POST /workspaces/wsCust/folders", `{"name":"x"}`},
	{"PATCH /workspaces/wsCust/folders/fldEvt", `{"name":"x"}`},
	{"DELETE /workspaces/wsCust/folders/fldEvt", ""},
}

func TestPlanGates(t *testing.T) {
	for _, plan := range []Plan{Free, Pro, Business} {
		t.Run(string(plan), func(t *testing.T) {
			b := start(t, WithPlan(plan))
			b.do("GET /users/me").want(200).wantAt("subscriptionPlan", string(plan))
			for _, g := range gated {
				a := b.do(g.call, g.body)
				if refused := a.status == 401; refused != (plan == Free) {
					t.Errorf("%s on %s = %d, want refused: %v", g.call, plan, a.status, plan == Free)
				}
				if plan == Free {
					a.wantBody("Unauthorized")
				}
			}
		})
	}
}

func TestFreePlanKeepsTheRest(t *testing.T) {
	b := start(t, WithPlan(Free))
	for _, call := range []string{
		"GET /forms", "GET /forms/Feedbk", "GET /forms/Feedbk/questions", "GET /forms/Feedbk/submissions",
		"GET /workspaces", "GET /workspaces/wsCust", "GET /webhooks", "GET /forms/Feedbk/analytics/metrics?period=all",
	} {
		b.do(call).want(200)
	}
}

func TestRevokedKey(t *testing.T) {
	for _, tc := range []struct {
		name     string
		opts     []Option
		want     int
		wantBody string
	}{
		{"unless chosen", nil, 401, "Unauthorized"},
		{"forbidden", []Option{WithRevokedKeyStatus(403)}, 403, `{"message":"You do not have access to this resource"}`},
		{"not found", []Option{WithRevokedKeyStatus(404)}, 404, `{"message":"Key was not found"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, tc.opts...)
			if err := b.s.RevokeKey("tly-sandbox", true); err != nil {
				t.Fatalf("RevokeKey() = %v, want no error", err)
			}
			b.do("GET /users/me").want(tc.want).wantBody(tc.wantBody)
			b.as("tly-sandbox-member").do("GET /users/me").want(200)
			if err := b.s.RevokeKey("tly-sandbox", false); err != nil {
				t.Fatalf("RevokeKey() = %v, want no error", err)
			}
			b.do("GET /users/me").want(200)
		})
	}
	if err := start(t).s.RevokeKey("tly-nobody", true); err == nil {
		t.Errorf("RevokeKey(%q) = nil, want an error", "tly-nobody")
	}
}

func TestUnknownQuery(t *testing.T) {
	b := start(t)
	for _, tc := range []struct{ name, call, wantField, wantType string }{
		{"unknown", "GET /forms?foo=1", "foo", "object.unknown"},
		{"limit on workspaces", "GET /workspaces?limit=10", "limit", "object.unknown"},
		{"limit on events", "GET /webhooks/whkCrm/events?limit=10", "limit", "object.unknown"},
		{"older filter name", "GET /forms/Feedbk/submissions?status=completed", "status", "object.unknown"},
		{"includeBlocks", "GET /forms/Feedbk?includeBlocks=true", "includeBlocks", "object.unknown"},
		{"analytics from", "GET /forms/Feedbk/analytics/metrics?period=7d&from=2026-01-01", "from", "object.unknown"},
		{"page zero", "GET /forms?page=0", "page", "number.min"},
		{"page of words", "GET /forms?page=two", "page", "number.base"},
		{"half a page", "GET /forms?page=1.5", "page", "number.integer"},
		{"page twice", "GET /forms?page=1&page=2", "page", "number.base"},
		{"limit over the maximum", "GET /forms?limit=501", "limit", "number.max"},
		{"webhook limit over the maximum", "GET /webhooks?limit=101", "limit", "number.max"},
		{"submission limit", "GET /forms/Feedbk/submissions?limit=501", "limit", "number.max"},
		{"filter", "GET /forms/Feedbk/submissions?filter=done", "filter", "any.only"},
		{"start date", "GET /forms/Feedbk/submissions?startDate=soon", "startDate", "date.format"},
		{"end date", "GET /forms/Feedbk/submissions?endDate=31.12.2026", "endDate", "date.format"},
		{"no period", "GET /forms/Feedbk/analytics/visits", "period", "any.required"},
		{"another period", "GET /forms/Feedbk/analytics/visits?period=2d", "period", "any.only"},
		{"timezone", "GET /users/me?timezone=%20", "timezone", "any.invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			a := b.do(tc.call).want(400)
			a.wantAt("errorType", "VALIDATION").wantAt("errors.#", 1)
			a.wantAt("errors.0.field", tc.wantField).wantAt("errors.0.type", tc.wantType)
			a.wantAt("message", a.at("errors.0.message"))
		})
	}
}

func TestRecordedEnvelopes(t *testing.T) {
	b := start(t)
	for _, tc := range []struct{ name, call, body, want string }{
		{
			"status required", "POST /forms", `{}`,
			`{"message":"\"status\" is required","errorType":"VALIDATION","errors":[{"message":"\"status\" is required","field":"status","type":"any.required"}]}`,
		},
		{
			"limit not allowed", "GET /workspaces?limit=10", "",
			`{"message":"\"limit\" is not allowed","errorType":"VALIDATION","errors":[{"message":"\"limit\" is not allowed","field":"limit","type":"object.unknown"}]}`,
		},
		{
			"blocks required", "POST /forms", `{"status":"DRAFT"}`,
			`{"message":"\"blocks\" is required","errorType":"VALIDATION","errors":[{"message":"\"blocks\" is required","field":"blocks","type":"any.required"}]}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) { b.in(t).do(tc.call, tc.body).want(400).wantBody(tc.want) })
	}
}

func TestBodies(t *testing.T) {
	b := start(t)
	for _, tc := range []struct {
		name, kind, body string
		want             int
	}{
		{"JSON", "application/json", `{"name":"New name"}`, 200},
		{"JSON with a character set", "application/json; charset=utf-8", `{"name":"New name"}`, 200},
		{"not declared as JSON", "text/plain", `{"name":"New name"}`, 400},
		{"broken", "application/json", `{"name":`, 400},
		{"two values", "application/json", `{"name":"a"} {}`, 400},
		{"an array", "application/json", `[]`, 400},
		{"null", "application/json", `null`, 400},
		{"empty", "application/json", ``, 400},
		{"unknown key", "application/json", `{"name":"a","color":"red"}`, 400},
		{"wrong type", "application/json", `{"name":7}`, 400},
		{"empty name", "application/json", `{"name":""}`, 400},
		{"not UTF-8", "application/json", "{\"name\":\"\xff\"}", 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			b.with("Content-Type", tc.kind).do("PATCH /workspaces/wsShop", tc.body).want(tc.want)
		})
	}
}

func TestOversizedBody(t *testing.T) {
	b := start(t)
	body := `{"name":"` + strings.Repeat("a", maxBody) + `"}`
	b.do("PATCH /workspaces/wsShop", body).want(http.StatusRequestEntityTooLarge)
}

func TestUnknownRoutes(t *testing.T) {
	b := start(t)
	for _, call := range []string{
		"GET /", "GET /me", "GET /v1/me", "GET /forms/Feedbk/responses", "PUT /forms/Feedbk", "GET /forms/", "GET //forms",
		"GET /forms/../users/me", "POST /forms/Feedbk/respond", "POST /webhooks/whkCrm/events/x/retry", "GET /webhooks/whkCrm",
	} {
		t.Run(call, func(t *testing.T) {
			b := b.in(t)
			b.do(call).want(404).wantBody(`{"message":"Route was not found"}`)
		})
	}
}

func TestCheckOrder(t *testing.T) {
	b := start(t, WithPlan(Free), WithRate(4))
	b.as("tly-nobody").with("User-Agent", "").do("GET /forms").want(403)
	b.as("tly-nobody").do("GET /forms?foo=1").want(401)
	b.do("POST /workspaces?foo=1", `{}`).want(401)
	b.do("POST /forms?foo=1", `{`).want(400).wantAt("errors.0.field", "foo")
	b.with("Tally-Version", "x").do("POST /workspaces", `{}`).want(400).wantAt("errors.0.field", "tally-version")
	b.do("GET /forms/nobody").want(404)
	b.with("Tally-Version", "x").do("GET /forms").want(429)
}

func TestEscapedIDs(t *testing.T) {
	b := start(t)
	for _, id := range []string{"%2e%2e%2fusers%2fme", "a%2Fb", "%00", "%0d%0a", "%F0%9F%8D%B5"} {
		if got := b.do("GET /forms/" + id).status; got != 404 {
			t.Errorf("GET /forms/%s = %d, want 404", id, got)
		}
	}
}
