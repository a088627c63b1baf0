package tally

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/tallyd/tallyd/service/apikey"
)

const (
	// shortSecret is the length below which hiding a secret would strike ordinary words.
	shortSecret = 4
	// longSecret is the longest text that a key may be; a longer secret is hidden in parts.
	longSecret = 1024
)

// censor hides what an error must not repeat: the caller's own secrets, which the request carried and Tally may echo. They are hidden
// as the key is, whole, in parts and encoded.
type censor []apikey.Key

// newCensor knows the secrets of a request: fields that the contract marks with debug_redact, and the same keys of what Tally sent
// before and is sent back.
func (x *exchange) newCensor() censor {
	var c censor
	// Nothing here returns an error that could end the walk.
	_ = protorange.Range(x.msg, func(path protopath.Values) error {
		if last := path.Index(-1); isSecret(fieldOf(path)) {
			if text, ok := last.Value.Interface().(string); ok {
				c = c.add(text)
			}
		}
		return nil
	})
	for key, part := range x.options.parts {
		if f := x.method.request.byKey[key]; f != nil && f.message != nil {
			c = c.addPart(f.message, part)
		}
	}
	return c
}

// fieldOf returns the field that the value at the end of a path belongs to, also as an element of its list.
func fieldOf(path protopath.Values) protoreflect.FieldDescriptor {
	step := path.Index(-1).Step
	if step.Kind() == protopath.ListIndexStep {
		step = path.Index(-2).Step
	}
	if step.Kind() != protopath.FieldAccessStep {
		return nil
	}
	return step.FieldDescriptor()
}

func isSecret(field protoreflect.FieldDescriptor) bool {
	if field == nil {
		return false
	}
	options, ok := field.Options().(*descriptorpb.FieldOptions)
	return ok && options.GetDebugRedact()
}

// addPart adds the secrets among an object's members.
func (c censor) addPart(p *plan, object jsontext.Value) censor {
	// An object that cannot be read has been refused before.
	_ = eachMember(object, func(key string, value jsontext.Value) error {
		if f := p.byKey[key]; f != nil && isSecret(f.desc) && value.Kind() == '"' {
			c = c.add(string(new(decoder).unquote(nil, value)))
		}
		return nil
	})
	return c
}

// add adds the words of a secret: what stands between them, errors do not repeat as it was.
func (c censor) add(secret string) censor {
	for _, word := range strings.FieldsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		for len(word) >= shortSecret {
			part := word[:min(len(word), longSecret)]
			word = word[len(part):]
			if key, err := apikey.ParseKey(part); err == nil {
				c = append(c, key)
			}
		}
	}
	return c
}

// hide returns a text without the secrets.
func (c censor) hide(text string) string {
	for _, secret := range c {
		text = secret.Redact(text)
	}
	return text
}

// clean hides the secrets in what an error says, wherever it may stand.
func (c censor) clean(e *Error) *Error {
	if len(c) == 0 {
		return e
	}
	for _, text := range []*string{&e.Message, &e.RedirectHost, &e.Ray, &e.RequestID} {
		*text = c.hide(*text)
	}
	if e.Err != nil {
		e.Err = &quietError{text: c.hide(e.Err.Error()), err: e.Err}
	}
	return e
}
