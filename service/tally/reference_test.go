package tally_test

import (
	encjson "encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// reference decodes slowly and obviously: encoding/json into maps, then one field after the other by reflection. It returns false for
// what it refuses. It knows nothing of the real codec.
func reference(object map[string]any, msg protoreflect.Message) bool {
	taken := map[string]bool{}
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if flag(field, optionsv1.E_Local) || flag(field, optionsv1.E_Rest) || flag(field, optionsv1.E_Lossy) ||
			strings.HasSuffix(string(field.Name()), "_raw") {
			continue
		}
		for _, key := range keysOf(field) {
			value, ok := object[key]
			if !ok {
				continue
			}
			taken[key] = true
			if value != nil && !referenceField(field, value, msg) {
				return false
			}
		}
	}
	return referenceRest(object, taken, msg)
}

func flag(field protoreflect.FieldDescriptor, option protoreflect.ExtensionType) bool {
	set, _ := proto.GetExtension(field.Options(), option).(bool)
	return set
}

func keysOf(field protoreflect.FieldDescriptor) []string {
	name, _ := proto.GetExtension(field.Options(), optionsv1.E_Name).(string)
	if name == "" {
		name = field.JSONName()
	}
	aliases, _ := proto.GetExtension(field.Options(), optionsv1.E_Alias).([]string)
	return append([]string{name}, aliases...)
}

func referenceRest(object map[string]any, taken map[string]bool, msg protoreflect.Message) bool {
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		if !flag(fields.Get(i), optionsv1.E_Rest) {
			continue
		}
		rest := map[string]any{}
		for key, value := range object {
			if !taken[key] {
				rest[key] = value
			}
		}
		if len(rest) == 0 {
			return true
		}
		s, ok := referenceStruct(rest, 1)
		if ok {
			msg.Set(fields.Get(i), protoreflect.ValueOfMessage(s.ProtoReflect()))
		}
		return ok
	}
	return true
}

func referenceField(field protoreflect.FieldDescriptor, value any, msg protoreflect.Message) bool {
	if !field.IsList() {
		v, set, ok := referenceValue(field, value, msg)
		if ok && set {
			msg.Set(field, v)
		}
		return ok
	}
	elements, ok := value.([]any)
	if !ok {
		return false
	}
	list := msg.Mutable(field).List()
	for _, element := range elements {
		if element == nil {
			continue
		}
		v, set, ok := referenceValue(field, element, msg)
		if !ok {
			return false
		}
		if set {
			list.Append(v)
		}
	}
	return true
}

// referenceValue returns a value, whether there is one, and whether the text was acceptable.
func referenceValue(field protoreflect.FieldDescriptor, value any, msg protoreflect.Message) (protoreflect.Value, bool, bool) {
	none := protoreflect.Value{}
	text, isText := value.(string)
	if n, ok := value.(encjson.Number); ok {
		text = n.String()
	}
	if b, ok := value.(bool); ok {
		text = strconv.FormatBool(b)
	}
	_, isObject := value.(map[string]any)
	_, isArray := value.([]any)
	switch {
	case field.Kind() == protoreflect.MessageKind:
		return referenceMessage(field, value, text, isText, msg)
	case isObject || isArray:
		return none, false, false
	}
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), true, true
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(text == "true"), true, text == "true" || text == "false"
	case protoreflect.EnumKind:
		prefix := strings.TrimSuffix(string(field.Enum().Values().ByNumber(0).Name()), "UNSPECIFIED")
		known := field.Enum().Values().ByName(protoreflect.Name(prefix + text))
		if known == nil || known.Number() == 0 {
			keepRaw(field, text, msg)
			return protoreflect.ValueOfEnum(0), field.IsList(), true
		}
		return protoreflect.ValueOfEnum(known.Number()), true, true
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return referenceInteger(field, text)
	default:
		return none, false, false
	}
}

func referenceInteger(field protoreflect.FieldDescriptor, text string) (protoreflect.Value, bool, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 || strings.ContainsAny(text, "xXpP_iInN") {
			return protoreflect.Value{}, false, false
		}
		n = int64(f)
	}
	if field.Kind() == protoreflect.Int32Kind {
		return protoreflect.ValueOfInt32(int32(n)), true, n >= math.MinInt32 && n <= math.MaxInt32
	}
	return protoreflect.ValueOfInt64(n), true, true
}

