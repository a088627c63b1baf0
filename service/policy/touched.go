package policy

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ID is an id that a call names.
type ID struct {
	// Field is the field's name, Value the id.
	Field, Value string
}

// Touched returns the ids that a request names by its method's option resource, and that of what it made, for the audit trail. Both
// messages may be nil.
func Touched(fullMethod string, req, resp proto.Message) (found []ID) {
	m := contractMethods()[fullMethod]
	if m == nil || m.resource == nil {
		return nil
	}
	fields := slices.Concat(m.forms, m.workspaces,
		[]protoreflect.FieldDescriptor{m.folder, m.webhook, m.organization, m.child, m.destroys})
	for i, field := range fields {
		if req == nil || field == nil || slices.Contains(fields[:i], field) {
			continue
		}
		for id := range ids(req.ProtoReflect(), field) {
			found = append(found, ID{Field: string(field.Name()), Value: id})
		}
	}
	if id := made(m, resp); id != "" {
		found = append(found, ID{Field: "created_id", Value: id})
	}
	return found
}

// made returns the id of what a call created.
func made(m *Method, resp proto.Message) string {
	if resp == nil || !m.creates || unseal(resp) != nil {
		return ""
	}
	id := ""
	resp.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Message() == nil || field.IsList() || field.IsMap() {
			return true
		}
		if at := field.Message().Fields().ByName("id"); at != nil && at.Kind() == protoreflect.StringKind {
			id = value.Message().Get(at).String()
		}
		return id == ""
	})
	return id
}
