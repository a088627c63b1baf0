package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody bounds what the sandbox reads of one request.
const maxBody = 16 << 20

// call is one request on its way to a handler.
type call struct {
	request *http.Request
	key     string
	user    *user
	org     *organization
	version string
	query   url.Values
	body    map[string]any
	now     time.Time
	state   *state
}

func (c *call) path(name string) string { return c.request.PathValue(name) }

// bare says whether the version asked for predates the list envelopes.
// [behaviour version-bare-arrays]
func (c *call) bare() bool { return c.version != "" && c.version < "2025-02-01" }

type check func(*call, *route) *reply

// admit runs the checks in the order assumed of Tally. [behaviour check-order]
func (s *Sandbox) admit(rt *route, c *call) *reply {
	for _, check := range []check{edge, s.bearer, s.spend, version, s.gate, checkQuery, checkBody} {
		if refusal := check(c, rt); refusal != nil {
			return refusal
		}
	}
	return nil
}

// edge is Cloudflare, which turns script agents away before Tally sees them.
// [behaviour edge-user-agent]
func edge(c *call, _ *route) *reply {
	agent := c.request.UserAgent()
	if agent != "" && !strings.HasPrefix(agent, "Python-urllib") {
		return nil
	}
	return &reply{status: http.StatusForbidden, text: "error code: 1010"}
}

// bearer finds whose key it is. [behaviour revoked-key]
func (s *Sandbox) bearer(c *call, _ *route) *reply {
	scheme, token, _ := strings.Cut(c.request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return unauthorized()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.state.keys[token]
	if k == nil {
		return unauthorized()
	}
	if k.revoked {
		return gone(s.opts.revokedStatus, "Key")
	}
	c.key, c.user = token, s.state.user(k.userID)
	c.org = s.state.organization(c.user.organizationID)
	return nil
}

// spend takes the request out of the key's minute. [behaviour rate-limit]
func (s *Sandbox) spend(c *call, _ *route) *reply {
	wait := s.limit.spend(c.key)
	if wait == 0 {
		return nil
	}
	refusal := failure(http.StatusTooManyRequests, "Too many requests")
	if s.opts.retryAfter {
		refusal.header = http.Header{"Retry-After": {seconds(wait)}}
	}
	return refusal
}

// version reads tally-version. [behaviour version-malformed]
func version(c *call, _ *route) *reply {
	c.version = c.request.Header.Get("Tally-Version")
	if c.version == "" {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, c.version); err != nil {
		return invalid(complain("tally-version", "must be in YYYY-MM-DD format", "date.format"))
	}
	return nil
}

// gate refuses paid features with the same 401 as a bad key. [behaviour plan-gate-401]
func (s *Sandbox) gate(c *call, rt *route) *reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if rt.paid && c.org.plan == Free {
		return unauthorized()
	}
	return nil
}

// checkQuery refuses parameters the route does not know. [behaviour unknown-query]
func checkQuery(c *call, rt *route) *reply {
	values, err := url.ParseQuery(c.request.URL.RawQuery)
	if err != nil {
		return invalid(complain("", "query string cannot be parsed", "any.invalid"))
	}
	c.query = values
	seen := make(map[string]any, len(values))
	for name, list := range values {
		seen[name] = list[0]
		if len(list) > 1 {
			seen[name] = list
		}
	}
	if bad := object(rt.query...)("", seen); bad != nil {
		return invalid(bad)
	}
	return nil
}

// checkBody reads JSON. A body of another type counts as none, as body
// parsers of Tally's kind do. [behaviour body-content-type]
func checkBody(c *call, rt *route) *reply {
	c.body = map[string]any{}
	if rt.body == nil {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if kind == "application/json" {
		value, err := decode(http.MaxBytesReader(nil, c.request.Body, maxBody))
		if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
			return failure(http.StatusRequestEntityTooLarge, "request entity too large")
		}
		if err != nil {
			return failure(http.StatusBadRequest, "Unexpected token in JSON")
		}
		object, ok := value.(map[string]any)
		if !ok {
			return invalid(complain("value", "must be of type object", "object.base"))
		}
		c.body = object
	}
	if bad := rt.body("", c.body); bad != nil {
		return invalid(bad)
	}
	return nil
}

// decode reads exactly one JSON value and keeps numbers as written.
func decode(r io.Reader) (any, error) {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		if errors.Is(err, io.EOF) {
			return map[string]any{}, nil
		}
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return value, nil
}
