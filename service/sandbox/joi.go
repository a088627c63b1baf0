package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
)

// violation is one complaint of the validator in Joi's words.
//
// Most messages begin with the quoted path; where a recorded one does not,
// bare names the field instead.
type violation struct {
	path, text, code string
	bare             string
}

func complain(path, text, code string) *violation {
	return &violation{path: path, text: text, code: code}
}

func (v *violation) message() string {
	if v.path == "" {
		return v.text
	}
	return `"` + v.path + `" ` + v.text
}

// field is the top-level key alone, even for a complaint deep inside blocks.
func (v *violation) field() string {
	if v.bare != "" {
		return v.bare
	}
	if i := strings.IndexAny(v.path, ".["); i >= 0 {
		return v.path[:i]
	}
	return v.path
}

// rule checks a value found at a path.
type rule func(path string, v any) *violation

// key is one key of an object and its rule.
type key struct {
	name     string
	required bool
	check    rule
}

func need(name string, r rule) key  { return key{name: name, required: true, check: r} }
func maybe(name string, r rule) key { return key{name: name, check: r} }

// object accepts the given keys and no others.
func object(keys ...key) rule { return objectRule(keys, true) }

// open accepts the given keys and tolerates others.
func open(keys ...key) rule { return objectRule(keys, false) }

func objectRule(keys []key, closed bool) rule {
	return func(path string, v any) *violation {
		m, ok := v.(map[string]any)
		if !ok {
			return complain(orValue(path), "must be of type object", "object.base")
		}
		if bad := checkKeys(path, m, keys); bad != nil || !closed {
			return bad
		}
		return unknownKey(path, m, keys)
	}
}

func orValue(path string) string {
	if path == "" {
		return "value"
	}
	return path
}

func checkKeys(path string, m map[string]any, keys []key) *violation {
	for _, k := range keys {
		v, present := m[k.name]
		if !present && k.required {
			return complain(join(path, k.name), "is required", "any.required")
		}
		if !present {
			continue
		}
		if bad := k.check(join(path, k.name), v); bad != nil {
			return bad
		}
	}
	return nil
}

func unknownKey(path string, m map[string]any, keys []key) *violation {
	for _, name := range sortedKeys(m) {
		if !slices.ContainsFunc(keys, func(k key) bool { return k.name == name }) {
			return complain(join(path, name), "is not allowed", "object.unknown")
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func listOf(each rule) rule {
	return func(path string, v any) *violation {
		list, ok := v.([]any)
		if !ok {
			return complain(path, "must be an array", "array.base")
		}
		for i, item := range list {
			if bad := each(fmt.Sprintf("%s[%d]", path, i), item); bad != nil {
				return bad
			}
		}
		return nil
	}
}

func filled(r rule) rule {
	return func(path string, v any) *violation {
		if list, ok := v.([]any); ok && len(list) == 0 {
			return complain(path, "must contain at least 1 items", "array.min")
		}
		return r(path, v)
	}
}

func nullable(r rule) rule {
	return func(path string, v any) *violation {
		if v == nil {
			return nil
		}
		return r(path, v)
	}
}

func either(a, b rule) rule {
	return func(path string, v any) *violation {
		if a(path, v) == nil {
			return nil
		}
		return b(path, v)
	}
}

func anything(string, any) *violation { return nil }

func forbiddenKey(path string, _ any) *violation {
	return complain(path, "is not allowed", "object.unknown")
}

func boolean(path string, v any) *violation {
	if _, ok := v.(bool); !ok {
		return complain(path, "must be a boolean", "boolean.base")
	}
	return nil
}

// text accepts any string, the empty one too.
func text(path string, v any) *violation {
	if _, ok := v.(string); !ok {
		return complain(path, "must be a string", "string.base")
	}
	return nil
}

// word accepts a string that is not empty.
func word(path string, v any) *violation {
	if v == "" {
		return complain(path, "is not allowed to be empty", "string.empty")
	}
	return text(path, v)
}

func guid(path string, v any) *violation {
	if bad := word(path, v); bad != nil {
		return bad
	}
	if !isUUID(v.(string)) {
		return complain(path, "must be a valid GUID", "string.guid")
	}
	return nil
}

func webURL(path string, v any) *violation {
	if bad := word(path, v); bad != nil {
		return bad
	}
	u, err := url.Parse(v.(string))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return complain(path, "must be a valid uri with a scheme matching the http|https pattern", "string.uriCustomScheme")
	}
	return nil
}

func oneOf(allowed ...string) rule {
	return func(path string, v any) *violation {
		if s, ok := v.(string); ok && slices.Contains(allowed, s) {
			return nil
		}
		return complain(path, "must be one of ["+strings.Join(allowed, ", ")+"]", "any.only")
	}
}

func integer(low, high float64) rule {
	return func(path string, v any) *violation {
		if bad := number(low, high)(path, v); bad != nil {
			return bad
		}
		if n, _ := toNumber(v); n != math.Trunc(n) {
			return complain(path, "must be an integer", "number.integer")
		}
		return nil
	}
}

func number(low, high float64) rule {
	return func(path string, v any) *violation {
		n, ok := toNumber(v)
		switch {
		case !ok:
			return complain(path, "must be a number", "number.base")
		case n < low:
			return complain(path, fmt.Sprintf("must be greater than or equal to %v", low), "number.min")
		case n > high:
			return complain(path, fmt.Sprintf("must be less than or equal to %v", high), "number.max")
		}
		return nil
	}
}

func toNumber(v any) (float64, bool) {
	switch n := v.(type) {
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	return 0, false
}

// dateText accepts ISO 8601 dates and date-times.
func dateText(path string, v any) *violation {
	s, _ := v.(string)
	if _, err := parseDate(s); err != nil {
		return complain(path, "must be in ISO 8601 date format", "date.format")
	}
	return nil
}

func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Parse(time.DateOnly, s)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
