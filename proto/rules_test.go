package contract_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	contract "github.com/tallyd/tallyd/proto"
)

// The server reads the contract at start and has no code per RPC: what these rules let pass would fail a call, not a build.
func TestContractKeepsItsRules(t *testing.T) {
	for _, file := range contractFiles(t) {
		if !strings.HasPrefix(file.Path(), "tallyd/v1/") {
			continue
		}
		for _, problem := range problems(file) {
			t.Error(problem)
		}
	}
}

// Each defect is put into a file of the contract; the rules must name it.
func TestRulesNameDefects(t *testing.T) {
	const getFormID = "// Form to return.\n  string form_id = 1 [\n    (google.api.field_behavior) = REQUIRED,\n" +
		"    (buf.validate.field).string.(tallyd.options.v1.id) = true\n  ];"
	const listFormsResource = "    option (tallyd.options.v1.resource) = {\n      workspaces: [\"workspace_ids\"]\n      filtered: true\n    };\n"
	const deleteFormRoute = "    option (google.api.http) = {delete: \"/forms/{form_id}\"};\n"
	const deleteFormResource = deleteFormRoute + "    option (tallyd.options.v1.resource) = {\n      forms: [\"form_id\"]\n      destroys: \"form_id\"\n    };\n"
	const listFormsLevel = "    option (tallyd.options.v1.list) = {\n      items: \"items\"\n      has_more: \"hasMore\"\n      max_limit: 500\n    };\n"
	const fresh = "    option (tallyd.options.v1.freshness) = {seconds: 10};\n"
	tests := []struct {
		name, file, old, new string
		want                 string
	}{
		{
			name: "write that is remembered", file: "form_service.proto",
			old:  deleteFormRoute,
			new:  deleteFormRoute + fresh,
			want: "tallyd.v1.FormService.DeleteForm: remove (tallyd.options.v1.freshness): only the answer to a GET can be handed out again",
		},
		{
			name: "read that makes forget", file: "form_service.proto",
			old:  listFormsLevel,
			new:  listFormsLevel + "    option (tallyd.options.v1.touches) = \"/forms\";\n",
			want: "tallyd.v1.FormService.ListForms: remove (tallyd.options.v1.touches): a GET changes nothing",
		},
		{
			name: "no route", file: "form_service.proto",
			old:  `option (google.api.http) = {delete: "/forms/{form_id}"};`,
			want: "tallyd.v1.FormService.DeleteForm: add exactly one google.api.http rule with get, post, patch, put or delete",
		},
		{
			name: "two routes", file: "form_service.proto",
			old:  `{delete: "/forms/{form_id}"}`,
			new:  `{delete: "/forms/{form_id}" additional_bindings {get: "/x"}}`,
			want: "tallyd.v1.FormService.DeleteForm: add exactly one google.api.http rule with get, post, patch, put or delete",
		},
		{
			name: "unknown path variable", file: "form_service.proto",
			old:  `{delete: "/forms/{form_id}"}`,
			new:  `{delete: "/forms/{id}"}`,
			want: `tallyd.v1.FormService.DeleteForm: add a field "id" to DeleteFormRequest: the route has it as a variable`,
		},
		{
			name: "path variable without rule", file: "form_service.proto",
			old:  getFormID,
			new:  "// Form to return.\n  string form_id = 1;",
			want: "tallyd.v1.FormService.GetForm: add (buf.validate.field).string.(tallyd.options.v1.id) to form_id: it becomes a segment of the route",
		},
		{
			name: "id without rule", file: "form_service.proto",
			old:  "optional string folder_id = 4 [(buf.validate.field).string.(tallyd.options.v1.id) = true];",
			new:  "optional string folder_id = 4;",
			want: "tallyd.v1.CreateFormRequest.folder_id: add the rule (tallyd.options.v1.id) of buf.validate: an id travels to Tally",
		},
		{
			name: "list of ids without rule", file: "form_service.proto",
			old:  "(buf.validate.field).repeated.max_items = 100,\n    (buf.validate.field).repeated.items.string.(tallyd.options.v1.id) = true",
			new:  "(buf.validate.field).repeated.max_items = 100",
			want: "tallyd.v1.ListFormsRequest.workspace_ids: add the rule (tallyd.options.v1.id) of buf.validate: an id travels to Tally",
		},
		{
			name: "read without level", file: "form_service.proto",
			old:  listFormsLevel + listFormsResource + fresh + "    option idempotency_level = NO_SIDE_EFFECTS;\n",
			new:  listFormsLevel + listFormsResource + fresh,
			want: "tallyd.v1.FormService.ListForms: add `option idempotency_level = NO_SIDE_EFFECTS`: a GET only reads",
		},
		{
			name: "delete without level", file: "form_service.proto",
			old:  deleteFormResource + "    option idempotency_level = IDEMPOTENT;",
			new:  deleteFormResource,
			want: "tallyd.v1.FormService.DeleteForm: add `option idempotency_level = IDEMPOTENT`: repeating a DELETE has the same effect as one",
		},
		{
			name: "create that claims to read", file: "webhook_service.proto",
			old:  `{post: "/webhooks/{webhook_id}/events/{event_id}"};`,
			new:  "{post: \"/webhooks/{webhook_id}/events/{event_id}\"};\n    option idempotency_level = NO_SIDE_EFFECTS;",
			want: "tallyd.v1.WebhookService.RetryWebhookEvent: remove `idempotency_level = NO_SIDE_EFFECTS`: a POST changes something",
		},
		{
			name: "no page of Tally's", file: "form_service.proto",
			old:  "  // Tally: https://developers.tally.so/api-reference/endpoint/forms/get\n",
			want: "tallyd.v1.FormService.GetForm: end its comment with a line `Tally: https://developers.tally.so/...` that links the page it speaks to",
		},
		{
			name: "list without option", file: "form_service.proto",
			old:  listFormsLevel,
			want: "tallyd.v1.FormService.ListForms: a list needs all parts of paging or none, add: option (tallyd.options.v1.list)",
		},
		{
			name: "list without tokens", file: "form_service.proto",
			old:  "string next_page_token = 2 [(tallyd.options.v1.local) = true];\n  // Number of forms",
			new:  "string cursor = 2;\n  // Number of forms",
			want: "tallyd.v1.FormService.ListForms: a list needs all parts of paging or none, add: field `string next_page_token` in response",
		},
		{
			name: "page size that would travel", file: "workspace_service.proto",
			old:  "int32 page_size = 1 [\n    (tallyd.options.v1.local) = true,",
			new:  "int32 page_size = 1 [",
			want: "tallyd.v1.ListWorkspacesRequest.page_size: add [(tallyd.options.v1.local) = true]: tallyd reads it, Tally never does",
		},
		{
			name: "mask that would travel", file: "form_service.proto",
			old:  "google.protobuf.FieldMask update_mask = 6 [(tallyd.options.v1.local) = true];",
			new:  "google.protobuf.FieldMask update_mask = 6;",
			want: "tallyd.v1.UpdateFormRequest.update_mask: add [(tallyd.options.v1.local) = true]: tallyd reads it, Tally never does",
		},
		{
			name: "update without mask", file: "form_service.proto",
			old:  "google.protobuf.FieldMask update_mask = 6 [(tallyd.options.v1.local) = true];",
			new:  "bool everything = 6;",
			want: "tallyd.v1.FormService.UpdateForm: add `google.protobuf.FieldMask update_mask` to UpdateFormRequest",
		},
		{
			name: "update without presence", file: "form_service.proto",
			old:  "optional string name = 2 [(buf.validate.field)",
			new:  "string name = 2 [(buf.validate.field)",
			want: "tallyd.v1.FormService.UpdateForm: make name `optional` or REQUIRED: an update must tell unset from empty",
		},
		{
			name: "mask in a create", file: "form_service.proto",
			old:  "optional string template_id = 5",
			new:  "google.protobuf.FieldMask update_mask = 70 [(tallyd.options.v1.local) = true];\n  // Template.\n  optional string template_id = 5",
			want: "tallyd.v1.FormService.CreateForm: remove update_mask: only a PATCH changes some fields and leaves others",
		},
		{
			name: "create without an id of the request", file: "workspace_service.proto",
			old:  "string request_id = 2",
			new:  "string retry_name = 2",
			want: "tallyd.v1.WorkspaceService.CreateWorkspace: add `string request_id` to CreateWorkspaceRequest: a create may have to be sent again",
		},
		{
			name: "no resource", file: "form_service.proto",
			old:  deleteFormResource,
			new:  deleteFormRoute,
			want: "tallyd.v1.FormService.DeleteForm: add option (tallyd.options.v1.resource): without it every policy denies the RPC",
		},
		{
			name: "resource that decides nothing", file: "form_service.proto",
			old:  listFormsResource,
			new:  "    option (tallyd.options.v1.resource) = {};\n",
			want: "tallyd.v1.FormService.ListForms: let (tallyd.options.v1.resource) name what the RPC touches, or `all`, `filtered` or `own`",
		},
		{
			name: "resource of no field", file: "form_service.proto",
			old:  deleteFormResource,
			new:  strings.Replace(deleteFormResource, "forms: [\"form_id\"]", "forms: [\"form\"]", 1),
			want: "tallyd.v1.FormService.DeleteForm: add a string field \"form\" to DeleteFormRequest: (tallyd.options.v1.resource) names it",
		},
		{
			name: "id that no policy sees", file: "form_service.proto",
			old:  deleteFormResource,
			new:  strings.Replace(deleteFormResource, "forms: [\"form_id\"]", "all: KIND_WORKSPACE", 1),
			want: "tallyd.v1.FormService.DeleteForm: let (tallyd.options.v1.resource) name form_id: the route has it as a variable",
		},
		{
			name: "delete without confirmation", file: "form_service.proto",
			old:  deleteFormResource,
			new:  strings.Replace(deleteFormResource, "      destroys: \"form_id\"\n", "", 1),
			want: "tallyd.v1.FormService.DeleteForm: add `destroys` to (tallyd.options.v1.resource) and a field `confirm`: a DELETE destroys",
		},
		{
			name: "id that no policy hides", file: "forms.proto",
			old:  "string workspace_id = 4 [(tallyd.options.v1.mention) = KIND_WORKSPACE];",
			new:  "string workspace_id = 4;",
			want: "tallyd.v1.Form.workspace_id: add (tallyd.options.v1.subject) or (tallyd.options.v1.mention): a policy must know whose id it is",
		},
		{
			name: "secret that no policy hides", file: "forms.proto",
			old:  "    debug_redact = true,\n    (tallyd.options.v1.secret) = \"password\"",
			new:  "    debug_redact = true",
			want: "tallyd.v1.FormSettings.password: add (tallyd.options.v1.secret) or (tallyd.options.v1.linked): a policy must be able to hide it",
		},
		{
			name: "unknown reason", file: "form_service.proto",
			old:  `reasons: ["ETAG_MISMATCH"]`,
			new:  `reasons: ["ETAG_MISSMATCH"]`,
			want: "tallyd.v1.FormService.UpdateForm: add ERROR_REASON_ETAG_MISSMATCH to errors.proto or correct it in (tallyd.options.v1.docs).reasons",
		},
		{
			name: "service without comment", file: "user_service.proto",
			old:  "// UserService tells who the server's key belongs to.\n",
			want: "tallyd.v1.UserService: add a comment",
		},
		{
			name: "message without comment", file: "forms.proto",
			old:  "// Payment is a sum of money received by a form.\n",
			want: "tallyd.v1.Payment: add a comment",
		},
		{
			name: "field without comment", file: "forms.proto",
			old:  "  // UUID of the block.\n",
			want: "tallyd.v1.Block.uuid: add a comment",
		},
		{
			name: "enum without comment", file: "forms.proto",
			old:  "// FormStatus is where a form stands in its life.\n",
			want: "tallyd.v1.FormStatus: add a comment",
		},
		{
			name: "enum value without comment", file: "forms.proto",
			old:  "  // Open to respondents.\n",
			want: "tallyd.v1.FORM_STATUS_PUBLISHED: add a comment",
		},
		{
			name: "enum without zero", file: "forms.proto",
			old:  "FORM_STATUS_UNSPECIFIED = 0;",
			new:  "FORM_STATUS_NEW = 0;",
			want: "tallyd.v1.FormStatus: begin FormStatus with a value ..._UNSPECIFIED = 0",
		},
		{
			name: "password in clear", file: "forms.proto",
			old:  "    (tallyd.options.v1.nullable) = true,\n    debug_redact = true",
			new:  "    (tallyd.options.v1.nullable) = true",
			want: "tallyd.v1.FormSettings.password: add [debug_redact = true]: it holds a secret",
		},
		{
			name: "signed link in clear", file: "submissions.proto",
			old:  "string url = 3 [\n    debug_redact = true,",
			new:  "string url = 3 [",
			want: "tallyd.v1.File.url: add [debug_redact = true]: it holds a secret",
		},
		{
			name: "secret by its comment", file: "forms.proto",
			old:  "  // UUID of the block.\n",
			new:  "  // UUID of the block; a secret.\n",
			want: "tallyd.v1.Block.uuid: add [debug_redact = true]: it holds a secret",
		},
		{
			name: "JSON name", file: "forms.proto",
			old:  "string group_type = 4 [",
			new:  "string group_type = 4 [json_name = \"groupKind\", ",
			want: "tallyd.v1.Block.group_type: remove json_name: it would become our callers' JSON; say (tallyd.options.v1.name) instead",
		},
		{
			name: "misnamed time", file: "forms.proto",
			old:  "google.protobuf.Timestamp create_time = 14",
			new:  "google.protobuf.Timestamp created_at = 14",
			want: "tallyd.v1.Form.created_at: name it ..._time: it is a Timestamp",
		},
		{
			name: "time as text", file: "users.proto",
			old:  "optional string timezone = 14;",
			new:  "optional string login_time = 14;",
			want: "tallyd.v1.User.login_time: make it a google.protobuf.Timestamp: its name ends in _time",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := problems(edited(t, "tallyd/v1/"+test.file, test.old, test.new))
			if !slices.Contains(got, test.want) {
				t.Errorf("problems of %s with %q for %q = %q, want among them %q", test.file, test.new, test.old, got, test.want)
			}
		})
	}
}

