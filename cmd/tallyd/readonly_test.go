package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	contract "github.com/tallyd/tallyd/proto"
)

// TestReadOnlyCalls makes every call that only reads, each once: against the sandbox, or with TALLYD_LIVE=1 against Tally itself with
// the key of TALLY_API_KEY. What the key's plan does not include is reported and no failure.
func TestReadOnlyCalls(t *testing.T) {
	live := os.Getenv("TALLYD_LIVE") != ""
	args := []string{"--sandbox", "--sandbox-rate", "0", "--tally-rate", "0"}
	if live {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(os.Getenv(keyVariable)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = []string{"--key-file", file}
	}
	r := &reader{conn: connect(t, startTallyd(t, args...)), live: live, called: map[string]bool{}}
	r.account(t)
	r.form(t)
	r.hooks(t)
	for _, name := range readers(t) {
		if !r.called[name] {
			t.Errorf("%s only reads and was not called", name)
		}
	}
}

// readers returns the full names of the RPCs that only read.
func readers(t *testing.T) (names []string) {
	t.Helper()
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	files.RangeFilesByPackage("tallyd.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				options, _ := service.Methods().Get(j).Options().(*descriptorpb.MethodOptions)
				if options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
					names = append(names, "/"+string(service.FullName())+"/"+string(service.Methods().Get(j).Name()))
				}
			}
		}
		return true
	})
	return names
}

// reader makes calls and notes which.
type reader struct {
	conn   *grpc.ClientConn
	live   bool
	called map[string]bool
}

// call reports whether the call brought an answer.
func (r *reader) call(t *testing.T, name string, req, resp proto.Message) bool {
	t.Helper()
	r.called["/tallyd.v1."+name] = true
	err := r.conn.Invoke(t.Context(), "/tallyd.v1."+name, req, resp)
	if err == nil {
		return true
	}
	if _, reason := reasonOf(err); r.live && reason == "TALLY_FEATURE_UNAVAILABLE" {
		t.Logf("%s: not included in this key's plan or history", name)
		return false
	}
	t.Errorf("%s = %v, want an answer", name, err)
	return false
}

func (r *reader) account(t *testing.T) {
	t.Helper()
	r.call(t, "QuotaService/GetQuota", &tallydv1.GetQuotaRequest{}, &tallydv1.GetQuotaResponse{})
	user := &tallydv1.GetCurrentUserResponse{}
	r.call(t, "UserService/GetCurrentUser", &tallydv1.GetCurrentUserRequest{}, user)
	org := user.GetUser().GetOrganizationId()
	r.call(t, "OrganizationService/ListOrganizationUsers", &tallydv1.ListOrganizationUsersRequest{OrganizationId: org}, &tallydv1.ListOrganizationUsersResponse{})
	r.call(t, "OrganizationService/ListInvites", &tallydv1.ListInvitesRequest{OrganizationId: org}, &tallydv1.ListInvitesResponse{})
	workspaces := &tallydv1.ListWorkspacesResponse{}
	r.call(t, "WorkspaceService/ListWorkspaces", &tallydv1.ListWorkspacesRequest{}, workspaces)
	if len(workspaces.GetWorkspaces()) == 0 {
		t.Fatal("the key sees no workspace")
	}
	id := workspaces.GetWorkspaces()[0].GetId()
	r.call(t, "WorkspaceService/GetWorkspace", &tallydv1.GetWorkspaceRequest{WorkspaceId: id}, &tallydv1.GetWorkspaceResponse{})
	r.call(t, "WorkspaceService/ListFolders", &tallydv1.ListFoldersRequest{WorkspaceId: id}, &tallydv1.ListFoldersResponse{})
}

func (r *reader) form(t *testing.T) {
	t.Helper()
	forms := &tallydv1.ListFormsResponse{}
	r.call(t, "FormService/ListForms", &tallydv1.ListFormsRequest{PageSize: 100}, forms)
	id := ""
	for _, form := range forms.GetForms() {
		if form.GetSubmissionCount() > 0 && form.GetStatus() == tallydv1.FormStatus_FORM_STATUS_PUBLISHED {
			id = form.GetId()
			break
		}
	}
	if id == "" {
		t.Fatal("the key sees no published form with a submission: answer one and try again")
	}
	r.call(t, "FormService/GetForm", &tallydv1.GetFormRequest{FormId: id}, &tallydv1.GetFormResponse{})
	r.call(t, "FormService/ListQuestions", &tallydv1.ListQuestionsRequest{FormId: id}, &tallydv1.ListQuestionsResponse{})
	r.call(t, "FormService/ListBlocks", &tallydv1.ListBlocksRequest{FormId: id}, &tallydv1.ListBlocksResponse{})
	list := &tallydv1.ListSubmissionsResponse{}
	filter := tallydv1.SubmissionFilter_SUBMISSION_FILTER_ALL
	if r.call(t, "SubmissionService/ListSubmissions", &tallydv1.ListSubmissionsRequest{FormId: id, PageSize: 5, Filter: filter}, list) && len(list.GetSubmissions()) > 0 {
		get := &tallydv1.GetSubmissionRequest{FormId: id, SubmissionId: list.GetSubmissions()[0].GetId()}
		r.call(t, "SubmissionService/GetSubmission", get, &tallydv1.GetSubmissionResponse{})
	}
	r.export(t, id)
	r.events(t, id)
	r.analytics(t, id)
}

