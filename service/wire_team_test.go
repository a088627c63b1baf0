package service_test

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

func analyticsCalls() []handled {
	const query = "period=24h"
	period := tallydv1.AnalyticsPeriod_ANALYTICS_PERIOD_LAST_24_HOURS
	return []handled{
		{
			"AnalyticsService/GetMetrics", &tallydv1.GetMetricsRequest{FormId: "f1", Period: period},
			answer{body: `{"visits":7,"completionRate":50.5}`},
			asked{"GET /forms/f1/analytics/metrics", query, ""},
			&tallydv1.GetMetricsResponse{Metrics: &tallydv1.Metrics{Visits: 7, CompletionRate: 50.5}},
		},
		{
			"AnalyticsService/GetVisits", &tallydv1.GetVisitsRequest{FormId: "f1", Period: period},
			answer{body: `{"data":{"2026-01-01":{"totalVisits":3}}}`},
			asked{"GET /forms/f1/analytics/visits", query, ""},
			&tallydv1.GetVisitsResponse{Buckets: map[string]*tallydv1.VisitCount{"2026-01-01": {TotalVisits: 3}}},
		},
		{
			"AnalyticsService/GetSubmissionCounts", &tallydv1.GetSubmissionCountsRequest{FormId: "f1", Period: period},
			answer{body: `{"data":{"2026-01-01":{"totalSubmissions":2}}}`},
			asked{"GET /forms/f1/analytics/submissions", query, ""},
			&tallydv1.GetSubmissionCountsResponse{Buckets: map[string]*tallydv1.SubmissionCount{"2026-01-01": {TotalSubmissions: 2}}},
		},
		{
			"AnalyticsService/GetDimensions", &tallydv1.GetDimensionsRequest{FormId: "f1", Period: period},
			answer{body: `{"country":{"BE":2},"city":{}}`},
			asked{"GET /forms/f1/analytics/dimensions", query, ""},
			&tallydv1.GetDimensionsResponse{Dimensions: &tallydv1.Dimensions{Country: map[string]int64{"BE": 2}}},
		},
		{
			"AnalyticsService/GetDropOff", &tallydv1.GetDropOffRequest{FormId: "f1", Period: period},
			answer{body: `{"stats":{"totalVisitors":4},"data":[{"blockGroupUuid":"g1","drops":1,"title":null}],"hasConditionalLogic":true}`},
			asked{"GET /forms/f1/analytics/drop-off", query, ""},
			&tallydv1.GetDropOffResponse{DropOff: &tallydv1.DropOff{
				Stats: &tallydv1.DropOffStats{TotalVisitors: 4}, HasConditionalLogic: true,
				Questions: []*tallydv1.QuestionDropOff{{BlockGroupUuid: "g1", Drops: 1}},
			}},
		},
	}
}

