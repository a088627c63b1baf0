package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

func (p *page) service(service protoreflect.ServiceDescriptor) {
	p.printf("## %s\n\n%s\n\n", service.Name(), comment(service))
	p.WriteString("| RPC | Route | Effect | Cost | Plan |\n|---|---|---|---|---|\n")
	calls := make([]call, service.Methods().Len())
	for i, method := range all(service.Methods()) {
		calls[i] = describe(method)
		c := calls[i]
		p.printf("| %s | %s | %s | %s | %s |\n", link(method.Name()), c.route(), c.effect(), cell(c.cost()), cell(c.plan()))
	}
	p.WriteString("\n")
	for _, c := range calls {
		p.call(c)
	}
}

func (p *page) call(c call) {
	p.printf("### %s\n\n%s\n\n", c.method.Name(), comment(c.method))
	p.section("Request", c.method.Input())
	p.section("Response", c.method.Output())
	const every = "what [every call](#error-reasons) can end in"
	if reasons := c.reasons(); len(reasons) > 0 {
		p.printf("Can end in %s, and in %s.\n\n", codes(reasons), every)
	} else {
		p.printf("Can end in %s.\n\n", every)
	}
}

func (p *page) section(title string, message protoreflect.MessageDescriptor) {
	if message.Fields().Len() == 0 {
		p.printf("%s: `%s`, empty.\n\n", title, message.Name())
		return
	}
	p.printf("%s: `%s`\n\n", title, message.Name())
	p.fields(message)
}

func (p *page) fields(message protoreflect.MessageDescriptor) {
	p.WriteString("| Field | Type | Meaning |\n|---|---|---|\n")
	for _, field := range all(message.Fields()) {
		p.printf("| `%s` | %s | %s |\n", field.Name(), fieldType(field), cell(comment(field)))
	}
	p.WriteString("\n")
}

// fieldType returns the field's type with what a caller must know of its presence.
func fieldType(field protoreflect.FieldDescriptor) string {
	parts := []string{typeName(field)}
	if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		parts = append(parts, fmt.Sprintf("one of `%s`", oneof.Name()))
	}
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	if slices.Contains(behaviors, annotations.FieldBehavior_REQUIRED) {
		parts = append(parts, "required")
	} else if field.HasOptionalKeyword() {
		parts = append(parts, "optional")
	}
	if field.Options().(*descriptorpb.FieldOptions).GetDebugRedact() {
		parts = append(parts, "secret")
	}
	return strings.Join(parts, ", ")
}

func typeName(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsMap():
		return fmt.Sprintf("map of %s to %s", typeName(field.MapKey()), typeName(field.MapValue()))
	case field.IsList():
		return "list of " + elementType(field)
	}
	return elementType(field)
}

// elementType links to what the reference describes and names the rest.
func elementType(field protoreflect.FieldDescriptor) string {
	var named protoreflect.Descriptor
	switch {
	case field.Message() != nil:
		named = field.Message()
	case field.Enum() != nil:
		named = field.Enum()
	default:
		return "`" + field.Kind().String() + "`"
	}
	if named.ParentFile().Package() == field.ParentFile().Package() {
		return link(named.Name())
	}
	return "`" + string(named.FullName()) + "`"
}

// comment returns the comment of d as one paragraph; the line that names Tally's page becomes a link.
func comment(d protoreflect.Descriptor) string {
	text := strings.Join(strings.Fields(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments), " ")
	if before, url, found := strings.Cut(text, " Tally: https://"); found {
		return fmt.Sprintf("%s [Tally's page](https://%s)", before, url)
	}
	return text
}

// cell returns text that cannot end its cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// link returns a link to the heading of that name, as GitHub makes its anchors.
func link(name protoreflect.Name) string {
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(string(name)))
}

// codes returns the words as a list of code.
func codes(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }
