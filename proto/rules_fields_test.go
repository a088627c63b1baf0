package contract_test

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

// fieldProblems returns what is missing from a field, one sentence each.
func fieldProblems(field protoreflect.FieldDescriptor) (found []string) {
	name := string(field.Name())
	local, _ := proto.GetExtension(field.Options(), optionsv1.E_Local).(bool)
	paging := []string{"page_size", "page_token", "next_page_token", "update_mask", "expected_update_time", "request_id"}
	if slices.Contains(paging, name) && !local {
		found = append(found, "add [(tallyd.options.v1.local) = true]: tallyd reads it, Tally never does")
	}
	inRequest := strings.HasSuffix(string(field.Parent().Name()), "Request")
	isID := strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_ids")
	if inRequest && isID && !local && field.Kind() == protoreflect.StringKind && !hasIDRule(field) {
		found = append(found, "add the rule (tallyd.options.v1.id) of buf.validate: an id travels to Tally")
	}
	if isSecret(field) && !field.Options().(*descriptorpb.FieldOptions).GetDebugRedact() {
		found = append(found, "add [debug_redact = true]: it holds a secret")
	}
	if field.JSONName() != lowerCamel(name) {
		found = append(found, "remove json_name: it would become our callers' JSON; say (tallyd.options.v1.name) instead")
	}
	return append(append(found, timeProblems(field)...), hidingProblems(field)...)
}

func hasIDRule(field protoreflect.FieldDescriptor) bool {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	if field.IsList() {
		rules = rules.GetRepeated().GetItems()
	}
	id, _ := proto.GetExtension(rules.GetString(), optionsv1.E_Id).(bool)
	return id
}

// isSecret goes by the names that Tally's secrets have, and believes a comment that says so.
func isSecret(field protoreflect.FieldDescriptor) bool {
	name, parent := string(field.Name()), string(field.Parent().Name())
	switch {
	case strings.Contains(name, "password"), strings.Contains(name, "secret"), strings.HasSuffix(name, "_json"):
		return true
	case strings.HasSuffix(name, "preview_url"), strings.HasSuffix(name, "pdf_url"), name == "http_headers", name == "link":
		return true
	}
	named := slices.Contains([]string{"File.url", "HttpHeaders.headers", "HttpHeader.value"}, parent+"."+name)
	return named || strings.Contains(leadingComment(field), "a secret")
}

// timeProblems holds names and types of times together. Two names are the vendor's: close_time is a time of day without a zone,
// and data_available_since is no time of the message itself.
func timeProblems(field protoreflect.FieldDescriptor) []string {
	isTimestamp := field.Message() != nil && field.Message().FullName() == "google.protobuf.Timestamp"
	isNamed := strings.HasSuffix(string(field.Name()), "_time")
	switch {
	case isTimestamp && !isNamed && field.FullName() != "tallyd.v1.DropOff.data_available_since":
		return []string{"name it ..._time: it is a Timestamp"}
	case isNamed && !isTimestamp && field.FullName() != "tallyd.v1.FormSettings.close_time":
		return []string{"make it a google.protobuf.Timestamp: its name ends in _time"}
	}
	return nil
}

// lowerCamel is the JSON name that protoc gives a field that states none.
func lowerCamel(name string) string {
	var b strings.Builder
	for _, word := range strings.SplitAfter(name, "_") {
		word = strings.TrimSuffix(word, "_")
		if b.Len() > 0 && word != "" {
			word = string(unicode.ToUpper(rune(word[0]))) + word[1:]
		}
		b.WriteString(word)
	}
	return b.String()
}

func enumProblems(enum protoreflect.EnumDescriptor) []string {
	zero := enum.Values().ByNumber(0)
	if zero == nil || !strings.HasSuffix(string(zero.Name()), "_UNSPECIFIED") {
		return []string{fmt.Sprintf("begin %s with a value ..._UNSPECIFIED = 0", enum.Name())}
	}
	return nil
}
