package tally

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// errUnset is a field that an update names, leaves unset, and that Tally cannot hold as null.
var errUnset = ruleError("is named in update_mask, so it must be set: Tally does not let it be null")

// selection is a tree of the fields that travel; nil means all that are set.
type selection struct {
	children map[protoreflect.Name]*selection
}

func (s *selection) all() bool { return s == nil }

// child returns the selection below a field, or nil when the field does not travel.
func (s *selection) child(name protoreflect.Name) *selection {
	if s == nil {
		return nil
	}
	return s.children[name]
}

// deep tells that only parts of the field below travel.
func (s *selection) deep() bool { return s != nil && len(s.children) > 0 }

// everything is the path that stands for every field that can be changed (AIP-134).
const everything = "*"

// newSelection builds the tree of the paths of an update mask. Every path must be a field of the message that travels in the
// body; a path may go down to a field of a message, never into a list, a map, a Struct or a Value.
func newSelection(p *plan, msg protoreflect.Message, paths []string, skip func(*fieldPlan) bool) (*selection, error) {
	root := &selection{children: map[protoreflect.Name]*selection{}}
	for _, path := range spelled(p, paths, skip) {
		node, at, in := root, p, msg
		for name := range strings.SplitSeq(path, ".") {
			if at == nil {
				return nil, maskError(path, "goes deeper than a field that can be changed on its own")
			}
			f := at.byName[protoreflect.Name(name)]
			if f == nil || f.local || (at == p && skip(f)) {
				return nil, maskError(path, "is no field that can be changed")
			}
			node = node.add(f)
			at = nil
			if f.shape == shapeMessage && !f.desc.IsList() && !f.desc.IsMap() {
				at, in = f.message, in.Get(f.desc).Message()
			}
		}
		if at != nil && !in.IsValid() {
			return nil, pathError(path, errUnset)
		}
		node.widen(at, in)
	}
	return root, nil
}

// spelled writes out the path that stands for every field.
func spelled(p *plan, paths []string, skip func(*fieldPlan) bool) []string {
	at := slices.Index(paths, everything)
	if at < 0 {
		return paths
	}
	var names []string
	for _, f := range p.fields {
		if !f.local && !skip(f) {
			names = append(names, string(f.desc.Name()))
		}
	}
	return slices.Concat(paths[:at], names, paths[at+1:])
}

// add returns the selection of a field below s, new or known.
func (s *selection) add(f *fieldPlan) *selection {
	child := s.children[f.desc.Name()]
	if child == nil {
		child = &selection{children: map[protoreflect.Name]*selection{}}
		s.children[f.desc.Name()] = child
	}
	return child
}

// widen makes a path that ends at a message name its fields one by one, so that the result is the same whether Tally merges or
// replaces: what may be null and is not set becomes null, what may not stays as it is.
func (s *selection) widen(at *plan, msg protoreflect.Message) {
	if at == nil {
		return
	}
	for _, f := range at.fields {
		if !f.local && (f.nullable || msg.Has(f.desc)) {
			s.add(f)
		}
	}
}

func maskError(path, rule string) error {
	return &fieldRuleError{path: "update_mask", rule: fmt.Sprintf("names %q, which %s", clip(path, 64), rule)}
}

// fieldRuleError is a rule that a field of the request breaks.
type fieldRuleError struct {
	path string
	rule string
}

func (e *fieldRuleError) Error() string { return e.path + " " + e.rule }

func ruleError(rule string) error { return &fieldRuleError{rule: rule} }

// pathError puts a step in front of the path of a rule error.
func pathError(step string, err error) error {
	var rule *fieldRuleError
	if !errors.As(err, &rule) {
		return fmt.Errorf("%s: %w", step, err)
	}
	path := step
	switch {
	case strings.HasPrefix(rule.path, "["):
		path += rule.path
	case rule.path != "":
		path += "." + rule.path
	}
	return &fieldRuleError{path: path, rule: rule.rule}
}

// eachMember calls do for each key of an object; anything else has none.
func eachMember(object jsontext.Value, do func(key string, value jsontext.Value) error) error {
	if object.Kind() != '{' {
		return nil
	}
	d := newDecoder(object, nil)
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != '}' {
		name, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		key := string(d.unquote(nil, name))
		value, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		if err := do(key, value); err != nil {
			return err
		}
	}
	return nil
}