func referenceMessage(field protoreflect.FieldDescriptor, value any, text string, isText bool, msg protoreflect.Message) (protoreflect.Value, bool, bool) {
	switch field.Message().FullName() {
	case "google.protobuf.Timestamp":
		at, err := time.Parse(time.RFC3339Nano, text)
		if !isText || err != nil || at.UTC().Year() < 1 || at.UTC().Year() > 9999 {
			keepRaw(field, rawText(value), msg)
			return protoreflect.Value{}, false, true
		}
		return protoreflect.ValueOfMessage(timestamppb.New(at).ProtoReflect()), true, true
	case "google.protobuf.Struct":
		object, ok := value.(map[string]any)
		if !ok {
			return protoreflect.Value{}, false, false
		}
		s, ok := referenceStruct(object, 1)
		return protoreflect.ValueOfMessage(s.ProtoReflect()), ok, ok
	case "google.protobuf.Value":
		v, ok := referenceAny(value, 0)
		return protoreflect.ValueOfMessage(v.ProtoReflect()), ok, ok
	}
	object, ok := value.(map[string]any)
	if !ok {
		return protoreflect.Value{}, false, false
	}
	nested := msg.NewField(field)
	if field.IsList() {
		nested = msg.NewField(field).List().NewElement()
	}
	ok = reference(object, nested.Message())
	return nested, ok, ok
}

func rawText(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	data, _ := encjson.Marshal(value)
	return string(data)
}

func keepRaw(field protoreflect.FieldDescriptor, text string, msg protoreflect.Message) {
	if raw := msg.Descriptor().Fields().ByName(field.Name() + "_raw"); raw != nil {
		msg.Set(raw, protoreflect.ValueOfString(text))
	}
}

func referenceStruct(object map[string]any, depth int) (*structpb.Struct, bool) {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	if depth > 24 {
		return s, false
	}
	for key, value := range object {
		v, ok := referenceAny(value, depth)
		if !ok {
			return s, false
		}
		s.Fields[key] = v
	}
	return s, true
}

func referenceAny(value any, depth int) (*structpb.Value, bool) {
	switch v := value.(type) {
	case string:
		return structpb.NewStringValue(v), true
	case bool:
		return structpb.NewBoolValue(v), true
	case encjson.Number:
		f, err := v.Float64()
		n, notInteger := strconv.ParseInt(v.String(), 10, 64)
		exact := strings.ContainsAny(v.String(), ".eE") || (notInteger == nil && n <= 1<<53 && n >= -(1<<53))
		return structpb.NewNumberValue(f), err == nil && exact
	case map[string]any:
		s, ok := referenceStruct(v, depth+1)
		return structpb.NewStructValue(s), ok
	case []any:
		list := &structpb.ListValue{}
		for _, element := range v {
			e, ok := referenceAny(element, depth+1)
			if !ok {
				return nil, false
			}
			list.Values = append(list.Values, e)
		}
		return structpb.NewListValue(list), depth+1 <= 24
	default:
		return structpb.NewNullValue(), true
	}
}

// FuzzDecode holds the codec and the reference together on forms, which have every shape but maps and raw answers: what one takes the
// other takes, with the same result. Keys that appear twice are left out, since encoding/json takes the last without a word.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":"f1","name":null,"status":"PUBLISHED","numberOfSubmissions":"42","isClosed":true,"createdAt":"2024-12-20T10:34:19.262Z"}`,
		`{"id":7,"status":"ARCHIVED","index":3.0,"payments":[{"amount":1,"currency":"EUR"},null],"updatedAt":"yesterday"}`,
		`{"settings":{"language":"de","styles":{"theme":"X","a":[1,null,"b"]},"metaTitle":null,"submissionsLimit":1e2}}`,
		`{"blocks":[{"uuid":"a","type":"T","payload":{"n":9007199254740993}},{"extra":{"deep":[[[]]]}}]}`,
		`{"index":2147483648}`, `{"blocks":{}}`, `{"payments":[{"amount":"0x10"}]}`, `{"isClosed":"true","hasDraftBlocks":0}`,
	} {
		f.Add(seed)
	}
	var body string
	client := upstream(f, func(w httpWriter, r *httpRequest) { answers(200, body)(w, r) })
	f.Fuzz(func(t *testing.T, text string) {
		var object map[string]any
		decoder := encjson.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&object) != nil || object == nil || ambiguous(text) || !encjson.Valid([]byte(text)) {
			return
		}
		want := &tallydv1.Form{}
		taken := reference(object, want.ProtoReflect())
		body = text
		resp := &tallydv1.GetFormResponse{}
		err := client.Call(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"}, resp)
		if (err == nil) != taken {
			t.Fatalf("decode(%s) = %v, the reference takes it: %v", text, err, taken)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(want, resp.GetForm(), protocmp.Transform()); diff != "" {
			t.Errorf("decode(%s) (-reference +got):\n%s", text, diff)
		}
	})
}

// ambiguous tells texts on which the two may differ by design: keys that appear twice or differ only in spelling, text that is not
// valid UTF-8, doubles as text, which the reference does not read, and trailing bytes.
func ambiguous(text string) bool {
	seen := map[string]bool{}
	decoder := encjson.NewDecoder(strings.NewReader(text))
	for {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		if key, ok := token.(string); ok {
			if seen[key] {
				return true
			}
			seen[key] = true
		}
	}
	return strings.Contains(text, "amount") || strings.ContainsRune(text, '\uFFFD') || strings.Contains(text, `\u`) ||
		strings.ToValidUTF8(text, "") != text || strings.TrimSpace(text)[len(strings.TrimSpace(text))-1] != '}'
}
