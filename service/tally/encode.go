package tally

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// timeLayout is how Tally itself writes times: UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// encoder turns messages into JSON. Strict out: only what the contract names as writable leaves.
type encoder struct {
	json []byte
}

// object is one JSON object to write: the selected fields of a message over the keys that Tally sent before.
type object struct {
	plan *plan
	msg  protoreflect.Message
	sel  *selection
	// base is the object as Tally sent it; its keys stay where the message does not change them.
	base jsontext.Value
	// parts holds bases for fields of this object, by key.
	parts map[string]jsontext.Value
	// skip tells the fields that do not travel here.
	skip func(*fieldPlan) bool
	// element says that the object is one of a list: it is whole, so that an empty text is a value.
	element bool
}

func (e *encoder) object(o object) error {
	e.json = append(e.json, '{')
	written := map[string]bool{}
	for _, f := range o.plan.fields {
		if f.local || f == o.plan.rest || f == o.plan.lossy || (o.skip != nil && o.skip(f)) {
			continue
		}
		if err := e.member(o, f, written); err != nil {
			return err
		}
	}
	if rest := o.plan.rest; rest != nil && o.msg.Has(rest.desc) && (o.sel.all() || o.sel.child(rest.desc.Name()) != nil) {
		if err := e.restMembers(o.plan, o.msg, written); err != nil {
			return err
		}
	}
	if err := e.baseMembers(o.base, written); err != nil {
		return err
	}
	e.json = append(e.json, '}')
	return nil
}

func (e *encoder) member(o object, f *fieldPlan, written map[string]bool) error {
	child := o.sel.child(f.desc.Name())
	if o.sel.all() {
		travels := f.required || f.enumText[0] != "" || (o.element && f.shape == shapeScalar && !f.desc.IsList() && !f.desc.HasPresence())
		if !o.msg.Has(f.desc) && !travels {
			return nil
		}
	} else if child == nil {
		return nil
	}
	written[f.key] = true
	e.key(f.key)
	if err := e.field(f, o.msg, child, o.parts[f.key]); err != nil {
		return pathError(string(f.desc.Name()), err)
	}
	return nil
}

// baseMembers adds the keys that Tally sent and nobody changed.
func (e *encoder) baseMembers(base jsontext.Value, written map[string]bool) error {
	return eachMember(base, func(key string, value jsontext.Value) error {
		if !written[key] {
			e.key(key)
			e.json = append(e.json, value...)
		}
		return nil
	})
}

func (e *encoder) restMembers(p *plan, msg protoreflect.Message, written map[string]bool) error {
	rest, _ := msg.Get(p.rest.desc).Message().Interface().(*structpb.Struct)
	for _, key := range sortedKeys(rest.GetFields()) {
		if p.byKey[key] != nil || written[key] {
			continue
		}
		written[key] = true
		e.key(key)
		if err := e.value(rest.GetFields()[key]); err != nil {
			return pathError(string(p.rest.desc.Name())+"."+key, err)
		}
	}
	return nil
}

// field writes the value of one selected field; unset means null or an empty list where Tally takes that.
func (e *encoder) field(f *fieldPlan, msg protoreflect.Message, sel *selection, base jsontext.Value) error {
	if f.desc.IsList() {
		return e.list(f, msg.Get(f.desc).List())
	}
	if !msg.Has(f.desc) && !sel.deep() {
		switch {
		case f.nullable:
			e.json = append(e.json, "null"...)
			return nil
		case f.desc.HasPresence():
			return errUnset
		}
	}
	if f.shape == shapeMessage && !f.desc.IsMap() {
		below := object{plan: f.message, msg: msg.Get(f.desc).Message(), sel: sel, base: base}
		if !sel.deep() {
			below.sel = nil
		}
		return e.object(below)
	}
	return e.single(f, msg.Get(f.desc))
}

func (e *encoder) list(f *fieldPlan, list protoreflect.List) error {
	if f.shape == shapeJoined {
		parts := make([]string, list.Len())
		for i := range list.Len() {
			parts[i] = list.Get(i).String()
		}
		return e.text(strings.Join(parts, f.join))
	}
	e.json = append(e.json, '[')
	for i := range list.Len() {
		e.comma()
		if err := e.single(f, list.Get(i)); err != nil {
			return pathError("["+strconv.Itoa(i)+"]", err)
		}
	}
	e.json = append(e.json, ']')
	return nil
}

