package tally

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
)

// maxTallyPage bounds the page size that an answer may claim.
const maxTallyPage = 1 << 20

// envelope is what an answer says around the items of a list.
type envelope struct {
	limit   int
	hasMore bool
	sawMore bool
}

// decodeAnswer fills resp from the body of a successful answer, as the RPC's description says what the body stands for.
func (m *method) decodeAnswer(body []byte, resp proto.Message, drift func(path, kind string), opaque bool) (envelope, error) {
	d := newDecoder(body, drift)
	var env envelope
	var err error
	switch kind := d.json.PeekKind(); {
	case m.list != nil:
		env, err = d.listAnswer(m, kind)
	case m.answer != nil:
		err = d.field(m.answer)
	default:
		err = d.object(m.response, nil)
	}
	if err != nil {
		return env, err
	}
	if err := d.end(); err != nil {
		return env, err
	}
	if m.answer != nil && len(d.wire) == 0 && m.list == nil {
		return env, errors.New("the answer is null")
	}
	if opaque && m.list == nil {
		resp.ProtoReflect().SetUnknown(d.wire)
		return env, nil
	}
	return env, proto.UnmarshalOptions{AllowPartial: true, Merge: true}.Unmarshal(d.wire, resp)
}

// listAnswer decodes either form in which Tally answers lists: a bare array, as some routes and old versions do, or an envelope.
// What is neither is an error: a list must never be empty by mistake.
func (d *decoder) listAnswer(m *method, kind jsontext.Kind) (envelope, error) {
	if kind == '[' {
		return envelope{}, d.list(m.list.items)
	}
	env := envelope{}
	d.items = m.list.items
	err := d.object(m.response, func(key string) (bool, error) { return d.envelopeKey(m.list, &env, key) })
	if err != nil {
		return env, err
	}
	if !d.sawItems {
		return env, fmt.Errorf("the list has no key %q", m.list.items.key)
	}
	if m.list.hasMore != "" && !env.sawMore {
		return env, fmt.Errorf("the list has no key %q", m.list.hasMore)
	}
	return env, nil
}

// envelopeKey reads the keys around the items that concern paging alone.
func (d *decoder) envelopeKey(l *listBinding, env *envelope, key string) (bool, error) {
	if key != "page" && key != "limit" && key != l.hasMore {
		return false, nil
	}
	raw, err := d.json.ReadValue()
	if err != nil {
		return true, err
	}
	switch key {
	case "limit":
		if n, ok := parseInteger(d.unquote(nil, raw)); ok && n > 0 && n <= maxTallyPage {
			env.limit = int(n)
		}
	case l.hasMore:
		env.sawMore = raw.Kind() == 't' || raw.Kind() == 'f'
		env.hasMore = raw.Kind() == 't'
	}
	return true, nil
}
