package contract_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/tallyd/tallyd/gen/tallyd/options/v1"
)

func resourceOf(method protoreflect.MethodDescriptor) *optionsv1.Resource {
	resource, _ := proto.GetExtension(method.Options(), optionsv1.E_Resource).(*optionsv1.Resource)
	return resource
}

// named returns the fields of the request by which a policy decides.
func named(r *optionsv1.Resource) []string {
	fields := slices.Concat(r.GetForms(), r.GetWorkspaces(), []string{r.GetFolder(), r.GetWebhook(), r.GetOrganization()})
	return slices.DeleteFunc(fields, func(name string) bool { return name == "" })
}

// resourceProblems holds that a policy can decide about every RPC, streams included.
func resourceProblems(method protoreflect.MethodDescriptor) (found []string) {
	if !proto.HasExtension(method.Options(), optionsv1.E_Resource) {
		return []string{"add option (tallyd.options.v1.resource): without it every policy denies the RPC"}
	}
	r := resourceOf(method)
	if len(named(r)) == 0 && r.GetAll() == 0 && !r.GetFiltered() && !r.GetOwn() {
		found = append(found, "let (tallyd.options.v1.resource) name what the RPC touches, or `all`, `filtered` or `own`")
	}
	for _, name := range append(named(r), r.GetChild(), r.GetDestroys()) {
		field := method.Input().Fields().ByName(protoreflect.Name(name))
		if name != "" && (field == nil || field.Kind() != protoreflect.StringKind) {
			found = append(found, fmt.Sprintf("add a string field %q to %s: (tallyd.options.v1.resource) names it", name, method.Input().Name()))
		}
	}
	return found
}

// grantProblems holds that no id of a route escapes the policy, and that what destroys can be made to ask.
func grantProblems(method protoreflect.MethodDescriptor, verb, path string) (found []string) {
	r := resourceOf(method)
	known := append(named(r), r.GetChild(), r.GetDestroys())
	for i, match := range regexp.MustCompile(`\{([^}]*)\}`).FindAllStringSubmatch(path, -1) {
		// What comes first in a route contains the rest; a read shows by its answer where the rest lies.
		if i == 0 && !slices.Contains(named(r), match[1]) || i > 0 && verb != "GET" && !slices.Contains(known, match[1]) {
			found = append(found, fmt.Sprintf("let (tallyd.options.v1.resource) name %s: the route has it as a variable", match[1]))
		}
	}
	if verb == "DELETE" && (r.GetDestroys() == "" || !hasField(method.Input(), "confirm", protoreflect.StringKind)) {
		found = append(found, "add `destroys` to (tallyd.options.v1.resource) and a field `confirm`: a DELETE destroys")
	}
	return found
}

// withinForm are ids of what is granted with the form or the webhook that it belongs to.
var withinForm = []string{"submission_id", "respondent_id", "response_id", "webhook_id", "event_id", "option_id", "row_id"}

// hidingProblems holds that a policy can hide every id and every secret of an answer.
func hidingProblems(field protoreflect.FieldDescriptor) (found []string) {
	if strings.HasSuffix(string(field.Parent().Name()), "Request") {
		return nil
	}
	name := string(field.Name())
	has := func(extensions ...protoreflect.ExtensionType) bool {
		return slices.ContainsFunc(extensions, func(x protoreflect.ExtensionType) bool { return proto.HasExtension(field.Options(), x) })
	}
	isID := strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_ids")
	if isID && !slices.Contains(withinForm, name) && !has(optionsv1.E_Subject, optionsv1.E_Mention) {
		found = append(found, "add (tallyd.options.v1.subject) or (tallyd.options.v1.mention): a policy must know whose id it is")
	}
	redacted := field.Options().(*descriptorpb.FieldOptions).GetDebugRedact()
	part := strings.HasPrefix(string(field.Parent().Name()), "HttpHeader") // hidden whole, with http_headers
	if redacted && !part && !has(optionsv1.E_Secret, optionsv1.E_Linked) {
		found = append(found, "add (tallyd.options.v1.secret) or (tallyd.options.v1.linked): a policy must be able to hide it")
	}
	return found
}
