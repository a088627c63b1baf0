package service_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// handled is one RPC: what it makes of a request, and of Tally's answer to it.
type handled struct {
	rpc       string // without the package
	req       proto.Message
	answer    answer
	wantAsked asked
	want      proto.Message
}

// TestEveryRPC makes each call of the contract once, through the whole chain.
func TestEveryRPC(t *testing.T) {
	all := slices.Concat(formCalls(t), answerCalls(), analyticsCalls(), teamCalls(), webhookCalls())
	for _, test := range all {
		t.Run(test.rpc, func(t *testing.T) {
			p := &pretence{answers: map[string][]answer{test.wantAsked.Line: {test.answer}}}
			w := newWorld(t, p.serve, nil)
			resp := test.want.ProtoReflect().New().Interface()
			if err := w.conn.Invoke(t.Context(), "/tallyd.v1."+test.rpc, test.req, resp); err != nil {
				t.Fatal(err)
			}
			p.checkAsked(t, test.wantAsked)
			if diff := cmp.Diff(test.want, resp, protocmp.Transform()); diff != "" {
				t.Errorf("%s() (-want +got):\n%s", test.rpc, diff)
			}
		})
	}
	// More than one request, or none: these have tests of their own.
	called := map[string]bool{
		"WebhookService/UpdateWebhook": true, "QuotaService/GetQuota": true, "SubmissionService/ExportSubmissions": true,
		"SubmissionService/WatchSubmissions": true, "SubmissionEventService/ListSubmissionEvents": true,
		"SubmissionEventService/ReplaySubmissionEvents": true,
	}
	for _, test := range all {
		called[test.rpc] = true
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("tallyd.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if name := string(file.Services().Get(i).Name()) + "/" + string(methods.Get(j).Name()); !called[name] {
					t.Errorf("no test calls %s: add a row to the list of its resource, here or in wire_team_test.go", name)
				}
			}
		}
		return true
	})
}

func formCalls(t *testing.T) []handled {
	block := &tallydv1.Block{
		Uuid: "u1", Type: "INPUT_TEXT", GroupUuid: "g1", GroupType: "INPUT_TEXT", Payload: structOf(t, `{"isRequired":true,"n":1}`),
		Other: structOf(t, `{"shiny":[null]}`),
	}
	const blockJSON = `{"uuid":"u1","type":"INPUT_TEXT","groupUuid":"g1","groupType":"INPUT_TEXT","payload":{"isRequired":true,"n":1},"shiny":[null]}`
	draft := tallydv1.FormStatus_FORM_STATUS_DRAFT
	return []handled{
		{
			"FormService/ListForms", &tallydv1.ListFormsRequest{WorkspaceIds: []string{"w1"}},
			answer{body: `{"items":[{"id":"f1","status":"DRAFT"}],"page":1,"limit":50,"total":1,"hasMore":false}`},
			asked{"GET /forms", "page=1&workspaceIds=w1", ""},
			&tallydv1.ListFormsResponse{Forms: []*tallydv1.Form{{Id: "f1", Status: draft}}, TotalSize: 1},
		},
		{
			"FormService/CreateForm", &tallydv1.CreateFormRequest{Status: draft, WorkspaceId: new("w1"), Blocks: []*tallydv1.Block{block}},
			answer{201, `{"id":"f1","status":"DRAFT","workspaceId":"w1"}`},
			asked{"POST /forms", "", `{"status":"DRAFT","blocks":[` + blockJSON + `],"workspaceId":"w1"}`},
			&tallydv1.CreateFormResponse{Form: &tallydv1.Form{Id: "f1", Status: draft, WorkspaceId: "w1"}},
		},
		{
			"FormService/GetForm", &tallydv1.GetFormRequest{FormId: "f1"},
			answer{body: `{"id":"f1","settings":{"language":"nl"},"blocks":[` + blockJSON + `]}`},
			asked{"GET /forms/f1", "", ""},
			&tallydv1.GetFormResponse{Form: &tallydv1.Form{Id: "f1", Settings: &tallydv1.FormSettings{Language: new("nl")}, Blocks: []*tallydv1.Block{block}}},
		},
		{
			"FormService/UpdateForm", &tallydv1.UpdateFormRequest{FormId: "f1", Name: new("New")},
			answer{body: `{"id":"f1","name":"New"}`},
			asked{"PATCH /forms/f1", "", `{"name":"New"}`},
			&tallydv1.UpdateFormResponse{Form: &tallydv1.Form{Id: "f1", Name: new("New")}},
		},
		{
			"FormService/DeleteForm", &tallydv1.DeleteFormRequest{FormId: "f1"},
			answer{status: 204},
			asked{"DELETE /forms/f1", "", ""},
			&tallydv1.DeleteFormResponse{},
		},
		{
			"FormService/ListQuestions", &tallydv1.ListQuestionsRequest{FormId: "f1"},
			answer{body: `{"questions":[{"id":"q1","title":null}],"hasResponses":true}`},
			asked{"GET /forms/f1/questions", "", ""},
			&tallydv1.ListQuestionsResponse{Questions: []*tallydv1.Question{{Id: "q1"}}, HasResponses: true},
		},
		{
			"FormService/UpdateQuestion", &tallydv1.UpdateQuestionRequest{FormId: "f1", QuestionId: "q1", Title: new("T"), UpdateMask: paths("title")},
			answer{body: `{"id":"q1","title":"T"}`},
			asked{"PATCH /forms/f1/questions/q1", "", `{"title":"T"}`},
			&tallydv1.UpdateQuestionResponse{Question: &tallydv1.Question{Id: "q1", Title: new("T")}},
		},
		{
			"FormService/ListBlocks", &tallydv1.ListBlocksRequest{FormId: "f1"},
			answer{body: `{"id":"f1","name":null,"blocks":[` + blockJSON + `]}`},
			asked{"GET /forms/f1/blocks", "", ""},
			&tallydv1.ListBlocksResponse{FormId: "f1", Blocks: []*tallydv1.Block{block}},
		},
		{
			// The schema types the answer as a single block, which cannot be meant: whatever it is, it is not read.
			"FormService/ReplaceBlocks", &tallydv1.ReplaceBlocksRequest{FormId: "f1", Blocks: []*tallydv1.Block{block}},
			answer{body: blockJSON},
			asked{"PATCH /forms/f1/blocks", "", `{"blocks":[` + blockJSON + `]}`},
			&tallydv1.ReplaceBlocksResponse{},
		},
	}
}

