package service_test

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/cache"
	"github.com/tallyd/tallyd/service/tally"
)

// caching gives the client of a world a cache.
func caching(t testing.TB) func(*tally.Config) {
	t.Helper()
	store := cache.New(1 << 20)
	t.Cleanup(store.Close)
	return func(c *tally.Config) { c.Cache = store }
}

const everything = `callers:
  - {name: all, identities: ['dns:all'], allow: [{methods: ['*'], workspaces: ['*'], forms: ['*'], organizations: ['*']}]}
  - {name: team, identities: ['dns:team'], allow: [{methods: ['*'], forms: [Repair]}]}`

// asking returns a context of caller "all" with a cache-control.
func asking(t testing.TB, control string) context.Context {
	t.Helper()
	ctx := as(t, "all")
	if control != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "cache-control", control)
	}
	return ctx
}

// TestCacheControl answers from memory what the contract or the caller lets be old, and says how old it is.
func TestCacheControl(t *testing.T) {
	form := rpc{"FormService/GetForm", &tallydv1.GetFormRequest{FormId: "Repair"}}
	list := rpc{"SubmissionService/ListSubmissions", &tallydv1.ListSubmissionsRequest{FormId: "Repair", PageSize: 3}}
	tests := []struct {
		name          string
		call          rpc
		first, second string
		wantRequests  int
		wantAge       bool
	}{
		{"a form again", form, "", "", 1, true},
		{"a form anew", form, "", "no-cache", 2, false},
		{"a form anew, in other words", form, "", "No-Cache", 2, false},
		{"a form not to be stored", form, "", "no-store", 2, false},
		{"a form of the last second", form, "", "max-age=1", 1, true},
		{"a form of no age", form, "", "max-age=0", 2, false},
		{"an age that is none", form, "", "max-age=soon", 2, false},
		{"the strictest counts", form, "", "max-age=60, no-cache", 2, false},
		{"a word that means nothing here", form, "", "private", 1, true},
		{"asked for anew, it serves others", form, "no-cache", "", 1, true},
		{"submissions are not stored", list, "", "", 2, false},
		{"submissions of the last minute, stored by nobody", list, "", "max-age=60", 2, false},
		{"submissions of the last minute", list, "max-age=60", "max-age=60", 1, true},
		{"submissions that others may have old", list, "max-age=60", "", 2, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := newGuarded(t, everything, caching(t))
			answers := [2]any{}
			var trailer metadata.MD
			for i, control := range []string{test.first, test.second} {
				trailer = nil
				answer := answerOf(t, test.call.method)
				err := g.conn.Invoke(asking(t, control), "/tallyd.v1."+test.call.method, test.call.req, answer, grpc.Trailer(&trailer))
				if err != nil {
					t.Fatal(err)
				}
				answers[i] = answer
			}
			if n := g.requests(); n != test.wantRequests {
				t.Errorf("Tally got %d requests, want %d", n, test.wantRequests)
			}
			if cost := trailer.Get("tallyd-cost"); len(cost) != 1 || cost[0] != strconv.Itoa(test.wantRequests-1) {
				t.Errorf("the second call cost %v, want %d", cost, test.wantRequests-1)
			}
			if age := trailer.Get("tallyd-age"); (len(age) == 1 && age[0] == "0") != test.wantAge {
				t.Errorf("tallyd-age = %v, want one: %v", age, test.wantAge)
			}
		})
	}
}

