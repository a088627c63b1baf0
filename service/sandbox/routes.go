package sandbox

import (
	"math"
	"net/http"
	"strconv"
)

// route is one operation: who may call it, what it accepts, what it does.
// Handlers run under the sandbox's lock, shared for a GET that writes nothing.
type route struct {
	pattern string
	paid    bool
	writes  bool
	query   []key
	body    rule
	handle  func(*Sandbox, *call) *reply
}

func (s *Sandbox) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, list := range [][]route{accountRoutes(), formRoutes(), responseRoutes(), workspaceRoutes(), webhookRoutes()} {
		for _, rt := range list {
			mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
				s.answer(&rt, r).write(w)
			})
		}
	}
	return mux
}

func (s *Sandbox) answer(rt *route, r *http.Request) *reply {
	c := &call{request: r, now: s.opts.clock().UTC()}
	if refusal := s.admit(rt, c); refusal != nil {
		return refusal
	}
	if r.Method == http.MethodGet && !rt.writes {
		s.mu.RLock()
		defer s.mu.RUnlock()
	} else {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	c.state = s.state
	return rt.handle(s, c)
}

func accountRoutes() []route {
	return []route{
		{pattern: "GET /users/me", writes: true, query: []key{maybe("timezone", zone)}, handle: getMe},
		{pattern: "GET /organizations/{organizationId}/users", handle: listUsers},
		{pattern: "DELETE /organizations/{organizationId}/users/{userId}", handle: removeUser},
		{pattern: "GET /organizations/{organizationId}/invites", handle: listInvites},
		{pattern: "POST /organizations/{organizationId}/invites", body: inviteBody, handle: createInvites},
		{pattern: "DELETE /organizations/{organizationId}/invites/{inviteId}", handle: cancelInvite},
	}
}

func formRoutes() []route {
	return []route{
		{pattern: "GET /forms", query: []key{page, limitUpTo(500), maybe("workspaceIds", anything)}, handle: listForms},
		{pattern: "POST /forms", body: createFormBody, handle: createForm},
		{pattern: "GET /forms/{formId}", handle: getForm},
		{pattern: "PATCH /forms/{formId}", body: updateFormBody, handle: updateForm},
		{pattern: "DELETE /forms/{formId}", handle: deleteForm},
		{pattern: "GET /forms/{formId}/questions", handle: listQuestions},
		{pattern: "PATCH /forms/{formId}/questions/{questionId}", paid: true, body: object(maybe("title", word)), handle: renameQuestion},
		{pattern: "GET /forms/{formId}/blocks", paid: true, handle: listBlocks},
		{pattern: "PATCH /forms/{formId}/blocks", paid: true, body: updateBlocksBody, handle: updateBlocks},
	}
}

func responseRoutes() []route {
	period := []key{need("period", oneOf("today", "yesterday", "24h", "7d", "30d", "3m", "6m", "12m", "all"))}
	return []route{
		{pattern: "GET /forms/{formId}/submissions", query: submissionQuery(), handle: listSubmissions},
		{pattern: "GET /forms/{formId}/submissions/{submissionId}", handle: getSubmission},
		{pattern: "DELETE /forms/{formId}/submissions/{submissionId}", handle: deleteSubmission},
		{pattern: "GET /forms/{formId}/analytics/metrics", query: period, handle: metrics},
		{pattern: "GET /forms/{formId}/analytics/visits", query: period, handle: visits},
		{pattern: "GET /forms/{formId}/analytics/submissions", query: period, handle: submissionCounts},
		{pattern: "GET /forms/{formId}/analytics/dimensions", query: period, handle: dimensions},
		{pattern: "GET /forms/{formId}/analytics/drop-off", query: period, handle: dropOff},
	}
}

func workspaceRoutes() []route {
	named := object(need("name", word))
	return []route{
		{pattern: "GET /workspaces", query: []key{page}, handle: listWorkspaces},
		{pattern: "POST /workspaces", paid: true, body: named, handle: createWorkspace},
		{pattern: "GET /workspaces/{workspaceId}", handle: getWorkspace},
		{pattern: "PATCH /workspaces/{workspaceId}", body: named, handle: renameWorkspace},
		{pattern: "DELETE /workspaces/{workspaceId}", handle: deleteWorkspace},
		{pattern: "GET /workspaces/{workspaceId}/folders", paid: true, handle: listFolders},
		{pattern: "POST /workspaces/{workspaceId}/folders", paid: true, body: object(need("name", word), maybe("parentId", nullable(word))), handle: createFolder},
		{pattern: "PATCH /workspaces/{workspaceId}/folders/{folderId}", paid: true, body: named, handle: renameFolder},
		{pattern: "DELETE /workspaces/{workspaceId}/folders/{folderId}", paid: true, handle: deleteFolder},
	}
}

func webhookRoutes() []route {
	return []route{
		{pattern: "GET /webhooks", query: []key{page, limitUpTo(100)}, handle: listWebhooks},
		{pattern: "POST /webhooks", body: createWebhookBody, handle: createWebhook},
		{pattern: "PATCH /webhooks/{webhookId}", body: updateWebhookBody, handle: updateWebhook},
		{pattern: "DELETE /webhooks/{webhookId}", handle: deleteWebhook},
		{pattern: "GET /webhooks/{webhookId}/events", query: []key{page}, handle: listEvents},
		{pattern: "POST /webhooks/{webhookId}/events/{eventId}", handle: retryEvent},
	}
}

var page = maybe("page", converted(integer(1, math.MaxInt32)))

// limitUpTo refuses a limit above the maximum; older reports say it was
// clamped. [behaviour limit-over-max]
func limitUpTo(most float64) key { return maybe("limit", converted(integer(1, most))) }

// converted lets a number arrive as text, as it does in a query string.
func converted(r rule) rule {
	return func(path string, v any) *violation {
		s, _ := v.(string)
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return r(path, v)
		}
		return r(path, n)
	}
}

// pageOf cuts one page out of a list and says whether another follows.
func pageOf[T any](c *call, list []T, limit int) (items []T, page int, more bool) {
	page = c.number("page", 1)
	from := min(int64(page-1)*int64(limit), int64(len(list)))
	to := min(from+int64(limit), int64(len(list)))
	return list[from:to], page, to < int64(len(list))
}

func (c *call) number(name string, otherwise int) int {
	if n, err := strconv.ParseFloat(c.query.Get(name), 64); err == nil {
		return int(n)
	}
	return otherwise
}
