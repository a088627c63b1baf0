package main

import (
	"fmt"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// call is an RPC with what its options say.
type call struct {
	method     protoreflect.MethodDescriptor
	verb, path string
	level      descriptorpb.MethodOptions_IdempotencyLevel
	isList     bool
	docs       *optionsv1.Docs
	freshness  int64 // in seconds
}

func describe(method protoreflect.MethodDescriptor) call {
	options := method.Options().(*descriptorpb.MethodOptions)
	c := call{method: method, level: options.GetIdempotencyLevel(), isList: proto.HasExtension(options, optionsv1.E_List)}
	c.docs, _ = proto.GetExtension(options, optionsv1.E_Docs).(*optionsv1.Docs)
	fresh, _ := proto.GetExtension(options, optionsv1.E_Freshness).(*durationpb.Duration)
	c.freshness = fresh.GetSeconds()
	rule, _ := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		c.verb, c.path = "GET", pattern.Get
	case *annotations.HttpRule_Post:
		c.verb, c.path = "POST", pattern.Post
	case *annotations.HttpRule_Patch:
		c.verb, c.path = "PATCH", pattern.Patch
	case *annotations.HttpRule_Put:
		c.verb, c.path = "PUT", pattern.Put
	case *annotations.HttpRule_Delete:
		c.verb, c.path = "DELETE", pattern.Delete
	}
	return c
}

// route returns Tally's route, or a dash for what is tallyd's own.
func (c call) route() string {
	if c.verb == "" {
		return "–"
	}
	return "`" + c.verb + " " + c.path + "`"
}

func (c call) effect() string {
	switch c.level {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return "reads only"
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return "idempotent write"
	default:
		return "write"
	}
}

func (c call) cost() string {
	if cost := c.docs.GetCost(); cost != "" {
		return cost
	}
	if c.freshness > 0 {
		return fmt.Sprintf("1, or 0 for an answer of the last %d s", c.freshness)
	}
	return "1"
}

func (c call) plan() string {
	if plan := c.docs.GetPlan(); plan != "" {
		return plan
	}
	return "any"
}

// reasonRule says which calls can end in a reason.
type reasonRule struct {
	reason  tallydv1.ErrorReason
	applies func(call) bool
}

// reasonRules returns the reasons that not every call can end in, each with the mark of those that can.
func reasonRules() []reasonRule {
	hasID := func(c call) bool { return strings.Contains(c.path, "{") }
	return []reasonRule{
		{tallydv1.ErrorReason_ERROR_REASON_INVALID_FIELD, func(c call) bool { return isValidated(c.method.Input()) }},
		{tallydv1.ErrorReason_ERROR_REASON_RESOURCE_NOT_FOUND, hasID},
		{tallydv1.ErrorReason_ERROR_REASON_RESOURCE_GONE, hasID},
		{tallydv1.ErrorReason_ERROR_REASON_RESOURCE_LOCKED, hasID},
		{tallydv1.ErrorReason_ERROR_REASON_TALLY_PERMISSION_DENIED, hasID},
		{tallydv1.ErrorReason_ERROR_REASON_TALLY_FEATURE_UNAVAILABLE, func(c call) bool { return c.docs.GetPlan() != "" }},
		{tallydv1.ErrorReason_ERROR_REASON_TALLY_CONFLICT, func(c call) bool { return c.verb == "POST" }},
		{tallydv1.ErrorReason_ERROR_REASON_REQUEST_TOO_LARGE, func(c call) bool { return c.verb != "GET" && c.verb != "DELETE" }},
		{tallydv1.ErrorReason_ERROR_REASON_ETAG_MISMATCH, func(call) bool { return false }},
		{tallydv1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID, func(c call) bool { return c.isList }},
	}
}

// reasons returns the names of the reasons that this call can end in and not every other can, in the order of the enum.
func (c call) reasons() []string {
	var reasons []tallydv1.ErrorReason
	for _, rule := range reasonRules() {
		if rule.applies(c) {
			reasons = append(reasons, rule.reason)
		}
	}
	for _, name := range c.docs.GetReasons() {
		reasons = append(reasons, tallydv1.ErrorReason(tallydv1.ErrorReason_value["ERROR_REASON_"+name]))
	}
	slices.Sort(reasons)
	var names []string
	for _, reason := range slices.Compact(reasons) {
		names = append(names, reasonName(reason))
	}
	return names
}

// everyCall returns the names of the reasons that no rule reserves for some calls.
func everyCall() []string {
	var names []string
	for _, value := range all(tallydv1.ErrorReason(0).Descriptor().Values()) {
		reason := tallydv1.ErrorReason(value.Number())
		reserved := slices.ContainsFunc(reasonRules(), func(rule reasonRule) bool { return rule.reason == reason })
		if reason != 0 && !reserved {
			names = append(names, reasonName(reason))
		}
	}
	return names
}

func reasonName(reason tallydv1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), "ERROR_REASON_")
}

// isValidated reports whether a rule stands on any field of the request or of what it holds.
func isValidated(message protoreflect.MessageDescriptor) bool {
	return slices.ContainsFunc(all(message.Fields()), func(field protoreflect.FieldDescriptor) bool {
		own := field.Message() != nil && field.Message().ParentFile().Package() == message.ParentFile().Package()
		return proto.HasExtension(field.Options(), validate.E_Field) || own && isValidated(field.Message())
	})
}
