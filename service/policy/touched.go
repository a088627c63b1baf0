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
	res := m.resource
	fields := slices.Concat(res.GetForms(), res.GetWorkspaces(),
		[]string{res.GetFolder(), res.GetWebhook(), res.GetOrganization(), res.GetChild(), res.GetDestroys()})
	for i, field := range fields {
		if req == nil || slices.Contains(fields[:i], field) {
			continue
		}
		for _, id := range ids(req.ProtoReflect(), field) {
			found = append(found, ID{Field: field, Value: id})
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