func answerCalls() []handled {
	const held = `{"id":"s1","formId":"f1","isCompleted":true,"responses":[{"questionId":"q1","answer":"Yes"}]}`
	questions := []*tallydv1.Question{{Id: "q1", Type: "INPUT_TEXT"}}
	submission := &tallydv1.Submission{Id: "s1", FormId: "f1", IsCompleted: true, Responses: []*tallydv1.QuestionResponse{
		{QuestionId: "q1", QuestionType: "INPUT_TEXT", Answer: &tallydv1.QuestionResponse_Text{Text: "Yes"}},
	}}
	full := proto.CloneOf(submission)
	full.Responses[0].AnswerJson = `"Yes"`
	return []handled{
		{
			"SubmissionService/ListSubmissions", &tallydv1.ListSubmissionsRequest{FormId: "f1", AfterSubmissionId: "s0"},
			answer{body: `{"page":1,"limit":50,"hasMore":false,"totalNumberOfSubmissionsPerFilter":{"all":3,"completed":2,"partial":1},` +
				`"questions":[{"id":"q1","type":"INPUT_TEXT"}],"submissions":[` + held + `]}`},
			asked{"GET /forms/f1/submissions", "afterId=s0&filter=completed&page=1", ""},
			&tallydv1.ListSubmissionsResponse{
				Submissions: []*tallydv1.Submission{submission}, Questions: questions,
				Totals: &tallydv1.SubmissionCounts{All: 3, Completed: 2, Partial: 1},
			},
		},
		{
			"SubmissionService/GetSubmission",
			&tallydv1.GetSubmissionRequest{FormId: "f1", SubmissionId: "s1", View: tallydv1.SubmissionView_SUBMISSION_VIEW_FULL},
			answer{body: `{"questions":[{"id":"q1","type":"INPUT_TEXT"}],"submission":` + held + `}`},
			asked{"GET /forms/f1/submissions/s1", "", ""},
			&tallydv1.GetSubmissionResponse{Submission: full, Questions: questions},
		},
		{
			"SubmissionService/DeleteSubmission", &tallydv1.DeleteSubmissionRequest{FormId: "f1", SubmissionId: "s1"},
			answer{status: 204},
			asked{"DELETE /forms/f1/submissions/s1", "", ""},
			&tallydv1.DeleteSubmissionResponse{},
		},
	}
}

func structOf(t testing.TB, text string) *structpb.Struct {
	t.Helper()
	s := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}