// problems returns every break of the contract's rules in the file: where, and what to add.
func problems(file protoreflect.FileDescriptor) (found []string) {
	add := func(at protoreflect.Descriptor, sentences []string) {
		if strings.TrimSpace(leadingComment(at)) == "" {
			sentences = append(sentences, "add a comment")
		}
		for _, sentence := range sentences {
			found = append(found, fmt.Sprintf("%s: %s", at.FullName(), sentence))
		}
	}
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		add(service, nil)
		for j := range service.Methods().Len() {
			add(service.Methods().Get(j), methodProblems(service.Methods().Get(j)))
		}
	}
	walkEnums(file.Enums(), add)
	walkMessages(file.Messages(), add)
	return found
}

func walkMessages(messages protoreflect.MessageDescriptors, add func(protoreflect.Descriptor, []string)) {
	for i := range messages.Len() {
		message := messages.Get(i)
		if message.IsMapEntry() {
			continue
		}
		add(message, nil)
		for j := range message.Fields().Len() {
			add(message.Fields().Get(j), fieldProblems(message.Fields().Get(j)))
		}
		walkEnums(message.Enums(), add)
		walkMessages(message.Messages(), add)
	}
}

func walkEnums(enums protoreflect.EnumDescriptors, add func(protoreflect.Descriptor, []string)) {
	for i := range enums.Len() {
		enum := enums.Get(i)
		add(enum, enumProblems(enum))
		for j := range enum.Values().Len() {
			add(enum.Values().Get(j), nil)
		}
	}
}

// edited compiles one file of the contract with one text in place of another, against the image's other files.
func edited(t *testing.T, path, old, replacement string) protoreflect.FileDescriptor {
	t.Helper()
	text, err := contract.Sources.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s holds %q %d times, want once", path, old, strings.Count(string(text), old))
	}
	changed := strings.Replace(string(text), old, replacement, 1)
	linked := files(t)
	compiler := protocompile.Compiler{
		SourceInfoMode: protocompile.SourceInfoStandard,
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{path: changed})},
			protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
				file, err := linked.FindFileByPath(path)
				return protocompile.SearchResult{Desc: file}, err
			}),
		},
	}
	compiled, err := compiler.Compile(t.Context(), path)
	if err != nil {
		t.Fatalf("compile %s with %q for %q: %v", path, replacement, old, err)
	}
	bytes, err := proto.Marshal(protodesc.ToFileDescriptorProto(compiled[0]))
	if err != nil {
		t.Fatal(err)
	}
	parsed := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(bytes, parsed); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(parsed, linked)
	if err != nil {
		t.Fatalf("link %s with %q for %q: %v", path, replacement, old, err)
	}
	return file
}
