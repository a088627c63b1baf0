package sandbox

import (
	"math"
	"testing"
	"time"
)

func TestRules(t *testing.T) {
	for _, tc := range []struct {
		name        string
		rule        rule
		value       string
		wantMessage string
		wantType    string
	}{
		{"text", text, `""`, "", ""},
		{"text of null", text, `null`, `"x" must be a string`, "string.base"},
		{"word", word, `"a"`, "", ""},
		{"empty word", word, `""`, `"x" is not allowed to be empty`, "string.empty"},
		{"boolean", boolean, `false`, "", ""},
		{"boolean as text", boolean, `"false"`, `"x" must be a boolean`, "boolean.base"},
		{"integer", integer(0, 5), `5`, "", ""},
		{"integer written long", integer(0, 5), `5.0`, "", ""},
		{"integer too low", integer(0, 5), `-1`, `"x" must be greater than or equal to 0`, "number.min"},
		{"integer too high", integer(0, 5), `6`, `"x" must be less than or equal to 5`, "number.max"},
		{"half", integer(0, 5), `2.5`, `"x" must be an integer`, "number.integer"},
		{"number out of range of doubles", number(0, math.MaxFloat64), `1e400`, `"x" must be a number`, "number.base"},
		{"number as text", number(0, 5), `"3"`, `"x" must be a number`, "number.base"},
		{"number null", number(0, 5), `null`, `"x" must be a number`, "number.base"},
		{"guid", guid, `"` + uuidA + `"`, "", ""},
		{"no guid", guid, `"a"`, `"x" must be a valid GUID`, "string.guid"},
		{"one of", oneOf("A", "B"), `"B"`, "", ""},
		{"none of", oneOf("A", "B"), `"C"`, `"x" must be one of [A, B]`, "any.only"},
		{"a number of", oneOf("A", "B"), `1`, `"x" must be one of [A, B]`, "any.only"},
		{"list", listOf(word), `["a","b"]`, "", ""},
		{"list of one bad", listOf(word), `["a",""]`, `"x[1]" is not allowed to be empty`, "string.empty"},
		{"list of a word", listOf(word), `"a"`, `"x" must be an array`, "array.base"},
		{"filled", filled(listOf(word)), `["a"]`, "", ""},
		{"not filled", filled(listOf(word)), `[]`, `"x" must contain at least 1 items`, "array.min"},
		{"nullable", nullable(word), `null`, "", ""},
		{"nullable of another", nullable(word), `7`, `"x" must be a string`, "string.base"},
		{"either, first", either(text, open()), `"a"`, "", ""},
		{"either, second", either(text, open()), `{}`, "", ""},
		{"neither", either(text, open()), `7`, `"x" must be of type object`, "object.base"},
		{"closed object", object(maybe("a", word)), `{"a":"b"}`, "", ""},
		{"closed object, other key", object(maybe("a", word)), `{"c":1,"b":1}`, `"x.b" is not allowed`, "object.unknown"},
		{"open object, other key", open(maybe("a", word)), `{"b":1}`, "", ""},
		{"needed", object(need("a", word)), `{}`, `"x.a" is required`, "any.required"},
		{"needed before unknown", object(need("a", word)), `{"b":1}`, `"x.a" is required`, "any.required"},
		{"nested", object(need("a", object(need("b", listOf(word))))), `{"a":{"b":[7]}}`, `"x.a.b[0]" must be a string`, "string.base"},
		{"url", webURL, `"https://example.com/a?b=c"`, "", ""},
		{"url of a mail", webURL, `"mailto:a@example.com"`, `"x" must be a valid uri with a scheme matching the http|https pattern`, "string.uriCustomScheme"},
		{"url broken", webURL, `"http://[::1"`, `"x" must be a valid uri with a scheme matching the http|https pattern`, "string.uriCustomScheme"},
		{"date", dateText, `"2026-01-01"`, "", ""},
		{"no date", dateText, `"2026-1-1"`, `"x" must be in ISO 8601 date format`, "date.format"},
		{"date as number", dateText, `20260101`, `"x" must be in ISO 8601 date format`, "date.format"},
		{"converted", converted(integer(1, 9)), `"7"`, "", ""},
		{"not convertible", converted(integer(1, 9)), `"seven"`, `"x" must be a number`, "number.base"},
		{"converted not a number", converted(integer(1, 9)), `"NaN"`, `"x" must be a number`, "number.base"},
		{"converted infinity", converted(integer(1, 9)), `"Inf"`, `"x" must be a number`, "number.base"},
		{"forbidden", forbiddenKey, `null`, `"x" is not allowed`, "object.unknown"},
		{"the one value", oneValue(false), `false`, "", ""},
		{"another value", oneValue(false), `true`, `"x" is not allowed`, "object.unknown"},
		{"zone", zone, `"Europe/Brussels"`, "", ""},
		{"deep zone", zone, `"America/Argentina/Buenos_Aires"`, "", ""},
		{"offset zone", zone, `"Etc/GMT+5"`, "", ""},
		{"path for a zone", zone, `"../../etc/passwd"`, `"x" must be a valid timezone`, "any.invalid"},
		{"addresses", addressList, `"a@example.com; b@example.com"`, "", ""},
		{"no address", addressList, `"a@example"`, `"x" must be a valid list of email addresses`, "string.email"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := tc.rule("x", parsed(t, tc.value))
			if bad == nil {
				bad = &violation{}
			}
			if bad.message() != tc.wantMessage || bad.code != tc.wantType {
				t.Errorf("rule(%s) = %s (%s), want %s (%s)", tc.value, bad.message(), bad.code, tc.wantMessage, tc.wantType)
			}
			if tc.wantType != "" && bad.field() != "x" {
				t.Errorf("field = %q, want the top-level key x", bad.field())
			}
		})
	}
}

func TestViolationField(t *testing.T) {
	for _, tc := range []struct{ path, bare, want string }{
		{"status", "", "status"},
		{"blocks[1].type", "", "blocks"},
		{"settings.styles", "", "settings"},
		{"", "blocks", "blocks"},
	} {
		v := &violation{path: tc.path, bare: tc.bare, text: "is wrong"}
		if got := v.field(); got != tc.want {
			t.Errorf("field(%q) = %q, want %q", tc.path, got, tc.want)
		}
	}
}

func TestLimiterWindows(t *testing.T) {
	clock := newWatch()
	l := newLimiter(2, clock.read)
	for _, tc := range []struct {
		name string
		wind time.Duration
		key  string
		want time.Duration
	}{
		{"first opens the window", 0, "a", 0},
		{"second", 30 * time.Second, "a", 0},
		{"third must wait", 0, "a", 30 * time.Second},
		{"another key has its own", 0, "b", 0},
		{"just before the end", 30*time.Second - 1, "a", 1},
		{"at the end a new one opens", 1, "a", 0},
		{"it is a whole minute", 59 * time.Second, "a", 0},
		{"and full again", 0, "a", time.Second},
		{"after a long silence", time.Hour, "a", 0},
	} {
		clock.wind(tc.wind)
		if got := l.spend(tc.key); got != tc.want {
			t.Errorf("%s: spend(%q) = %v, want %v", tc.name, tc.key, got, tc.want)
		}
	}
	l.reset()
	if got := l.spend("a"); got != 0 {
		t.Errorf("spend after reset = %v, want 0", got)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Second: "1", time.Millisecond: "1", 1500 * time.Millisecond: "2", time.Minute: "60"} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%v) = %s, want %s", d, got, want)
		}
	}
}
