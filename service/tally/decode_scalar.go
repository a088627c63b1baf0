package tally

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxExactInteger is the largest integer up to which a float64 holds every one.
const maxExactInteger = 1 << 53

func (d *decoder) scalar(f *fieldPlan, raw jsontext.Value) error {
	switch raw[0] {
	case '{', '[':
		return d.fieldError(f, raw)
	}
	switch f.desc.Kind() {
	case protoreflect.StringKind:
		d.wire = protowire.AppendTag(d.wire, f.number, protowire.BytesType)
		d.text(raw)
		return nil
	case protoreflect.BoolKind:
		return d.flag(f, raw)
	case protoreflect.DoubleKind:
		n, ok := parseFloat(d.unquote(nil, raw))
		if !ok {
			return d.fieldError(f, raw)
		}
		d.wire = protowire.AppendTag(d.wire, f.number, protowire.Fixed64Type)
		d.wire = protowire.AppendFixed64(d.wire, math.Float64bits(n))
		return nil
	default:
		return d.integer(f, raw)
	}
}

func (d *decoder) flag(f *fieldPlan, raw jsontext.Value) error {
	value := protowire.EncodeBool(false)
	switch string(d.unquote(nil, raw)) {
	case "true":
		value = protowire.EncodeBool(true)
	case "false":
	default:
		return d.fieldError(f, raw)
	}
	d.wire = protowire.AppendTag(d.wire, f.number, protowire.VarintType)
	d.wire = protowire.AppendVarint(d.wire, value)
	return nil
}

func (d *decoder) integer(f *fieldPlan, raw jsontext.Value) error {
	n, ok := parseInteger(d.unquote(nil, raw))
	if f.desc.Kind() == protoreflect.Int32Kind && (n < math.MinInt32 || n > math.MaxInt32) {
		ok = false
	}
	if !ok {
		return d.fieldError(f, raw)
	}
	d.wire = protowire.AppendTag(d.wire, f.number, protowire.VarintType)
	d.wire = protowire.AppendVarint(d.wire, uint64(n)) //nolint:gosec // two's complement is what the wire wants
	return nil
}

// parseInteger reads an integer, also one written as 3.0 or 3e2, and refuses what is not exactly one.
func parseInteger(text []byte) (int64, bool) {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, true
	}
	n, ok := parseFloat(text)
	if !ok || n != math.Trunc(n) || math.Abs(n) >= maxExactInteger {
		return 0, false
	}
	return int64(n), true
}

// parseFloat reads a decimal number as JSON writes it; hexadecimal, NaN and infinity are none.
func parseFloat(text []byte) (float64, bool) {
	if len(text) == 0 || bytes.ContainsAny(text, "xXnNiIpP_") {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(text), 64)
	return n, err == nil
}

// isExact tells whether a double holds the number as it is written; only of an integer do people expect that.
func isExact(text []byte) bool {
	if bytes.ContainsAny(text, ".eE") {
		return true
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return err == nil && n <= maxExactInteger && n >= -maxExactInteger
}

// enum decodes a text that stands for a value. An unknown one never fails a call: Tally extends its sets without notice.
func (d *decoder) enum(f *fieldPlan, raw jsontext.Value) error {
	if raw[0] == '{' || raw[0] == '[' {
		return d.fieldError(f, raw)
	}
	text := d.unquote(nil, raw)
	number, known := f.enumByID[string(text)]
	if !known {
		d.notUnderstood(f, raw, "unknown_enum")
		// An element of a list keeps its place.
		if !f.desc.IsList() {
			return nil
		}
	}
	d.wire = protowire.AppendTag(d.wire, f.number, protowire.VarintType)
	d.wire = protowire.AppendVarint(d.wire, uint64(number)) //nolint:gosec // enum numbers are not negative here
	return nil
}

// time decodes RFC 3339. What is none, or lies outside the years 1 to 9999, is left absent and kept as text where there is room.
func (d *decoder) time(f *fieldPlan, raw jsontext.Value) error {
	if raw[0] != '"' {
		d.notUnderstood(f, raw, "unknown_time")
		return nil
	}
	t, ok := parseTime(string(d.unquote(nil, raw)))
	if !ok {
		d.notUnderstood(f, raw, "unknown_time")
		return nil
	}
	at := d.open(f.number)
	d.wire = protowire.AppendTag(d.wire, 1, protowire.VarintType)
	d.wire = protowire.AppendVarint(d.wire, uint64(t.Unix())) //nolint:gosec // two's complement is what the wire wants
	if n := t.Nanosecond(); n != 0 {
		d.wire = protowire.AppendTag(d.wire, 2, protowire.VarintType)
		d.wire = protowire.AppendVarint(d.wire, uint64(n)) //nolint:gosec // nanoseconds of a second are not negative
	}
	d.close(at)
	return nil
}

// parseTime reads RFC 3339 within the years that a Timestamp may hold.
func parseTime(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	return t, err == nil && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999
}

// notUnderstood counts a value and keeps its text in the field's sibling, where the contract has one.
func (d *decoder) notUnderstood(f *fieldPlan, raw jsontext.Value, kind string) {
	d.drift(string(f.desc.FullName()), kind)
	if f.rawText != nil {
		d.wire = protowire.AppendTag(d.wire, f.rawText.number, protowire.BytesType)
		d.text(raw)
	}
}

// rawValue keeps a JSON value as it came.
func (d *decoder) rawValue(f *fieldPlan, raw jsontext.Value) {
	text := []byte(raw)
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
		d.lossy = true
	}
	d.wire = protowire.AppendTag(d.wire, f.number, protowire.BytesType)
	d.wire = protowire.AppendBytes(d.wire, text)
}