func teamCalls() []handled {
	user := &tallydv1.User{Id: "u1", Email: "a@example.com"}
	folder := &tallydv1.Folder{Id: "d1", Name: "D", WorkspaceId: "w1", ParentFolderId: new("d0")}
	workspace := &tallydv1.Workspace{Id: "w1", Name: new("W"), Members: []*tallydv1.User{{Id: "u1"}}, Folders: []*tallydv1.Folder{{Id: "d1"}}}
	const (
		userJSON      = `{"id":"u1","email":"a@example.com","avatarUrl":null}`
		folderJSON    = `{"id":"d1","name":"D","workspaceId":"w1","parentId":"d0"}`
		workspaceJSON = `{"id":"w1","name":"W","members":[{"id":"u1"}],"invites":[],"folders":[{"id":"d1"}]}`
	)
	return []handled{
		{
			"UserService/GetCurrentUser", &tallydv1.GetCurrentUserRequest{},
			answer{body: userJSON},
			asked{"GET /users/me", "", ""},
			&tallydv1.GetCurrentUserResponse{User: user},
		},
		{
			"OrganizationService/ListOrganizationUsers", &tallydv1.ListOrganizationUsersRequest{OrganizationId: "o1"},
			answer{body: "[" + userJSON + "]"},
			asked{"GET /organizations/o1/users", "", ""},
			&tallydv1.ListOrganizationUsersResponse{Users: []*tallydv1.User{user}},
		},
		{
			"OrganizationService/RemoveOrganizationUser", &tallydv1.RemoveOrganizationUserRequest{OrganizationId: "o1", UserId: "u1"},
			answer{status: 204},
			asked{"DELETE /organizations/o1/users/u1", "", ""},
			&tallydv1.RemoveOrganizationUserResponse{},
		},
		{
			"OrganizationService/ListInvites", &tallydv1.ListInvitesRequest{OrganizationId: "o1"},
			answer{body: `[{"id":"i1","email":"a@example.com"}]`},
			asked{"GET /organizations/o1/invites", "", ""},
			&tallydv1.ListInvitesResponse{Invites: []*tallydv1.Invite{{Id: "i1", Email: "a@example.com"}}},
		},
		{
			"OrganizationService/CreateInvites",
			&tallydv1.CreateInvitesRequest{OrganizationId: "o1", WorkspaceIds: []string{"w1", "w2"}, Emails: []string{"a@example.com", "b@example.com"}},
			answer{status: 204},
			asked{"POST /organizations/o1/invites", "", `{"workspaceIds":["w1","w2"],"emails":"a@example.com, b@example.com"}`},
			&tallydv1.CreateInvitesResponse{},
		},
		{
			"OrganizationService/CancelInvite", &tallydv1.CancelInviteRequest{OrganizationId: "o1", InviteId: "i1"},
			answer{status: 204},
			asked{"DELETE /organizations/o1/invites/i1", "", ""},
			&tallydv1.CancelInviteResponse{},
		},
		{
			"WorkspaceService/ListWorkspaces", &tallydv1.ListWorkspacesRequest{},
			answer{body: `{"items":[` + workspaceJSON + `],"page":1,"limit":50,"total":1,"hasMore":false}`},
			asked{"GET /workspaces", "page=1", ""},
			&tallydv1.ListWorkspacesResponse{Workspaces: []*tallydv1.Workspace{workspace}, TotalSize: 1},
		},
		{
			"WorkspaceService/CreateWorkspace", &tallydv1.CreateWorkspaceRequest{Name: "W"},
			answer{201, workspaceJSON},
			asked{"POST /workspaces", "", `{"name":"W"}`},
			&tallydv1.CreateWorkspaceResponse{Workspace: workspace},
		},
		{
			"WorkspaceService/GetWorkspace", &tallydv1.GetWorkspaceRequest{WorkspaceId: "w1"},
			answer{body: workspaceJSON},
			asked{"GET /workspaces/w1", "", ""},
			&tallydv1.GetWorkspaceResponse{Workspace: workspace},
		},
		{
			"WorkspaceService/UpdateWorkspace", &tallydv1.UpdateWorkspaceRequest{WorkspaceId: "w1", Name: "W", UpdateMask: paths("*")},
			answer{},
			asked{"PATCH /workspaces/w1", "", `{"name":"W"}`},
			&tallydv1.UpdateWorkspaceResponse{},
		},
		{
			"WorkspaceService/DeleteWorkspace", &tallydv1.DeleteWorkspaceRequest{WorkspaceId: "w1"},
			answer{status: 204},
			asked{"DELETE /workspaces/w1", "", ""},
			&tallydv1.DeleteWorkspaceResponse{},
		},
		{
			"WorkspaceService/ListFolders", &tallydv1.ListFoldersRequest{WorkspaceId: "w1"},
			answer{body: "[" + folderJSON + "]"},
			asked{"GET /workspaces/w1/folders", "", ""},
			&tallydv1.ListFoldersResponse{Folders: []*tallydv1.Folder{folder}},
		},
		{
			"WorkspaceService/CreateFolder", &tallydv1.CreateFolderRequest{WorkspaceId: "w1", Name: "D", ParentFolderId: new("d0")},
			answer{201, folderJSON},
			asked{"POST /workspaces/w1/folders", "", `{"name":"D","parentId":"d0"}`},
			&tallydv1.CreateFolderResponse{Folder: folder},
		},
		{
			"WorkspaceService/UpdateFolder", &tallydv1.UpdateFolderRequest{WorkspaceId: "w1", FolderId: "d1", Name: "E"},
			answer{status: 204},
			asked{"PATCH /workspaces/w1/folders/d1", "", `{"name":"E"}`},
			&tallydv1.UpdateFolderResponse{},
		},
		{
			"WorkspaceService/DeleteFolder", &tallydv1.DeleteFolderRequest{WorkspaceId: "w1", FolderId: "d1"},
			answer{},
			asked{"DELETE /workspaces/w1/folders/d1", "", ""},
			&tallydv1.DeleteFolderResponse{},
		},
	}
}