// events reads the form's log, and watches it until the first sign of life. A live run keeps no log, which it must hear.
func (r *reader) events(t *testing.T, form string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	submissions, logs := tallydv1.NewSubmissionServiceClient(r.conn), tallydv1.NewSubmissionEventServiceClient(r.conn)
	for name, read := range map[string]func() error{
		"SubmissionService/WatchSubmissions": func() error {
			stream, err := submissions.WatchSubmissions(ctx, &tallydv1.WatchSubmissionsRequest{FormIds: []string{form}})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"SubmissionEventService/ListSubmissionEvents": func() error {
			_, err := logs.ListSubmissionEvents(ctx, &tallydv1.ListSubmissionEventsRequest{FormId: form})
			return err
		},
		"SubmissionEventService/ReplaySubmissionEvents": func() error {
			stream, err := logs.ReplaySubmissionEvents(ctx, &tallydv1.ReplaySubmissionEventsRequest{FormId: form})
			if err == nil {
				_, err = stream.Recv()
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		},
	} {
		r.called["/tallyd.v1."+name] = true
		err := read()
		if _, reason := reasonOf(err); r.live && reason == "EVENT_LOG_OFF" {
			continue
		}
		if err != nil || r.live {
			t.Errorf("%s = %v", name, err)
		}
	}
}

// export reads a whole stream, of a week: a real form's whole archive would take many requests.
func (r *reader) export(t *testing.T, form string) {
	t.Helper()
	const name = "SubmissionService/ExportSubmissions"
	r.called["/tallyd.v1."+name] = true
	req := &tallydv1.ExportSubmissionsRequest{FormId: form, StartTime: timestamppb.New(time.Now().Add(-7 * 24 * time.Hour))}
	stream, err := tallydv1.NewSubmissionServiceClient(r.conn).ExportSubmissions(t.Context(), req)
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("%s = %v, want all submissions", name, err)
	}
}

func (r *reader) analytics(t *testing.T, id string) {
	t.Helper()
	period := tallydv1.AnalyticsPeriod_ANALYTICS_PERIOD_LAST_7_DAYS
	r.call(t, "AnalyticsService/GetMetrics", &tallydv1.GetMetricsRequest{FormId: id, Period: period}, &tallydv1.GetMetricsResponse{})
	r.call(t, "AnalyticsService/GetVisits", &tallydv1.GetVisitsRequest{FormId: id, Period: period}, &tallydv1.GetVisitsResponse{})
	r.call(t, "AnalyticsService/GetSubmissionCounts", &tallydv1.GetSubmissionCountsRequest{FormId: id, Period: period}, &tallydv1.GetSubmissionCountsResponse{})
	r.call(t, "AnalyticsService/GetDimensions", &tallydv1.GetDimensionsRequest{FormId: id, Period: period}, &tallydv1.GetDimensionsResponse{})
	r.call(t, "AnalyticsService/GetDropOff", &tallydv1.GetDropOffRequest{FormId: id, Period: period}, &tallydv1.GetDropOffResponse{})
}

func (r *reader) hooks(t *testing.T) {
	t.Helper()
	list := &tallydv1.ListWebhooksResponse{}
	r.call(t, "WebhookService/ListWebhooks", &tallydv1.ListWebhooksRequest{}, list)
	events := "WebhookService/ListWebhookEvents"
	if len(list.GetWebhooks()) == 0 {
		t.Logf("%s: no webhook to ask about", events)
		r.called["/tallyd.v1."+events] = r.live
		return
	}
	r.call(t, events, &tallydv1.ListWebhookEventsRequest{WebhookId: list.GetWebhooks()[0].GetId()}, &tallydv1.ListWebhookEventsResponse{})
}