// fieldError names the field and what came, never the value, which may be an answer.
func (d *decoder) fieldError(f *fieldPlan, raw jsontext.Value) error {
	return fmt.Errorf("%s: %s cannot hold this %s: %w",
		d.json.StackPointer(), f.desc.Kind(), raw.Kind(), errShape)
}

// structFields decodes an object as a Struct's fields.
func (d *decoder) structFields(depth int) error {
	if d.json.PeekKind() != '{' {
		return d.shapeError("an object")
	}
	if depth > maxStructDepth {
		return fmt.Errorf("%s: nested deeper than %d", d.json.StackPointer(), maxStructDepth)
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != '}' {
		raw, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		if err := d.structEntry(raw, depth); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// structMember decodes the value of a key that the contract does not name into the Struct that collects those.
func (d *decoder) structMember(number protowire.Number, key string) error {
	at := d.open(number)
	quoted, err := jsontext.AppendQuote(nil, key)
	if err != nil {
		return err
	}
	err = d.structEntry(quoted, 1)
	d.close(at)
	return err
}

func (d *decoder) structEntry(name jsontext.Value, depth int) error {
	entry := d.open(1)
	d.wire = protowire.AppendTag(d.wire, 1, protowire.BytesType)
	d.text(name)
	at := d.open(2)
	if err := d.value(depth); err != nil {
		return err
	}
	d.close(at)
	d.close(entry)
	return nil
}

// value decodes any JSON value as the content of a google.protobuf.Value.
func (d *decoder) value(depth int) error {
	switch d.json.PeekKind() {
	case '{':
		at := d.open(5)
		err := d.structFields(depth + 1)
		d.close(at)
		return err
	case '[':
		at := d.open(6)
		err := d.values(depth + 1)
		d.close(at)
		return err
	}
	raw, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	return d.scalarValue(raw)
}

func (d *decoder) values(depth int) error {
	if depth > maxStructDepth {
		return fmt.Errorf("%s: nested deeper than %d", d.json.StackPointer(), maxStructDepth)
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != ']' {
		at := d.open(1)
		if err := d.value(depth); err != nil {
			return err
		}
		d.close(at)
	}
	_, err := d.json.ReadToken()
	return err
}

func (d *decoder) scalarValue(raw jsontext.Value) error {
	switch raw[0] {
	case 'n':
		d.wire = append(protowire.AppendTag(d.wire, 1, protowire.VarintType), 0)
	case 't', 'f':
		d.wire = protowire.AppendTag(d.wire, 4, protowire.VarintType)
		d.wire = protowire.AppendVarint(d.wire, protowire.EncodeBool(raw[0] == 't'))
	case '"':
		d.wire = protowire.AppendTag(d.wire, 3, protowire.BytesType)
		d.text(raw)
	default:
		n, ok := parseFloat(raw)
		if !ok || !isExact(raw) {
			return fmt.Errorf("%s: a number that a double cannot hold exactly: %w", d.json.StackPointer(), errShape)
		}
		d.wire = protowire.AppendTag(d.wire, 2, protowire.Fixed64Type)
		d.wire = protowire.AppendFixed64(d.wire, math.Float64bits(n))
	}
	return nil
}
