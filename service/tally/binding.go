package tally

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

// idPattern is what an id must look like to become a segment of a path; validation asks for it first, this is the last gate.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Contract knows every RPC that stands for a request to Tally.
type Contract struct {
	methods map[protoreflect.FullName]*method // by the full name of the request message
	planner planner
}

// method is one RPC's binding to Tally's REST API.
type method struct {
	name     string
	verb     string
	effect   Effect
	template string // the path as the contract has it, with names in place of ids
	segments []segment
	request  *plan
	response *plan
	// answer is the response's field that the whole body stands for; nil when the body is the response itself.
	answer  *fieldPlan
	hasBody bool
	list    *listBinding
	inPath  map[protoreflect.Name]bool
	// resource names the last id of the path, without "_id"; empty for a collection.
	resource   string
	collection bool
	freshness  time.Duration // how old an answer may be that is handed out again
	touches    []string      // what a write changes beside its own resource
}

// segment is one piece of a path: fixed text or the value of a field.
type segment struct {
	text  string
	field *fieldPlan
}

// NewContract compiles the bindings of all RPCs of the given files that carry a google.api.http rule. It returns an error that
// names the RPC whose description is wrong.
func NewContract(files ...protoreflect.FileDescriptor) (*Contract, error) {
	c := &Contract{
		methods: map[protoreflect.FullName]*method{},
		planner: planner{plans: map[protoreflect.FullName]*plan{}},
	}
	for _, file := range files {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if err := c.add(methods.Get(j)); err != nil {
					return nil, fmt.Errorf("%s: %w", methods.Get(j).FullName(), err)
				}
			}
		}
	}
	return c, nil
}

func (c *Contract) add(desc protoreflect.MethodDescriptor) error {
	rule, _ := proto.GetExtension(desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	if rule == nil {
		return nil
	}
	m := &method{name: string(desc.FullName()), inPath: map[protoreflect.Name]bool{}}
	var err error
	if m.request, err = c.planner.plan(desc.Input()); err != nil {
		return err
	}
	if m.response, err = c.planner.plan(desc.Output()); err != nil {
		return err
	}
	if err := m.setRoute(rule); err != nil {
		return err
	}
	if name := rule.GetResponseBody(); name != "" {
		if m.answer = m.response.byName[protoreflect.Name(name)]; m.answer == nil {
			return fmt.Errorf("response_body %q is no field of the response", name)
		}
	}
	fresh, _ := proto.GetExtension(desc.Options(), optionsv1.E_Freshness).(*durationpb.Duration)
	m.freshness = fresh.AsDuration()
	m.touches, _ = proto.GetExtension(desc.Options(), optionsv1.E_Touches).([]string)
	if m.list, err = newListBinding(desc, m); err != nil {
		return err
	}
	c.methods[desc.Input().FullName()] = m
	return nil
}

func (m *method) setRoute(rule *annotations.HttpRule) error {
	var path string
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		m.verb, m.effect, path = http.MethodGet, Read, pattern.Get
	case *annotations.HttpRule_Post:
		m.verb, m.effect, path = http.MethodPost, Create, pattern.Post
	case *annotations.HttpRule_Patch:
		m.verb, m.effect, path = http.MethodPatch, Update, pattern.Patch
	case *annotations.HttpRule_Put:
		m.verb, m.effect, path = http.MethodPut, Update, pattern.Put
	case *annotations.HttpRule_Delete:
		m.verb, m.effect, path = http.MethodDelete, Delete, pattern.Delete
	}
	switch rule.GetBody() {
	case "":
	case "*":
		m.hasBody = true
	default:
		return fmt.Errorf("body %q: only \"*\" is known", rule.GetBody())
	}
	return m.setPath(path)
}

func (m *method) setPath(path string) error {
	m.template, m.collection = path, true
	for text := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		name, isField := strings.CutPrefix(text, "{")
		if !isField {
			m.segments = append(m.segments, segment{text: text})
			continue
		}
		f := m.request.byName[protoreflect.Name(strings.TrimSuffix(name, "}"))]
		if f == nil || f.desc.Kind() != protoreflect.StringKind {
			return fmt.Errorf("path variable %s is no string field of the request", text)
		}
		m.segments = append(m.segments, segment{field: f})
		m.inPath[f.desc.Name()] = true
		m.resource = strings.TrimSuffix(string(f.desc.Name()), "_id")
		m.collection = false
	}
	return nil
}

