package policy

import (
	"iter"
	"path"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// Method is what a policy knows of an RPC, all of it from the contract.
type Method struct {
	// Name is SERVICE/METHOD without the package, as policies write it.
	Name string
	// Writes tells that the RPC may change something at Tally.
	Writes bool
	// Streams tells that the RPC answers with a stream.
	Streams bool

	items    protoreflect.MessageDescriptor // of a list; nil for what is none
	creates  bool                           // it makes something that has an id
	full     string                         // /PACKAGE.SERVICE/METHOD
	resource *optionsv1.Resource

	// Fields of the request; nil, or none, where it has no such field.
	forms, workspaces                              []protoreflect.FieldDescriptor
	folder, webhook, organization, child, destroys protoreflect.FieldDescriptor
	mask, confirm                                  protoreflect.FieldDescriptor
	wholes                                         []protoreflect.FieldDescriptor // those with the option all_questions
}

// contractMethods are all RPCs of the contract by their full names, read once.
var contractMethods = sync.OnceValue(func() map[string]*Method {
	methods := map[string]*Method{}
	protoregistry.GlobalFiles.RangeFilesByPackage(tallydv1.File_tallyd_v1_forms_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := newMethod(service.Methods().Get(j))
				methods[m.full] = m
			}
		}
		return true
	})
	return methods
})

// newMethod returns an RPC as a policy sees it. One without the option resource stays without: nobody may call it.
func newMethod(desc protoreflect.MethodDescriptor) *Method {
	options, _ := desc.Options().(*descriptorpb.MethodOptions)
	resource, _ := proto.GetExtension(options, optionsv1.E_Resource).(*optionsv1.Resource)
	field := func(name string) protoreflect.FieldDescriptor {
		return desc.Input().Fields().ByName(protoreflect.Name(name))
	}
	m := &Method{
		Name:     string(desc.Parent().Name()) + "/" + string(desc.Name()),
		Streams:  desc.IsStreamingServer(),
		Writes:   options.GetIdempotencyLevel() != descriptorpb.MethodOptions_NO_SIDE_EFFECTS,
		items:    listItems(desc.Output()),
		creates:  strings.HasPrefix(string(desc.Name()), "Create"),
		full:     "/" + string(desc.Parent().FullName()) + "/" + string(desc.Name()),
		resource: resource,
		folder:   field(resource.GetFolder()), webhook: field(resource.GetWebhook()), organization: field(resource.GetOrganization()),
		child: field(resource.GetChild()), destroys: field(resource.GetDestroys()),
		mask: field("update_mask"), confirm: field("confirm"),
	}
	for i := range desc.Input().Fields().Len() {
		at := desc.Input().Fields().Get(i)
		if marked, _ := proto.GetExtension(at.Options(), optionsv1.E_AllQuestions).(bool); marked {
			m.wholes = append(m.wholes, at)
		}
	}
	for _, name := range resource.GetForms() {
		m.forms = append(m.forms, field(name))
	}
	for _, name := range resource.GetWorkspaces() {
		m.workspaces = append(m.workspaces, field(name))
	}
	return m
}

// listItems returns what a list holds: the first field of an answer that has pages.
func listItems(answer protoreflect.MessageDescriptor) protoreflect.MessageDescriptor {
	if answer.Fields().ByName("next_page_token") == nil || !answer.Fields().Get(0).IsList() {
		return nil
	}
	return answer.Fields().Get(0).Message()
}

// The words that stand for many methods.
const (
	wordRead  = "read"
	wordWrite = "write"
)

// matches reports whether a pattern of a rule names the method.
func (m *Method) matches(pattern string) bool {
	switch pattern {
	case wordRead:
		return !m.Writes
	case wordWrite:
		return m.Writes
	case everyID, "*/*":
		return true
	}
	ok, err := path.Match(pattern, m.Name)
	return ok && err == nil
}

// FindMethod returns the RPC that name means, as SERVICE/METHOD or with the package in front.
func FindMethod(name string) (*Method, bool) {
	name = strings.TrimPrefix(name, "/")
	for full, m := range contractMethods() {
		if m.Name == name || full == "/"+name {
			return m, true
		}
	}
	return nil, false
}

// ids are the values of a request's field that holds ids, one or many; an empty one is none.
func ids(req protoreflect.Message, field protoreflect.FieldDescriptor) iter.Seq[string] {
	return func(yield func(string) bool) {
		switch {
		case field == nil || !req.Has(field):
		case !field.IsList():
			yield(req.Get(field).String())
		default:
			list := req.Get(field).List()
			for i := range list.Len() {
				if !yield(list.Get(i).String()) {
					return
				}
			}
		}
	}
}

// id is the value of a field that holds one id; empty for none.
func id(req protoreflect.Message, field protoreflect.FieldDescriptor) string {
	if field == nil {
		return ""
	}
	return req.Get(field).String()
}
