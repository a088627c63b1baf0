package tally

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

// shape says how a field's value looks in JSON.
type shape int

const (
	shapeScalar  shape = iota + 1 // text, number, flag
	shapeEnum                     // text that stands for a value
	shapeTime                     // RFC 3339 text
	shapeRaw                      // any JSON, kept as text
	shapeStruct                   // any object
	shapeValue                    // any JSON
	shapeMessage                  // an object that the contract describes
	shapeWrapped                  // a list inside a message of its own
	shapeJoined                   // a list inside one text
)

// maxFields is the number of fields of one message that a bit set can mark as seen.
const maxFields = 64

// plan is what the codec knows of one message type, compiled once from its descriptor and options.
type plan struct {
	desc   protoreflect.MessageDescriptor
	fields []*fieldPlan
	byKey  map[string]*fieldPlan
	byName map[protoreflect.Name]*fieldPlan
	rest   *fieldPlan
	lossy  *fieldPlan
}

// fieldPlan is what the codec knows of one field.
type fieldPlan struct {
	desc     protoreflect.FieldDescriptor
	number   protoreflect.FieldNumber
	index    int
	key      string
	shape    shape
	message  *plan      // of a message, a wrapped list or a map's values
	value    *fieldPlan // of a map's values, or a wrapped message's list
	rawText  *fieldPlan // sibling that keeps the text of what could not be understood
	enumText map[protoreflect.EnumNumber]string
	enumByID map[string]protoreflect.EnumNumber
	join     string
	local    bool
	nullable bool
	required bool
}

// planner compiles plans and keeps those it has, so that recursive and shared messages have one.
type planner struct {
	plans map[protoreflect.FullName]*plan
}

func (c *planner) plan(desc protoreflect.MessageDescriptor) (*plan, error) {
	if p, ok := c.plans[desc.FullName()]; ok {
		return p, nil
	}
	p := &plan{
		desc:   desc,
		byKey:  map[string]*fieldPlan{},
		byName: map[protoreflect.Name]*fieldPlan{},
	}
	c.plans[desc.FullName()] = p
	fields := desc.Fields()
	if fields.Len() > maxFields {
		return nil, fmt.Errorf("%s has more than %d fields", desc.FullName(), maxFields)
	}
	for i := range fields.Len() {
		f, err := c.field(fields.Get(i))
		if err != nil {
			return nil, err
		}
		p.add(f)
	}
	for _, f := range p.fields {
		f.rawText = p.byName[f.desc.Name()+"_raw"]
	}
	return p, nil
}

func (p *plan) add(f *fieldPlan) {
	f.index = len(p.fields)
	p.fields = append(p.fields, f)
	p.byName[f.desc.Name()] = f
	options := f.desc.Options()
	switch {
	case proto.GetExtension(options, optionsv1.E_Rest).(bool):
		p.rest = f
	case proto.GetExtension(options, optionsv1.E_Lossy).(bool):
		p.lossy = f
	case !f.local:
		p.byKey[f.key] = f
		for _, alias := range proto.GetExtension(options, optionsv1.E_Alias).([]string) {
			p.byKey[alias] = f
		}
	}
}

func (c *planner) field(desc protoreflect.FieldDescriptor) (*fieldPlan, error) {
	options := desc.Options()
	f := &fieldPlan{
		desc:     desc,
		number:   desc.Number(),
		key:      proto.GetExtension(options, optionsv1.E_Name).(string),
		join:     proto.GetExtension(options, optionsv1.E_Join).(string),
		local:    proto.GetExtension(options, optionsv1.E_Local).(bool),
		nullable: proto.GetExtension(options, optionsv1.E_Nullable).(bool),
		required: hasBehavior(desc, annotations.FieldBehavior_REQUIRED),
	}
	if f.key == "" {
		f.key = lowerCamel(string(desc.Name()))
	}
	// Text that was kept because it could not be understood is ours alone; Tally has no such key.
	if strings.HasSuffix(string(desc.Name()), "_raw") {
		f.local = true
	}
	return f, c.setShape(f)
}

func (c *planner) setShape(f *fieldPlan) error {
	options := f.desc.Options()
	if f.desc.IsMap() {
		value, err := c.field(f.desc.MapValue())
		f.shape, f.value = shapeMessage, value
		return err
	}
	switch {
	case f.join != "":
		f.shape = shapeJoined
	case proto.GetExtension(options, optionsv1.E_Raw).(bool):
		f.shape = shapeRaw
	case f.desc.Kind() == protoreflect.EnumKind:
		f.shape = shapeEnum
		f.enumText, f.enumByID = enumTexts(f.desc.Enum())
	case f.desc.Kind() == protoreflect.MessageKind:
		return c.setMessageShape(f)
	default:
		f.shape = shapeScalar
	}
	return nil
}

func (c *planner) setMessageShape(f *fieldPlan) (err error) {
	switch f.desc.Message().FullName() {
	case "google.protobuf.Timestamp":
		f.shape = shapeTime
	case "google.protobuf.Struct":
		f.shape = shapeStruct
	case "google.protobuf.Value":
		f.shape = shapeValue
	default:
		f.shape = shapeMessage
		if f.message, err = c.plan(f.desc.Message()); err != nil {
			return err
		}
		if proto.GetExtension(f.desc.Options(), optionsv1.E_Wrapped).(bool) {
			f.shape, f.value = shapeWrapped, f.message.fields[0]
		}
	}
	return nil
}

// enumTexts returns Tally's text for each value, and the first value for each text.
func enumTexts(desc protoreflect.EnumDescriptor) (map[protoreflect.EnumNumber]string, map[string]protoreflect.EnumNumber) {
	texts := map[protoreflect.EnumNumber]string{}
	numbers := map[string]protoreflect.EnumNumber{}
	zero := string(desc.Values().ByNumber(0).Name())
	prefix := strings.TrimSuffix(zero, "UNSPECIFIED")
	for i := range desc.Values().Len() {
		value := desc.Values().Get(i)
		text := proto.GetExtension(value.Options(), optionsv1.E_Value).(string)
		if text == "" && value.Number() != 0 {
			text = strings.TrimPrefix(string(value.Name()), prefix)
		}
		if text == "" {
			continue
		}
		texts[value.Number()] = text
		// A text that zero shares with another value is a default for requests, never what an answer means.
		if value.Number() != 0 {
			numbers[text] = value.Number()
		}
	}
	return texts, numbers
}

func hasBehavior(desc protoreflect.FieldDescriptor, want annotations.FieldBehavior) bool {
	behaviors, _ := proto.GetExtension(desc.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviors, want)
}

// lowerCamel turns a proto field name into the key that JSON gives it by default.
func lowerCamel(name string) string {
	var b strings.Builder
	upper := false
	for _, r := range name {
		switch {
		case r == '_':
			upper = true
		case upper:
			b.WriteString(strings.ToUpper(string(r)))
			upper = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
