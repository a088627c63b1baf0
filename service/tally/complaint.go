package tally

import (
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tallyd/tallyd/service/apikey"
)

const (
	// maxMessage is the longest excerpt of what Tally said, in characters.
	maxMessage = 200
	// maxForeign is how many bytes of a text are looked at; a key in any encoding is shorter than half of them.
	maxForeign = 8 << 10
	// maxViolations bounds what is kept of an error's items.
	maxViolations = 64
	// unknownKey is the code of a key that Tally does not know.
	unknownKey = "object.unknown"
)

// complaint is an error body of Tally's; the items come in two shapes.
type complaint struct {
	Message string `json:"message"`
	Error   string `json:"error"`
	Errors  []struct {
		Message   string `json:"message"`
		Msg       string `json:"msg"`
		Field     string `json:"field"`
		Type      string `json:"type"`
		ErrorType string `json:"errorType"`
	} `json:"errors"`
}

// readErrorBody takes from an error's body what may be shown: Tally's sentence and the fields it is about.
func (x *exchange) readErrorBody(e *Error, answer *reply, key apikey.Key) {
	var c complaint
	secrets := x.newCensor()
	show := func(text string) string { return excerpt(key, secrets.hide(text[:min(len(text), maxForeign+1)])) }
	e.JSON = jsontext.Value(answer.body).Kind() == '{' && json.Unmarshal(answer.body, &c) == nil
	if !e.JSON {
		if !isHTML(answer) {
			e.Message = show(string(answer.body[:min(len(answer.body), maxForeign+1)]))
		}
		return
	}
	e.Message = show(firstOf(c.Message, c.Error))
	for _, item := range c.Errors[:min(len(c.Errors), maxViolations)] {
		said := firstOf(item.Message, item.Msg)
		path := complaintPath(item.Field, said)
		e.Violations = append(e.Violations, Violation{
			Field:       show(x.protoPath(path)),
			Key:         excerpt(key, path),
			Code:        show(firstOf(item.Type, item.ErrorType)),
			Description: show(said),
		})
	}
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// quotedPath is the path that a message names in quotes.
var quotedPath = regexp.MustCompile(`^"([A-Za-z0-9_.\[\]-]{1,256})"`)

// complaintPath returns the most precise path that an item gives: its field is only the top-level key, its message quotes all of it.
func complaintPath(field, message string) string {
	if m := quotedPath.FindStringSubmatch(message); m != nil {
		if field == "" || m[1] == field || strings.HasPrefix(m[1], field+".") || strings.HasPrefix(m[1], field+"[") {
			return m[1]
		}
	}
	return field
}

// protoPath translates a path of Tally's into the caller's own. It is empty for a key that the caller did not set: then the
// complaint is about what tallyd added.
func (x *exchange) protoPath(path string) string {
	if !x.callers(path) {
		return ""
	}
	var out strings.Builder
	at := x.method.request
	for i, step := range strings.Split(path, ".") {
		name, index, _ := strings.Cut(step, "[")
		if at == nil {
			// Inside a Struct or a Value the keys are Tally's own.
			out.WriteString("." + step)
			continue
		}
		f := at.byKey[name]
		if f == nil && i > 0 && at.rest != nil {
			f = at.rest
			out.WriteString("." + string(f.desc.Name()))
			at = nil
			out.WriteString("." + step)
			continue
		}
		if f == nil || f.local {
			return ""
		}
		if i > 0 {
			out.WriteByte('.')
		}
		out.WriteString(string(f.desc.Name()))
		if index != "" {
			out.WriteString("[" + index)
		}
		at = f.message
	}
	return out.String()
}

// callers tells whether a complaint about a path of the body is about what the caller asked for: a field that it set, named in the
// mask, or left out although it is required. What only the parts that were read before brought in is not.
func (x *exchange) callers(path string) bool {
	own, err := x.method.body(x.msg, nil)
	if err != nil {
		return false
	}
	top, _, _ := strings.Cut(path, ".")
	name, _, _ := strings.Cut(top, "[")
	f := x.method.request.byKey[name]
	return (holds(own, top) || f != nil && f.required) && (holds(own, path) || !holds(x.body, path))
}

// holds tells whether an object has a value at a path; within a list it does not look.
func holds(object jsontext.Value, path string) bool {
	step, rest, nested := strings.Cut(path, ".")
	name, _, listed := strings.Cut(step, "[")
	found := false
	_ = eachMember(object, func(key string, value jsontext.Value) error {
		found = found || key == name && (!nested || listed || holds(value, rest))
		return nil
	})
	return found
}

// maxDrops bounds how often a request is sent again without a key that Tally refused: it names one at a time.
const maxDrops = 5

// dropRefused removes from the parts that were read before the keys that Tally refuses and the caller did not set, and reports
// whether the request may be sent again.
func (x *exchange) dropRefused(e *Error) bool {
	if x.drops == maxDrops || e.Status != 400 || len(x.options.parts) == 0 || len(e.Violations) == 0 {
		return false
	}
	parts := maps.Clone(x.options.parts)
	for _, v := range e.Violations {
		part, key, nested := strings.Cut(v.Key, ".")
		before, ok := parts[part]
		if v.Code != unknownKey || v.Field != "" || !nested || !ok || strings.ContainsAny(key, ".[") {
			return false
		}
		parts[part] = withoutKey(before, key)
		x.client.config.Drift(string(x.method.request.desc.FullName())+"."+v.Key, "refused_key")
	}
	x.drops++
	x.options.parts = parts
	body, err := x.method.body(x.msg, x.options.parts)
	if err != nil || string(body) == string(x.body) {
		return false
	}
	x.body = body
	return true
}

// withoutKey returns an object without one of its keys.
func withoutKey(object jsontext.Value, key string) jsontext.Value {
	e := encoder{json: []byte{'{'}}
	_ = eachMember(object, func(name string, value jsontext.Value) error {
		if name != key {
			e.key(name)
			e.json = append(e.json, value...)
		}
		return nil
	})
	return append(e.json, '}')
}

// excerpt makes foreign text fit for a message: no echo of the key, one line, printable, at most maxMessage characters.
func excerpt(key apikey.Key, text string) string {
	if len(text) > maxForeign {
		// The end of what is looked at may be the first half of an echo, which Redact does not know.
		text = key.Redact(text[:maxForeign])
		text = text[:max(0, len(text)-maxForeign/2)]
	} else {
		text = key.Redact(text)
	}
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	return clip(strings.Join(strings.Fields(text), " "), maxMessage)
}

// clip cuts text to at most n characters.
func clip(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// quietError is a foreign error whose text was made fit for a log: it may hold bytes of Tally's, and among them the key.
type quietError struct {
	text string
	err  error
}

func (e *quietError) Error() string { return e.text }
func (e *quietError) Unwrap() error { return e.err }

func quiet(key apikey.Key, err error) error {
	if err == nil {
		return nil
	}
	return &quietError{text: excerpt(key, err.Error()), err: err}
}