// binding returns how a request travels. It returns an error for a message that no RPC of the contract takes.
func (c *Contract) binding(req proto.Message) (*method, error) {
	name := req.ProtoReflect().Descriptor().FullName()
	m, ok := c.methods[name]
	if !ok {
		return nil, fmt.Errorf("%s is no request of the contract", name)
	}
	return m, nil
}

// path returns the request's path, each id escaped into one segment.
func (m *method) path(msg protoreflect.Message) (string, error) {
	var b strings.Builder
	for _, s := range m.segments {
		b.WriteByte('/')
		if s.field == nil {
			b.WriteString(s.text)
			continue
		}
		id := msg.Get(s.field.desc).String()
		if !idPattern.MatchString(id) {
			return "", pathError(string(s.field.desc.Name()), ruleError("must be 1 to 64 letters, digits, '-' or '_'"))
		}
		b.WriteString(url.PathEscape(id))
	}
	return b.String(), nil
}

// resourceID returns the value of the last id in the path.
func (m *method) resourceID(msg protoreflect.Message) string {
	id := ""
	for _, s := range m.segments {
		if s.field != nil {
			id = msg.Get(s.field.desc).String()
		}
	}
	return id
}

// query returns the fields that travel in the query: set ones, and those whose unset value stands for a text of Tally's.
func (m *method) query(msg protoreflect.Message) (url.Values, error) {
	values := url.Values{}
	if m.hasBody {
		return values, nil
	}
	for _, f := range m.request.fields {
		if f.local || m.inPath[f.desc.Name()] || (!msg.Has(f.desc) && f.enumText[0] == "") {
			continue
		}
		if err := addQuery(values, f, msg); err != nil {
			return nil, pathError(string(f.desc.Name()), err)
		}
	}
	return values, nil
}

// addQuery adds a field's value; a list repeats its key.
func addQuery(values url.Values, f *fieldPlan, msg protoreflect.Message) error {
	if !f.desc.IsList() {
		text, err := queryText(f, msg.Get(f.desc))
		values.Set(f.key, text)
		return err
	}
	list := msg.Get(f.desc).List()
	for i := range list.Len() {
		text, err := queryText(f, list.Get(i))
		if err != nil {
			return err
		}
		values.Add(f.key, text)
	}
	return nil
}

func queryText(f *fieldPlan, value protoreflect.Value) (string, error) {
	var e encoder
	if err := e.single(f, value); err != nil {
		return "", err
	}
	if e.json[0] != '"' {
		return string(e.json), nil
	}
	var d decoder
	return string(d.unquote(nil, e.json)), nil
}

// body returns the request's JSON, or nil when none travels.
func (m *method) body(msg protoreflect.Message, parts map[string]jsontext.Value) ([]byte, error) {
	if !m.hasBody {
		return nil, nil
	}
	inPath := func(f *fieldPlan) bool { return m.inPath[f.desc.Name()] }
	var sel *selection
	if paths := maskPaths(msg); len(paths) > 0 {
		var err error
		if sel, err = newSelection(m.request, msg, paths, inPath); err != nil {
			return nil, err
		}
	}
	e := encoder{json: make([]byte, 0, 512)}
	err := e.object(object{plan: m.request, msg: msg, sel: sel, parts: parts, skip: inPath})
	return e.json, err
}

// maskPaths returns the paths of a request's update_mask.
func maskPaths(msg protoreflect.Message) []string {
	field := msg.Descriptor().Fields().ByName("update_mask")
	if field == nil {
		return nil
	}
	mask, _ := msg.Get(field).Message().Interface().(*fieldmaskpb.FieldMask)
	return mask.GetPaths()
}

func listOption(desc protoreflect.MethodDescriptor) *optionsv1.List {
	list, _ := proto.GetExtension(desc.Options(), optionsv1.E_List).(*optionsv1.List)
	return list
}