func (e *encoder) single(f *fieldPlan, value protoreflect.Value) error {
	switch f.shape {
	case shapeMessage:
		return e.object(object{plan: f.message, msg: value.Message(), element: true})
	case shapeWrapped:
		return e.list(f.value, value.Message().Get(f.value.desc).List())
	case shapeEnum:
		text, ok := f.enumText[value.Enum()]
		if !ok {
			return errUnset
		}
		return e.text(text)
	case shapeTime:
		ts, _ := value.Message().Interface().(*timestamppb.Timestamp)
		if err := ts.CheckValid(); err != nil {
			return ruleError("must be a time between the years 1 and 9999")
		}
		return e.text(ts.AsTime().Truncate(time.Millisecond).Format(timeLayout))
	case shapeStruct:
		s, _ := value.Message().Interface().(*structpb.Struct)
		return e.structure(s)
	case shapeValue:
		v, _ := value.Message().Interface().(*structpb.Value)
		return e.value(v)
	case shapeRaw:
		return e.raw(value.String())
	default:
		return e.scalar(f, value)
	}
}

func (e *encoder) scalar(f *fieldPlan, value protoreflect.Value) error {
	switch f.desc.Kind() {
	case protoreflect.StringKind:
		return e.text(value.String())
	case protoreflect.BoolKind:
		e.json = strconv.AppendBool(e.json, value.Bool())
	case protoreflect.DoubleKind:
		return e.number(value.Float())
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		e.json = strconv.AppendInt(e.json, value.Int(), 10)
	default:
		return fmt.Errorf("kind %s has no JSON form", f.desc.Kind())
	}
	return nil
}

func (e *encoder) structure(s *structpb.Struct) error {
	e.json = append(e.json, '{')
	for _, key := range sortedKeys(s.GetFields()) {
		e.key(key)
		if err := e.value(s.GetFields()[key]); err != nil {
			return pathError(key, err)
		}
	}
	e.json = append(e.json, '}')
	return nil
}

func (e *encoder) value(v *structpb.Value) error {
	switch kind := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return e.text(kind.StringValue)
	case *structpb.Value_NumberValue:
		return e.number(kind.NumberValue)
	case *structpb.Value_BoolValue:
		e.json = strconv.AppendBool(e.json, kind.BoolValue)
	case *structpb.Value_StructValue:
		return e.structure(kind.StructValue)
	case *structpb.Value_ListValue:
		e.json = append(e.json, '[')
		for i, element := range kind.ListValue.GetValues() {
			e.comma()
			if err := e.value(element); err != nil {
				return pathError("["+strconv.Itoa(i)+"]", err)
			}
		}
		e.json = append(e.json, ']')
	default:
		e.json = append(e.json, "null"...)
	}
	return nil
}

func (e *encoder) number(n float64) error {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return ruleError("must be a finite number")
	}
	// Plain digits for whole numbers: some of Tally's rules demand an integer, which 1e+06 may not be to them.
	format := byte('g')
	if n == math.Trunc(n) && math.Abs(n) <= maxExactInteger {
		format = 'f'
	}
	e.json = strconv.AppendFloat(e.json, n, format, -1, 64)
	return nil
}

func (e *encoder) raw(text string) error {
	if text == "" {
		text = "null"
	}
	if !jsontext.Value(text).IsValid() {
		return ruleError("must be JSON")
	}
	e.json = append(e.json, text...)
	return nil
}

func (e *encoder) text(s string) (err error) {
	e.json, err = jsontext.AppendQuote(e.json, s)
	if err != nil {
		return ruleError("must be valid UTF-8")
	}
	return nil
}

func (e *encoder) key(key string) {
	e.comma()
	// Keys are the contract's own, or came out of a JSON text or a valid proto string.
	e.json, _ = jsontext.AppendQuote(e.json, key)
	e.json = append(e.json, ':')
}

func (e *encoder) comma() {
	if last := e.json[len(e.json)-1]; last != '{' && last != '[' {
		e.json = append(e.json, ',')
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
