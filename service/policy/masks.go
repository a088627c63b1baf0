package policy

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

// masks returns the path of the request's update_mask that names a field, itself or as part of more; empty where none does.
func (a *Access) masks(req protoreflect.Message, name string) string {
	if a.method.mask == nil {
		return ""
	}
	mask, _ := req.Get(a.method.mask).Message().Interface().(*fieldmaskpb.FieldMask)
	for _, path := range mask.GetPaths() {
		if path == everyID || path == name || strings.HasPrefix(name, path+".") {
			return path
		}
	}
	return ""
}

// mask refuses an update that would set a secret to nothing because the caller, who does not see it, could not send it back: it names
// more than the secret, and leaves the secret unset.
func (a *Access) mask(_ context.Context, req protoreflect.Message) error {
	if a.method.mask == nil {
		return nil
	}
	for _, secret := range secretPaths(req.Descriptor(), "") {
		path := a.masks(req, secret.path)
		if path == "" || path == secret.path || a.caller.reveal[secret.name] || isSet(req, secret.path) {
			continue
		}
		return &FieldError{Field: "update_mask", Rule: "names \"" + path + "\", which would empty " + secret.path +
			", that the policy hides from this caller: name the fields one by one"}
	}
	return nil
}

type secretPath struct{ path, name string }

// secretPaths returns the secrets that a message holds, by their paths.
func secretPaths(desc protoreflect.MessageDescriptor, prefix string) (found []secretPath) {
	for i := range desc.Fields().Len() {
		field := desc.Fields().Get(i)
		path := prefix + string(field.Name())
		if name, _ := proto.GetExtension(field.Options(), optionsv1.E_Secret).(string); name != "" {
			found = append(found, secretPath{path: path, name: name})
		} else if inner := field.Message(); inner != nil && !field.IsList() && !field.IsMap() && inner.ParentFile().Package() == desc.ParentFile().Package() {
			found = append(found, secretPaths(inner, path+".")...)
		}
	}
	return found
}

// isSet reports whether a message has the field at a path.
func isSet(msg protoreflect.Message, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	field := msg.Descriptor().Fields().ByName(protoreflect.Name(name))
	if field == nil || !msg.Has(field) {
		return false
	}
	return !deeper || isSet(msg.Get(field).Message(), rest)
}
