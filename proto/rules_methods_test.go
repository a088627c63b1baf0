package contract_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// methodProblems returns what is missing from an RPC, one sentence each. Streams and what costs no request are
// tallyd's own: they have no route and no page of Tally's.
func methodProblems(method protoreflect.MethodDescriptor) []string {
	found := append(listProblems(method), reasonProblems(method)...)
	found = append(found, resourceProblems(method)...)
	if method.IsStreamingServer() || method.IsStreamingClient() || costsNothing(method) {
		return found
	}
	if !strings.Contains(leadingComment(method), "\n Tally: https://developers.tally.so/") {
		found = append(found, "end its comment with a line `Tally: https://developers.tally.so/...` that links the page it speaks to")
	}
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	verb, path := route(rule)
	if verb == "" || len(rule.GetAdditionalBindings()) > 0 {
		return append(found, "add exactly one google.api.http rule with get, post, patch, put or delete")
	}
	found = append(found, effectProblems(method, verb)...)
	found = append(found, pathProblems(method, path)...)
	found = append(found, grantProblems(method, verb, path)...)
	found = append(found, freshnessProblems(method, verb)...)
	return append(found, updateProblems(method, verb)...)
}

// route returns the rule's verb and path, or nothing for a rule that has none of the verbs that Tally knows.
func route(rule *annotations.HttpRule) (verb, path string) {
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET", pattern.Get
	case *annotations.HttpRule_Post:
		return "POST", pattern.Post
	case *annotations.HttpRule_Patch:
		return "PATCH", pattern.Patch
	case *annotations.HttpRule_Put:
		return "PUT", pattern.Put
	case *annotations.HttpRule_Delete:
		return "DELETE", pattern.Delete
	}
	return "", ""
}

func effectProblems(method protoreflect.MethodDescriptor, verb string) []string {
	level := method.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel()
	switch {
	case verb == "GET" && level != descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return []string{"add `option idempotency_level = NO_SIDE_EFFECTS`: a GET only reads"}
	case verb == "POST" && level == descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return []string{"remove `idempotency_level = NO_SIDE_EFFECTS`: a POST changes something"}
	case verb != "GET" && verb != "POST" && level != descriptorpb.MethodOptions_IDEMPOTENT:
		return []string{fmt.Sprintf("add `option idempotency_level = IDEMPOTENT`: repeating a %s has the same effect as one", verb)}
	}
	return nil
}

// freshnessProblems holds that reads alone are remembered, and that writes alone make forget.
func freshnessProblems(method protoreflect.MethodDescriptor, verb string) (found []string) {
	if verb != "GET" && proto.HasExtension(method.Options(), optionsv1.E_Freshness) {
		found = append(found, "remove (tallyd.options.v1.freshness): only the answer to a GET can be handed out again")
	}
	if verb == "GET" && proto.HasExtension(method.Options(), optionsv1.E_Touches) {
		found = append(found, "remove (tallyd.options.v1.touches): a GET changes nothing")
	}
	return found
}

func pathProblems(method protoreflect.MethodDescriptor, path string) (found []string) {
	for _, match := range regexp.MustCompile(`\{([^}]*)\}`).FindAllStringSubmatch(path, -1) {
		field := method.Input().Fields().ByName(protoreflect.Name(match[1]))
		if field == nil {
			found = append(found, fmt.Sprintf("add a field %q to %s: the route has it as a variable", match[1], method.Input().Name()))
		} else if !hasIDRule(field) {
			found = append(found, fmt.Sprintf("add (buf.validate.field).string.(tallyd.options.v1.id) to %s: it becomes a segment of the route", field.Name()))
		}
	}
	return found
}

// listProblems holds the option `list` and the fields of AIP-158 together.
func listProblems(method protoreflect.MethodDescriptor) (found []string) {
	parts := map[string]bool{
		"field `int32 page_size` in request":         hasField(method.Input(), "page_size", protoreflect.Int32Kind),
		"field `string page_token` in request":       hasField(method.Input(), "page_token", protoreflect.StringKind),
		"field `string next_page_token` in response": hasField(method.Output(), "next_page_token", protoreflect.StringKind),
	}
	if !costsNothing(method) {
		parts["option (tallyd.options.v1.list)"] = proto.HasExtension(method.Options(), optionsv1.E_List)
	}
	var missing []string
	for part, present := range parts {
		if !present {
			missing = append(missing, part)
		}
	}
	if len(missing) == 0 || len(missing) == len(parts) {
		return nil
	}
	slices.Sort(missing)
	return []string{"a list needs all parts of paging or none, add: " + strings.Join(missing, ", ")}
}

// costsNothing tells what tallyd answers by itself.
func costsNothing(method protoreflect.MethodDescriptor) bool {
	docs, _ := proto.GetExtension(method.Options(), optionsv1.E_Docs).(*optionsv1.Docs)
	return docs.GetCost() == "0"
}

func reasonProblems(method protoreflect.MethodDescriptor) (found []string) {
	docs, _ := proto.GetExtension(method.Options(), optionsv1.E_Docs).(*optionsv1.Docs)
	for _, reason := range docs.GetReasons() {
		if tallydv1.ErrorReason_value["ERROR_REASON_"+reason] == 0 {
			found = append(found, fmt.Sprintf("add ERROR_REASON_%s to errors.proto or correct it in (tallyd.options.v1.docs).reasons", reason))
		}
	}
	return found
}

// updateProblems holds AIP-134 for Update RPCs: a mask, and presence for what it can name; and AIP-155 for creates.
func updateProblems(method protoreflect.MethodDescriptor, verb string) (found []string) {
	mask := method.Input().Fields().ByName("update_mask")
	if mask != nil && verb != "PATCH" {
		found = append(found, "remove update_mask: only a PATCH changes some fields and leaves others")
	}
	if strings.HasPrefix(string(method.Name()), "Create") && !hasField(method.Input(), "request_id", protoreflect.StringKind) {
		found = append(found, "add `string request_id` to "+string(method.Input().Name())+": a create may have to be sent again")
	}
	if !strings.HasPrefix(string(method.Name()), "Update") {
		return found
	}
	if mask == nil || mask.Message() == nil || mask.Message().FullName() != "google.protobuf.FieldMask" {
		found = append(found, "add `google.protobuf.FieldMask update_mask` to "+string(method.Input().Name()))
	}
	for i := range method.Input().Fields().Len() {
		field := method.Input().Fields().Get(i)
		if !field.HasPresence() && !field.IsList() && !field.IsMap() && !isRequired(field) {
			found = append(found, fmt.Sprintf("make %s `optional` or REQUIRED: an update must tell unset from empty", field.Name()))
		}
	}
	return found
}

func hasField(message protoreflect.MessageDescriptor, name protoreflect.Name, kind protoreflect.Kind) bool {
	field := message.Fields().ByName(name)
	return field != nil && field.Kind() == kind && !field.IsList()
}

func isRequired(field protoreflect.FieldDescriptor) bool {
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviors, annotations.FieldBehavior_REQUIRED)
}