// TestWritesMakeForget reads, writes through us and reads again: what a write touches is read anew, and nothing else.
func TestWritesMakeForget(t *testing.T) {
	getForm := func(id string) rpc { return rpc{"FormService/GetForm", &tallydv1.GetFormRequest{FormId: id}} }
	forms := rpc{"FormService/ListForms", &tallydv1.ListFormsRequest{}}
	questions := rpc{"FormService/ListQuestions", &tallydv1.ListQuestionsRequest{FormId: "Repair"}}
	workspaces := rpc{"WorkspaceService/ListWorkspaces", &tallydv1.ListWorkspacesRequest{}}
	name := "New name"
	tests := []struct {
		name  string
		write rpc
		anew  []rpc
		kept  []rpc
	}{
		{
			"a form's name",
			rpc{"FormService/UpdateForm", &tallydv1.UpdateFormRequest{FormId: "Repair", Name: &name}},
			[]rpc{getForm("Repair"), forms, questions},
			[]rpc{getForm("NewsLt"), workspaces},
		},
		{
			"a form",
			rpc{"FormService/DeleteForm", &tallydv1.DeleteFormRequest{FormId: "NewsLt"}},
			[]rpc{forms},
			[]rpc{getForm("Repair"), questions, workspaces},
		},
		{
			"a new form",
			rpc{"FormService/CreateForm", &tallydv1.CreateFormRequest{Status: tallydv1.FormStatus_FORM_STATUS_DRAFT}},
			[]rpc{forms},
			[]rpc{getForm("Repair"), getForm("NewsLt"), questions, workspaces},
		},
		{
			"a workspace, and so the forms in it",
			rpc{"WorkspaceService/DeleteWorkspace", &tallydv1.DeleteWorkspaceRequest{WorkspaceId: "wsTeam"}},
			[]rpc{forms, workspaces},
			[]rpc{{"UserService/GetCurrentUser", &tallydv1.GetCurrentUserRequest{}}},
		},
		{
			"a write that Tally refuses",
			rpc{"FormService/DeleteForm", &tallydv1.DeleteFormRequest{FormId: "nosuch"}},
			[]rpc{forms},
			[]rpc{getForm("Repair"), questions},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := newGuarded(t, everything, caching(t))
			read := func(call rpc) int {
				before := g.requests()
				if err := call.call(as(t, "all"), t, g.conn); err != nil {
					t.Fatal(err)
				}
				return g.requests() - before
			}
			for _, call := range append(test.anew, test.kept...) {
				read(call)
			}
			_ = test.write.call(as(t, "all"), t, g.conn)
			for _, call := range test.kept {
				if read(call) != 0 {
					t.Errorf("%s was read anew, want it remembered", call.method)
				}
			}
			for _, call := range test.anew {
				if read(call) == 0 {
					t.Errorf("%s was remembered, want it read anew", call.method)
				}
			}
		})
	}
}

// TestMissingIsRememberedForAMoment covers row 13: what Tally does not know is asked for once.
func TestMissingIsRememberedForAMoment(t *testing.T) {
	g := newGuarded(t, everything, caching(t))
	for range 3 {
		err := rpc{"FormService/GetForm", &tallydv1.GetFormRequest{FormId: "nosuch"}}.call(as(t, "all"), t, g.conn)
		if reasonOf(err) != "RESOURCE_NOT_FOUND" {
			t.Fatalf("GetForm() = %v, want RESOURCE_NOT_FOUND", err)
		}
	}
	if n := g.requests(); n != 1 {
		t.Errorf("Tally got %d requests, want 1", n)
	}
	// A page that is none of Tally's says nothing about the form: row 12.
	g.answers.Store("GET /forms/Repair", "<html>")
	for range 2 {
		_ = rpc{"FormService/GetForm", &tallydv1.GetFormRequest{FormId: "Repair"}}.call(as(t, "all"), t, g.conn)
	}
	if n := g.requests(); n != 3 {
		t.Errorf("Tally got %d requests, want 3: a failure is not remembered", n)
	}
}

// TestMemoryCrossesNoGrant covers row 73: what one caller reads, another who may not gets neither from a call under way nor from memory.
func TestMemoryCrossesNoGrant(t *testing.T) {
	g := newGuarded(t, everything, caching(t))
	call := rpc{"FormService/GetForm", &tallydv1.GetFormRequest{FormId: "NewsLt"}}
	release, read := make(chan struct{}), make(chan error, 1)
	g.held.Store(&release)
	go func() { read <- call.call(as(t, "all"), t, g.conn) }()
	for g.requests() == 0 {
		runtime.Gosched()
	}
	if err := call.call(as(t, "team"), t, g.conn); reasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("GetForm() of a foreign form that is under way = %v, want CALLER_NOT_ALLOWED", err)
	}
	close(release)
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if err := call.call(as(t, "team"), t, g.conn); reasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("GetForm() of a foreign form that is remembered = %v, want CALLER_NOT_ALLOWED", err)
	}
}