func webhookCalls() []handled {
	reports := []tallydv1.WebhookEventType{tallydv1.WebhookEventType_WEBHOOK_EVENT_TYPE_FORM_RESPONSE}
	return []handled{
		{
			"WebhookService/ListWebhooks", &tallydv1.ListWebhooksRequest{PageSize: 101},
			answer{body: webhookList(false, `{"id":"w9","formId":"f1","url":"https://a.example.com/","eventTypes":["FORM_RESPONSE"],"isEnabled":true}`)},
			asked{"GET /webhooks", "limit=100&page=1", ""},
			&tallydv1.ListWebhooksResponse{
				Webhooks:  []*tallydv1.Webhook{{Id: "w9", FormId: "f1", Url: "https://a.example.com/", EventTypes: reports, IsEnabled: true}},
				TotalSize: 3,
			},
		},
		{
			"WebhookService/CreateWebhook", &tallydv1.CreateWebhookRequest{FormId: "f1", Url: "https://a.example.com/", HttpHeaders: &tallydv1.HttpHeaders{Headers: []*tallydv1.HttpHeader{{Name: "X-A", Value: "1"}}}},
			answer{201, `{"id":"w9","url":"https://a.example.com/","eventTypes":["FORM_RESPONSE"],"isEnabled":true,"createdAt":"2026-01-01T00:00:00.000Z"}`},
			asked{
				"POST /webhooks", "",
				`{"formId":"f1","url":"https://a.example.com/","eventTypes":["FORM_RESPONSE"],"httpHeaders":[{"name":"X-A","value":"1"}]}`,
			},
			&tallydv1.CreateWebhookResponse{Webhook: &tallydv1.Webhook{
				Id: "w9", Url: "https://a.example.com/", EventTypes: reports, IsEnabled: true, CreateTime: &timestamppb.Timestamp{Seconds: 1767225600},
			}},
		},
		{
			"WebhookService/DeleteWebhook", &tallydv1.DeleteWebhookRequest{WebhookId: "w9"},
			answer{status: 204},
			asked{"DELETE /webhooks/w9", "", ""},
			&tallydv1.DeleteWebhookResponse{},
		},
		{
			"WebhookService/ListWebhookEvents", &tallydv1.ListWebhookEventsRequest{WebhookId: "w9"},
			answer{body: `{"page":1,"limit":25,"hasMore":false,"totalNumberOfEvents":1,"events":[{"id":"e1","deliveryStatus":"LOST","retry":2}]}`},
			asked{"GET /webhooks/w9/events", "page=1", ""},
			&tallydv1.ListWebhookEventsResponse{Events: []*tallydv1.WebhookEvent{{Id: "e1", DeliveryStatusRaw: "LOST", RetryCount: 2}}, TotalSize: 1},
		},
		{
			"WebhookService/RetryWebhookEvent", &tallydv1.RetryWebhookEventRequest{WebhookId: "w9", EventId: "e1"},
			answer{status: 204},
			asked{"POST /webhooks/w9/events/e1", "", ""},
			&tallydv1.RetryWebhookEventResponse{},
		},
	}
}
