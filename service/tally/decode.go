package tally

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxStructDepth is how deep a google.protobuf.Struct may nest: decoders of other languages give up soon after.
const maxStructDepth = 24

// errShape is a JSON value of a kind that its field cannot take.
var errShape = errors.New("value is of the wrong kind")

// decoder turns one JSON text into the wire bytes of a message in a single pass. Wire bytes, because appending them straight
// from the tokens is several times faster than setting fields by reflection, and proto.Unmarshal does the rest at full speed.
type decoder struct {
	json  *jsontext.Decoder
	wire  []byte
	drift func(path, kind string)
	lossy bool
	// items is the list that an envelope must hold, sawItems that it did.
	items    *fieldPlan
	sawItems bool
}

func newDecoder(data []byte, drift func(path, kind string)) *decoder {
	return &decoder{
		json: jsontext.NewDecoder(bytes.NewBuffer(data),
			// Names are checked against the plan, and text is repaired below, where it can be said so.
			jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		wire:  make([]byte, 0, len(data)),
		drift: drift,
	}
}

// end demands that nothing follows the value.
func (d *decoder) end() error {
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// object decodes the fields of an object whose opening brace is the next token. other gets the keys that the plan lacks.
func (d *decoder) object(p *plan, other func(key string) (taken bool, err error)) error {
	if d.json.PeekKind() != '{' {
		return d.shapeError("an object")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	outer := d.lossy
	d.lossy = false
	var seen uint64
	for d.json.PeekKind() != '}' {
		if err := d.member(p, &seen, other); err != nil {
			return err
		}
	}
	if d.lossy && p.lossy != nil {
		d.wire = protowire.AppendTag(d.wire, p.lossy.number, protowire.VarintType)
		d.wire = protowire.AppendVarint(d.wire, 1)
	}
	d.lossy = d.lossy || outer
	_, err := d.json.ReadToken()
	return err
}

func (d *decoder) member(p *plan, seen *uint64, other func(string) (bool, error)) error {
	raw, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	f := p.byKey[string(raw[1:len(raw)-1])]
	if f == nil {
		// A name may be written with escapes; that is rare enough to cost an allocation.
		key := string(d.unquote(nil, raw))
		if f = p.byKey[key]; f == nil {
			return d.unknown(p, key, other)
		}
	}
	// Two values for one key: there is no telling which one Tally means.
	if *seen&(1<<f.index) != 0 {
		return fmt.Errorf("%s: key appears twice", d.json.StackPointer())
	}
	*seen |= 1 << f.index
	return d.field(f)
}

func (d *decoder) unknown(p *plan, key string, other func(string) (bool, error)) error {
	if other != nil {
		if taken, err := other(key); taken || err != nil {
			return err
		}
	}
	if p.rest != nil {
		return d.structMember(p.rest.number, key)
	}
	d.drift(string(p.desc.FullName())+"."+key, "unknown_field")
	return d.json.SkipValue()
}

// field decodes the value of one field; null leaves it absent.
func (d *decoder) field(f *fieldPlan) error {
	kind := d.json.PeekKind()
	if kind == 'n' {
		return d.json.SkipValue()
	}
	d.sawItems = d.sawItems || f == d.items
	switch {
	case f.desc.IsMap():
		return d.mapField(f)
	case f.desc.IsList():
		return d.list(f)
	default:
		return d.single(f)
	}
}

func (d *decoder) list(f *fieldPlan) error {
	if d.json.PeekKind() != '[' {
		return d.shapeError("a list")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != ']' {
		if d.json.PeekKind() == 'n' {
			// A hole in a list stands for nothing that a caller could use.
			if err := d.json.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if err := d.single(f); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

func (d *decoder) mapField(f *fieldPlan) error {
	if d.json.PeekKind() != '{' {
		return d.shapeError("an object")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != '}' {
		entry := d.open(f.number)
		raw, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		d.wire = protowire.AppendTag(d.wire, 1, protowire.BytesType)
		d.text(raw)
		if err := d.field(f.value); err != nil {
			return err
		}
		d.close(entry)
	}
	_, err := d.json.ReadToken()
	return err
}

// single decodes one value: a field's, or one element of its list.
func (d *decoder) single(f *fieldPlan) error {
	switch f.shape {
	case shapeMessage:
		at := d.open(f.number)
		err := d.object(f.message, nil)
		d.close(at)
		return err
	case shapeWrapped:
		at := d.open(f.number)
		err := d.list(f.value)
		d.close(at)
		return err
	case shapeStruct:
		at := d.open(f.number)
		err := d.structFields(1)
		d.close(at)
		return err
	case shapeValue:
		at := d.open(f.number)
		err := d.value(0)
		d.close(at)
		return err
	}
	raw, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	switch f.shape {
	case shapeEnum:
		return d.enum(f, raw)
	case shapeTime:
		return d.time(f, raw)
	case shapeRaw:
		d.rawValue(f, raw)
		return nil
	default:
		return d.scalar(f, raw)
	}
}

// open begins a length-delimited field and returns where its content starts, after one byte for its length.
func (d *decoder) open(number protowire.Number) int {
	d.wire = append(protowire.AppendTag(d.wire, number, protowire.BytesType), 0)
	return len(d.wire)
}

// close fills in the length of the content that starts at start. Most contents are short; others make room for their length.
func (d *decoder) close(start int) {
	n := uint64(len(d.wire) - start) //nolint:gosec // a length is not negative
	if more := protowire.SizeVarint(n) - 1; more > 0 {
		d.wire = append(d.wire, make([]byte, more)...)
		copy(d.wire[start+more:], d.wire[start:len(d.wire)-more])
	}
	protowire.AppendVarint(d.wire[:start-1], n)
}

// text appends a JSON string, or the literal of another scalar, as length-delimited text.
func (d *decoder) text(raw jsontext.Value) {
	d.wire = append(d.wire, 0)
	start := len(d.wire)
	d.wire = d.unquote(d.wire, raw)
	d.close(start)
}

// unquote appends the text of a JSON string. Text that is no valid UTF-8 is repaired and noted: a string field that is not
// would fail the whole call.
func (d *decoder) unquote(dst []byte, raw jsontext.Value) []byte {
	if raw[0] != '"' {
		return append(dst, raw...)
	}
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return append(dst, inner...)
	}
	dst, err := jsontext.AppendUnquote(dst, raw)
	if err != nil {
		d.lossy = true
	}
	return dst
}

func (d *decoder) shapeError(want string) error {
	return fmt.Errorf("%s: want %s, have %s: %w", d.json.StackPointer(), want, d.json.PeekKind(), errShape)
}