// patientTally is a Tally that answers when it is told to.
type patientTally struct {
	came    chan struct{}
	release chan struct{}
	count   atomic.Int32
}

func (h *patientTally) serve(w http.ResponseWriter, _ *http.Request) {
	h.count.Add(1)
	h.came <- struct{}{}
	<-h.release
	_, _ = w.Write([]byte(`{"id":"Repair","name":"Repairs","status":"PUBLISHED"}`))
}

// newPatient is a world with a cache in front of such a Tally.
func newPatient(t *testing.T) (*world, *patientTally) {
	t.Helper()
	h := &patientTally{came: make(chan struct{}, 2000), release: make(chan struct{})}
	w := newWorldOf(t, h.serve, caching(t))
	return w, h
}

// TestTogetherIsOnce makes a thousand calls for the same at the same time: Tally gets one request.
func TestTogetherIsOnce(t *testing.T) {
	w, h := newPatient(t)
	forms := tallydv1.NewFormServiceClient(w.conn)
	var calls sync.WaitGroup
	for range 1000 {
		calls.Go(func() {
			resp, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "Repair"})
			if err != nil || resp.GetForm().GetName() != "Repairs" {
				t.Errorf("GetForm() = %v, %v, want the form", resp, err)
			}
		})
	}
	<-h.came
	close(h.release)
	calls.Wait()
	if n := h.count.Load(); n != 1 {
		t.Errorf("Tally got %d requests, want 1", n)
	}
}

// TestLeaderMayLeave covers row 75: the call that asked Tally is cancelled, the others get their answer, and none of them hears of it.
func TestLeaderMayLeave(t *testing.T) {
	w, h := newPatient(t)
	forms := tallydv1.NewFormServiceClient(w.conn)
	ctx, leave := context.WithCancel(t.Context())
	leader := make(chan error, 1)
	go func() {
		_, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "Repair"})
		leader <- err
	}()
	<-h.came
	var others sync.WaitGroup
	for range 10 {
		others.Go(func() {
			if _, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "Repair"}); err != nil {
				t.Errorf("GetForm() = %v, want an answer", err)
			}
		})
	}
	leave()
	if err := <-leader; status.Code(err) != codes.Canceled {
		t.Errorf("the leader's GetForm() = %v, want Canceled", err)
	}
	close(h.release)
	others.Wait()
	if n := h.count.Load(); n > 2 {
		t.Errorf("Tally got %d requests, want one, or two if the leader left before the others came", n)
	}
}

// TestMemoryNeedsNoTime covers row 76's other half: with 10 ms left a call that needs Tally is refused, one that does not is answered.
func TestMemoryNeedsNoTime(t *testing.T) {
	w, h := newPatient(t)
	close(h.release)
	forms := tallydv1.NewFormServiceClient(w.conn)
	if _, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "Repair"}); err != nil {
		t.Fatal(err)
	}
	answered := false
	// The way there and back may itself take longer than that on a busy machine.
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "Repair"})
		cancel()
		if answered = err == nil; answered {
			break
		}
		if reason := reasonOf(err); reason == "DEADLINE_TOO_SHORT" {
			t.Fatalf("GetForm() of what is remembered = %v, want an answer", err)
		}
	}
	if !answered {
		t.Error("no call with 10 ms was answered from memory")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 19*time.Millisecond)
	defer cancel()
	if _, err := forms.GetForm(ctx, &tallydv1.GetFormRequest{FormId: "Other"}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("GetForm() of what is not remembered = %v, want DeadlineExceeded", err)
	}
	if n := h.count.Load(); n != 1 {
		t.Errorf("Tally got %d requests, want 1", n)
	}
}
