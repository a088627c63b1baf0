package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	contract "github.com/tallyd/tallyd/proto"
)

func TestReferenceIsTheCommittedOne(t *testing.T) {
	committed, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), mustReference(t)); diff != "" {
		t.Errorf("docs/api.md is not of this contract; run make generate (-committed +contract):\n%s", diff)
	}
}

func TestReferenceIsDeterministic(t *testing.T) {
	want := mustReference(t)
	for range 5 {
		if diff := cmp.Diff(want, mustReference(t)); diff != "" {
			t.Fatalf("reference() differs from the one before (-before +now):\n%s", diff)
		}
	}
}

// GitHub names the second of two equal headings otherwise, so that a link would lead to the first.
func TestReferenceLinksLeadToOneHeading(t *testing.T) {
	text := mustReference(t)
	headings := map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		headings[strings.ReplaceAll(strings.ToLower(match[1]), " ", "-")]++
	}
	links := regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1)
	if len(links) == 0 {
		t.Error("reference() holds no link")
	}
	for _, match := range links {
		if headings[match[1]] != 1 {
			t.Errorf("link #%s leads to %d headings, want 1", match[1], headings[match[1]])
		}
	}
}

// A row with a bar or a line break too many would be torn by GitHub.
func TestReferenceTablesAreWhole(t *testing.T) {
	columns := 0
	for line := range strings.Lines(mustReference(t)) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if columns != 0 && cells != columns {
			t.Errorf("row has %d bars, want %d as its header: %s", cells, columns, line)
		}
		columns = cells
		if strings.Contains(line, "|  |") {
			t.Errorf("row has an empty cell: %s", line)
		}
	}
}

func TestCallTellsWhatItsOptionsSay(t *testing.T) {
	tests := []struct {
		name                                      string
		wantRoute, wantEffect, wantCost, wantPlan string
		wantReasons                               []string
	}{
		{
			name:      "UserService.GetCurrentUser",
			wantRoute: "`GET /users/me`", wantEffect: "reads only", wantCost: "1, or 0 for an answer of the last 60 s", wantPlan: "any",
		},
		{
			name:      "FormService.ListForms",
			wantRoute: "`GET /forms`", wantEffect: "reads only", wantCost: "1, or 0 for an answer of the last 10 s", wantPlan: "any",
			wantReasons: []string{"INVALID_FIELD", "PAGE_TOKEN_INVALID"},
		},
		{
			name:      "FormService.CreateForm",
			wantRoute: "`POST /forms`", wantEffect: "write", wantCost: "1", wantPlan: "any",
			wantReasons: []string{"INVALID_FIELD", "REQUEST_TOO_LARGE", "TALLY_CONFLICT"},
		},
		{
			name:      "FormService.UpdateForm",
			wantRoute: "`PATCH /forms/{form_id}`", wantEffect: "idempotent write",
			wantCost: "1, or 2 with settings or expected_update_time; one more for each setting that Tally refuses to take back, up to 5", wantPlan: "any",
			wantReasons: []string{
				"TALLY_PERMISSION_DENIED", "RESOURCE_NOT_FOUND", "RESOURCE_GONE", "RESOURCE_LOCKED", "INVALID_FIELD",
				"REQUEST_TOO_LARGE", "ETAG_MISMATCH",
			},
		},
		{
			name:      "WorkspaceService.DeleteFolder",
			wantRoute: "`DELETE /workspaces/{workspace_id}/folders/{folder_id}`", wantEffect: "idempotent write",
			wantCost: "1", wantPlan: "Pro",
			wantReasons: []string{
				"TALLY_FEATURE_UNAVAILABLE", "TALLY_PERMISSION_DENIED", "RESOURCE_NOT_FOUND", "RESOURCE_GONE",
				"RESOURCE_LOCKED", "INVALID_FIELD",
			},
		},
		{
			name:      "WebhookService.ListWebhooks",
			wantRoute: "`GET /webhooks`", wantEffect: "reads only", wantCost: "1, or 0 for an answer of the last 10 s", wantPlan: "any",
			wantReasons: []string{"TALLY_FEATURE_UNAVAILABLE", "INVALID_FIELD", "PAGE_TOKEN_INVALID"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := describe(find[protoreflect.MethodDescriptor](t, test.name))
			got := []string{c.route(), c.effect(), c.cost(), c.plan()}
			want := []string{test.wantRoute, test.wantEffect, test.wantCost, test.wantPlan}
			if !slices.Equal(got, want) {
				t.Errorf("describe(%s) = %q, want %q", test.name, got, want)
			}
			if diff := cmp.Diff(test.wantReasons, c.reasons()); diff != "" {
				t.Errorf("reasons of %s differ (-want +got):\n%s", test.name, diff)
			}
		})
	}
}

// What a caller may meet is told once: with the call, or with all calls.
func TestEveryReasonIsToldInOnePlace(t *testing.T) {
	every := everyCall()
	for _, reason := range []string{"TALLY_KEY_REJECTED", "TALLY_RATE_LIMITED", "DEADLINE_IN_FLIGHT", "CALLER_NOT_ALLOWED", "PANIC"} {
		if !slices.Contains(every, reason) {
			t.Errorf("everyCall() = %q, want %s among them", every, reason)
		}
	}
	for _, rule := range reasonRules() {
		if name := reasonName(rule.reason); slices.Contains(every, name) {
			t.Errorf("everyCall() = %q, want it without %s, which only some calls end in", every, name)
		}
	}
	if slices.Contains(every, "UNSPECIFIED") {
		t.Errorf("everyCall() = %q, want it without UNSPECIFIED, which is never sent", every)
	}
}

func TestFieldType(t *testing.T) {
	tests := []struct {
		name string
		want string
	}{
		{name: "GetFormRequest.form_id", want: "`string`, required"},
		{name: "ListFormsRequest.workspace_ids", want: "list of `string`"},
		{name: "Form.status", want: "[FormStatus](#formstatus)"},
		{name: "Form.blocks", want: "list of [Block](#block)"},
		{name: "Form.create_time", want: "`google.protobuf.Timestamp`"},
		{name: "FormSettings.password", want: "`string`, optional, secret"},
		{name: "GetVisitsResponse.buckets", want: "map of `string` to [VisitCount](#visitcount)"},
		{name: "QuestionResponse.date", want: "[Date](#date), one of `answer`"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fieldType(find[protoreflect.FieldDescriptor](t, test.name)); got != test.want {
				t.Errorf("fieldType(%s) = %q, want %q", test.name, got, test.want)
			}
		})
	}
}

func TestCommentLinksTallysPage(t *testing.T) {
	got := comment(find[protoreflect.MethodDescriptor](t, "AnalyticsService.GetVisits"))
	want := "GetVisits returns the visits of a form over time. Reads only. " +
		"[Tally's page](https://developers.tally.so/api-reference/endpoint/forms/analytics/visits)"
	if got != want {
		t.Errorf("comment(GetVisits) = %q, want %q", got, want)
	}
}

func mustReference(t *testing.T) string {
	t.Helper()
	text, err := reference()
	if err != nil {
		t.Fatalf("reference(): %v", err)
	}
	return text
}

// find returns what has the name in package tallyd.v1.
func find[D protoreflect.Descriptor](t *testing.T, name string) D {
	t.Helper()
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName("tallyd.v1." + name))
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return found.(D)
}
