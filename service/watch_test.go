package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/events"
)

const jobs = "JobApp"

func of(forms ...string) *tallydv1.WatchSubmissionsRequest {
	return &tallydv1.WatchSubmissionsRequest{FormIds: forms}
}

func behind(token string, forms ...string) *tallydv1.WatchSubmissionsRequest {
	return &tallydv1.WatchSubmissionsRequest{FormIds: forms, Start: &tallydv1.WatchSubmissionsRequest_ResumeToken{ResumeToken: token}}
}

// What respondents send off comes by webhook, in order, and again from every token on.
func TestWatch(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	w.registered(t, jobs)
	var want, tokens []string
	for i := range 5 {
		want = append(want, w.submit(t, jobs))
		e := s.event()
		if e.GetSubmission().GetId() != want[i] || e.GetSequence() != int64(i+1) || e.GetFormId() != jobs ||
			e.GetSource() != tallydv1.SubmissionEventSource_SUBMISSION_EVENT_SOURCE_WEBHOOK || !e.GetSubmission().GetIsCompleted() {
			t.Errorf("event %d = %v, want submission %s", i, e, want[i])
		}
		tokens = append(tokens, s.token)
	}
	s.close()
	for i, token := range tokens[:4] {
		s := w.watch(t, "all", behind(token, jobs))
		var got []string
		for range want[i+1:] {
			got = append(got, s.event().GetSubmission().GetId())
		}
		if !slices.Equal(got, want[i+1:]) {
			t.Errorf("behind event %d come %q, want %q", i, got, want[i+1:])
		}
		s.close()
	}
}

// Where a watch may begin, but for a token.
func TestWatchStarts(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	w.registered(t, jobs)
	first := w.submit(t, jobs)
	s.event()
	between := time.Now()
	second := w.submit(t, jobs)
	s.event()
	tests := []struct {
		name string
		req  *tallydv1.WatchSubmissionsRequest
		want []string
	}{
		{"earliest", &tallydv1.WatchSubmissionsRequest{Start: &tallydv1.WatchSubmissionsRequest_StartAt{StartAt: tallydv1.WatchStart_WATCH_START_EARLIEST}}, []string{first, second}},
		{"a time", &tallydv1.WatchSubmissionsRequest{Start: &tallydv1.WatchSubmissionsRequest_StartTime{StartTime: timestamppb.New(between)}}, []string{second}},
		{"a time to come", &tallydv1.WatchSubmissionsRequest{Start: &tallydv1.WatchSubmissionsRequest_StartTime{StartTime: timestamppb.New(between.Add(time.Hour))}}, nil},
		{"latest", &tallydv1.WatchSubmissionsRequest{}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.req.FormIds = []string{jobs}
			s := w.watch(t, "all", test.req)
			last := w.submit(t, jobs)
			for _, want := range append(test.want, last) {
				if got := s.event().GetSubmission().GetId(); got != want {
					t.Errorf("next is %s, want %s", got, want)
				}
			}
			second = last
		})
		for i := range tests {
			if tests[i].want != nil {
				tests[i].want = append(tests[i].want, second)
			}
		}
	}
}

// What no webhook told of is found by comparing: new ones, and deletions.
func TestWatchIsCompleted(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	w.registered(t, jobs)
	kept := w.submit(t, jobs)
	s.event()
	w.hooks.CloseClientConnections()
	w.hooks.Close() // Tally delivers to nobody
	missed := w.submit(t, jobs)
	w.events.Keeper.Check(jobs)
	e := s.event()
	if e.GetSubmission().GetId() != missed || e.GetSource() != tallydv1.SubmissionEventSource_SUBMISSION_EVENT_SOURCE_RECONCILED {
		t.Errorf("next is %v, want %s as reconciled", e, missed)
	}
	w.deleteAtTally(t, jobs, kept)
	w.events.Keeper.Check(jobs)
	if e := s.event(); e.GetDeleted().GetSubmissionId() != kept || e.GetDeleted().GetErasedSequence() != 1 {
		t.Errorf("next is %v, want that %s is deleted", e, kept)
	}
}

// A deletion through tallyd is told at once, and nothing of the submission is left.
func TestDeleteErases(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	w.registered(t, jobs)
	id := w.submit(t, jobs)
	s.event()
	_, err := tallydv1.NewSubmissionServiceClient(w.conn).DeleteSubmission(as(t, "all"), &tallydv1.DeleteSubmissionRequest{FormId: jobs, SubmissionId: id})
	if err != nil {
		t.Fatal(err)
	}
	e := s.event()
	if e.GetDeleted().GetSubmissionId() != id || e.GetSource() != tallydv1.SubmissionEventSource_SUBMISSION_EVENT_SOURCE_CALLER {
		t.Errorf("next is %v, want that %s is deleted", e, id)
	}
	list, err := tallydv1.NewSubmissionEventServiceClient(w.conn).ListSubmissionEvents(as(t, "all"), &tallydv1.ListSubmissionEventsRequest{FormId: jobs})
	if err != nil || len(list.GetEvents()) != 1 || list.GetEvents()[0].GetDeleted() == nil {
		t.Errorf("ListSubmissionEvents() = %v, %v, want the deletion alone", list, err)
	}
}

// Tokens of others, of other requests and of times that retention took.
func TestWatchTokens(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	w.registered(t, jobs)
	first := s.token
	w.submit(t, jobs)
	s.event()
	w.submit(t, jobs)
	s.event()
	second := s.token
	s.close()
	page, err := tallydv1.NewSubmissionEventServiceClient(w.conn).ListSubmissionEvents(
		as(t, "all"), &tallydv1.ListSubmissionEventsRequest{FormId: jobs, PageSize: 1})
	if err != nil || page.GetNextPageToken() == "" {
		t.Fatalf("ListSubmissionEvents() = %v, %v, want a page with another behind it", page, err)
	}
	if err := w.events.Log.Retain(t.Context(), jobs, time.Now()); err != nil {
		t.Fatal(err)
	}
	third := w.submit(t, jobs)
	for name, test := range map[string]struct {
		token, want string
		forms       []string
	}{
		"too old":     {first, "RESUME_TOKEN_EXPIRED", []string{jobs}},
		"other forms": {second, "RESUME_TOKEN_INVALID", []string{jobs, "Feedbk"}},
		"forged":      {second[:len(second)-2] + "xx", "RESUME_TOKEN_INVALID", []string{jobs}},
		"none":        {"x", "RESUME_TOKEN_INVALID", []string{jobs}},
		"of a page":   {page.GetNextPageToken(), "RESUME_TOKEN_INVALID", []string{jobs}},
	} {
		open, err := tallydv1.NewSubmissionServiceClient(w.conn).WatchSubmissions(as(t, "all"), behind(test.token, test.forms...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = open.Recv()
		if got := reasonOf(err); got != test.want {
			t.Errorf("%s: Recv() = %v, want %s", name, err, test.want)
		}
		if test.want != "RESUME_TOKEN_EXPIRED" {
			continue
		}
		s := w.watch(t, "all", behind(infoOf(err).GetMetadata()["oldest_resume_token"], jobs))
		if got := s.event().GetSubmission().GetId(); got != third {
			t.Errorf("behind the oldest token comes %s, want %s", got, third)
		}
	}
	if s := w.watch(t, "all", behind(second, jobs)); s.event().GetSubmission().GetId() != third {
		t.Error("a token behind what retention took does not go on")
	}
}

// A gap is a message in a watch and the end of a replay.
func TestGap(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	w.registered(t, jobs)
	start := s.token
	for range 3 {
		w.submit(t, jobs)
		s.event()
	}
	s.close()
	lost, _, err := w.store.Last(t.Context(), "ev."+jobs+".*")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Erase(t.Context(), lost.Position-1); err != nil {
		t.Fatal(err)
	}
	fresh := events.NewHub(w.events.Log) // one that has nothing in memory
	w.events.Hub = fresh
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { fresh.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })

	s = w.watch(t, "all", behind(start, jobs))
	if got := s.event().GetSequence(); got != 1 {
		t.Errorf("first event is %d, want 1", got)
	}
	gap := s.event()
	if gap.GetGap().GetFirstSequence() != 2 || gap.GetGap().GetLastSequence() != 2 {
		t.Errorf("second event is %v, want that 2 is lost", gap)
	}
	if got := s.event().GetSequence(); got != 3 {
		t.Errorf("third event is %d, want 3", got)
	}
	replay, err := tallydv1.NewSubmissionEventServiceClient(w.conn).ReplaySubmissionEvents(as(t, "all"), &tallydv1.ReplaySubmissionEventsRequest{FormId: jobs})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := replay.Recv(); err != nil || first.GetEvent().GetSequence() != 1 {
		t.Errorf("Recv() = %v, %v, want event 1", first, err)
	}
	_, err = replay.Recv()
	if info := infoOf(err); info.GetReason() != "EVENT_LOG_GAP" || info.GetMetadata()["first_sequence"] != "2" || info.GetMetadata()["last_sequence"] != "2" {
		t.Errorf("Recv() = %v, want EVENT_LOG_GAP of 2 to 2", err)
	}
	w.readOn(t, jobs, 3)
}

// readOn demands that a log, which is lost before its last event, can be read from that on.
func (w *watched) readOn(t *testing.T, form string, last int64) {
	t.Helper()
	client := tallydv1.NewSubmissionEventServiceClient(w.conn)
	replay, err := client.ReplaySubmissionEvents(as(t, "all"), &tallydv1.ReplaySubmissionEventsRequest{
		FormId: form, Start: &tallydv1.ReplaySubmissionEventsRequest_StartSequence{StartSequence: last},
	})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := replay.Recv(); err != nil || m.GetEvent().GetSequence() != last {
		t.Errorf("Recv() from %d on = %v, %v, want that event", last, m, err)
	}
	if m, err := replay.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("Recv() behind %d = %v, %v, want the end", last, m, err)
	}
	list, err := client.ListSubmissionEvents(as(t, "all"), &tallydv1.ListSubmissionEventsRequest{FormId: form, StartSequence: last})
	if err != nil || len(list.GetEvents()) != 1 || list.GetEvents()[0].GetSequence() != last {
		t.Errorf("ListSubmissionEvents() from %d on = %v, %v, want that event", last, list, err)
	}
}

// Pages of a log, and where reading it may begin.
func TestReadLog(t *testing.T) {
	w := newWatched(t, everybody)
	if err := w.events.Keeper.Watching(t.Context(), []string{jobs}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		news := events.News{Form: jobs, Submission: string(rune('a' + i)), Source: logv1.Source_SOURCE_CALLER, Deleted: true}
		if _, err := w.events.Log.Add(t.Context(), news); err != nil {
			t.Fatal(err)
		}
	}
	client := tallydv1.NewSubmissionEventServiceClient(w.conn)
	for _, start := range []int64{0, 1, 4, 10, 11} {
		var got []int64
		req := &tallydv1.ListSubmissionEventsRequest{FormId: jobs, StartSequence: start, PageSize: 3}
		for {
			page, err := client.ListSubmissionEvents(as(t, "all"), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.GetEvents() {
				got = append(got, e.GetSequence())
			}
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		var want []int64
		for n := max(start, 1); n <= 10; n++ {
			want = append(want, n)
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages from %d on are %v, want %v", start, got, want)
		}
		replay, err := client.ReplaySubmissionEvents(as(t, "all"), &tallydv1.ReplaySubmissionEventsRequest{
			FormId: jobs, Start: &tallydv1.ReplaySubmissionEventsRequest_StartSequence{StartSequence: start},
		})
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for {
			m, err := replay.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.GetEvent().GetSequence())
		}
		if !slices.Equal(got, want) {
			t.Errorf("a replay from %d on is %v, want %v", start, got, want)
		}
	}
	_, err := client.ListSubmissionEvents(as(t, "all"), &tallydv1.ListSubmissionEventsRequest{FormId: jobs, PageToken: "x"})
	if got := reasonOf(err); got != "PAGE_TOKEN_INVALID" {
		t.Errorf("a foreign page token = %v, want PAGE_TOKEN_INVALID", err)
	}
}

// The policy decides when a watch opens, about each message, and again when it changes.
func TestWatchPassesThePolicy(t *testing.T) {
	const rules = `
callers:
- name: all
  identities: ['dns:all']
  allow: [{methods: ['*'], forms: ['*'], workspaces: ['*'], organizations: ['*']}]
- name: some
  identities: ['dns:some']
  allow: [{methods: [SubmissionService/WatchSubmissions], forms: [JobApp]}]
`
	w := newWatched(t, rules)
	denied := func(caller string, req *tallydv1.WatchSubmissionsRequest) {
		t.Helper()
		open, err := tallydv1.NewSubmissionServiceClient(w.conn).WatchSubmissions(as(t, caller), req)
		if err == nil {
			_, err = open.Recv()
		}
		if got := reasonOf(err); got != "CALLER_NOT_ALLOWED" {
			t.Errorf("WatchSubmissions(%v) by %s = %v, want CALLER_NOT_ALLOWED", req, caller, err)
		}
	}
	denied("some", of("Feedbk"))
	denied("some", of(jobs, "Feedbk"))
	denied("some", &tallydv1.WatchSubmissionsRequest{WorkspaceId: "wsMain"})
	denied("nobody", of(jobs))

	s := w.watch(t, "some", of(jobs))
	w.registered(t, jobs)
	w.submit(t, jobs)
	s.event()
	if err := os.WriteFile(w.file, []byte(everybody), 0o600); err != nil {
		t.Fatal(err)
	}
	w.reread(t)
	w.submit(t, jobs)
	if _, err := s.recv(); reasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("Recv() after the policy changed = %v, want CALLER_NOT_ALLOWED", err)
	}
}

// A policy that is another one lets nothing through before it has decided, which it cannot where Tally does not say where a form lies.
// The token goes on.
func TestWatchEndsWhereAnotherPolicyCannotDecide(t *testing.T) {
	const rules = "callers: [{name: some, identities: ['dns:some'], allow: [{methods: [SubmissionService/WatchSubmissions], %s}]}]"
	w := newWatched(t, fmt.Sprintf(rules, "forms: [JobApp]"))
	s := w.watch(t, "some", of(jobs))
	w.registered(t, jobs)
	w.submit(t, jobs)
	s.event()
	w.fail(http.StatusServiceUnavailable)
	if err := os.WriteFile(w.file, []byte(fmt.Sprintf(rules, "workspaces: [wsTeam]")), 0o600); err != nil {
		t.Fatal(err)
	}
	w.reread(t)
	news := events.News{Form: jobs, Submission: "gone", Source: logv1.Source_SOURCE_CALLER, Deleted: true}
	if _, err := w.events.Log.Add(t.Context(), news); err != nil {
		t.Fatal(err)
	}
	if m, err := s.recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("Recv() under a policy that cannot decide = %v, %v, want Unavailable", m, err)
	}
	w.fail(0)
	if e := w.watch(t, "some", behind(s.token, jobs)).event(); e.GetDeleted().GetSubmissionId() != "gone" {
		t.Errorf("behind the token comes %v, want the event that was not sent", e)
	}
}

// A server that stops ends a watch in order, with a token that goes on elsewhere.
func TestWatchEndsWithTheServer(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	go w.server.Shutdown()
	last := s.next()
	if !last.GetHeartbeat().GetEnding() || last.GetResumeToken() == "" {
		t.Errorf("last message is %v, want an ending heartbeat", last)
	}
	if _, err := s.recv(); !errors.Is(err, io.EOF) {
		t.Errorf("Recv() = %v, want the end", err)
	}
}

// A form that Tally does not have gets no log.
func TestWatchOfNothing(t *testing.T) {
	w := newWatched(t, everybody)
	open, err := tallydv1.NewSubmissionServiceClient(w.conn).WatchSubmissions(as(t, "all"), of("nosuch"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Recv(); reasonOf(err) != "RESOURCE_NOT_FOUND" {
		t.Errorf("Recv() = %v, want RESOURCE_NOT_FOUND", err)
	}
	if forms, err := w.events.Log.Forms(t.Context()); len(forms) != 0 || err != nil {
		t.Errorf("Forms() = %v, %v, want none", forms, err)
	}
}

// A watch of a workspace hears of all its forms that the caller may see, those included that came to it while nobody watched.
func TestWatchWorkspace(t *testing.T) {
	const rules = `
callers:
- name: all
  identities: ['dns:all']
  allow: [{methods: ['*'], forms: ['*'], workspaces: ['*'], organizations: ['*']}]
- name: team
  identities: ['dns:team']
  allow: [{methods: [SubmissionService/WatchSubmissions], workspaces: [wsTeam]}]
  deny: [{methods: [SubmissionService/WatchSubmissions], forms: [Repair]}]
`
	w := newWatched(t, rules)
	team := &tallydv1.WatchSubmissionsRequest{WorkspaceId: "wsTeam"}
	s := w.watch(t, "team", team)
	for _, form := range []string{jobs, "Repair", "Holidy"} {
		w.registered(t, form)
	}
	w.submit(t, "Repair")
	for _, form := range []string{"Holidy", jobs} {
		id := w.submit(t, form)
		if e := s.event(); e.GetSubmission().GetId() != id || e.GetFormId() != form {
			t.Errorf("next is %v, want submission %s of %s", e, id, form)
		}
	}
	s.close()

	created, err := tallydv1.NewFormServiceClient(w.conn).CreateForm(as(t, "all"), &tallydv1.CreateFormRequest{
		WorkspaceId: new("wsTeam"), Status: tallydv1.FormStatus_FORM_STATUS_PUBLISHED,
	})
	if err != nil {
		t.Fatal(err)
	}
	form := created.GetForm().GetId()
	id := w.submit(t, form) // before tallyd knows the form
	team.Start = &tallydv1.WatchSubmissionsRequest_ResumeToken{ResumeToken: s.token}
	s = w.watch(t, "team", team)
	if e := s.event(); e.GetSubmission().GetId() != id || e.GetFormId() != form {
		t.Errorf("next is %v, want submission %s of the new form %s", e, id, form)
	}
}

// Heartbeats come, and their tokens go on, however much comes that the policy keeps from the caller.
func TestWatchBeatsWhereAllIsHidden(t *testing.T) {
	const rules = `
callers:
- name: team
  identities: ['dns:team']
  allow: [{methods: [SubmissionService/WatchSubmissions], workspaces: [wsTeam]}]
  deny: [{methods: [SubmissionService/WatchSubmissions], forms: [Repair]}]
`
	w := newWatched(t, rules)
	w.events.Heartbeat = 300 * time.Millisecond
	s := w.watch(t, "team", &tallydv1.WatchSubmissionsRequest{WorkspaceId: "wsTeam"})
	w.registered(t, "Repair")
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			news := events.News{Form: "Repair", Submission: fmt.Sprint("s", i), Source: logv1.Source_SOURCE_CALLER, Deleted: true}
			if _, err := w.events.Log.Add(ctx, news); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	defer busy.Wait()
	defer stop()
	for changes := 0; changes < 5; { // some heartbeats may have come before there was anything to hide
		before := s.token
		if m := s.next(); m.GetHeartbeat() == nil {
			t.Fatalf("next is %v, want a heartbeat", m)
		}
		if s.token != before {
			changes++
		}
	}
}

// A submission is the same message whether a webhook brought it or comparing with Tally's list did.
func TestWatchIsTheSameEitherWay(t *testing.T) {
	w := newWatched(t, everybody)
	forms := []string{jobs, "Feedbk", "Whsale", "Wrkshp", "QuizMe"}
	s := w.watch(t, "all", of(forms...))
	for _, form := range forms {
		w.registered(t, form)
	}
	for _, form := range forms {
		for range 5 {
			id := w.submit(t, form)
			came := s.event()
			item, err := w.events.Upstream.Submission(t.Context(), form, id)
			if err != nil {
				t.Fatal(err)
			}
			found := &tallydv1.Submission{}
			if err := proto.Unmarshal(item.Data, found); err != nil {
				t.Fatal(err)
			}
			service.FillFrom(w.events.Upstream, found)
			for _, s := range []*tallydv1.Submission{came.GetSubmission(), found} {
				fieldsOfRESTAlone(s)
			}
			if diff := cmp.Diff(found, came.GetSubmission(), protocmp.Transform()); diff != "" {
				t.Errorf("submission %s of %s as read (-) and as delivered (+):\n%s", id, form, diff)
			}
		}
	}
}

// So it is where tallyd does not know the form yet, and where its owner has given it another option since.
func TestWatchIsTheSameWithoutFreshOptions(t *testing.T) {
	const form = "Feedbk"
	visit := map[string]any{"Where did you visit us?": "Berlin", "How did your drink taste?": 4, "How likely are you to recommend us?": 9}
	for _, stale := range []bool{false, true} {
		t.Run(fmt.Sprintf("known before %v", stale), func(t *testing.T) {
			w := newWatched(t, everybody)
			w.events.Upstream = service.NewUpstream(w.client, service.HandlerConfig{}) // the keeper's own knows what it reads
			if stale {
				if _, err := w.events.Upstream.Submissions(t.Context(), form, events.Search{}); err != nil {
					t.Fatal(err)
				}
			}
			s := w.watch(t, "all", of(form))
			w.registered(t, form)
			berlin := w.addOption(t, form, "Market stall", "Berlin")
			id, err := w.sandbox.Submit(form, visit)
			if err != nil {
				t.Fatal(err)
			}
			came := s.event().GetSubmission()
			if want := (&tallydv1.Choice{OptionId: berlin, Label: "Berlin"}); came.GetId() != id ||
				!slices.ContainsFunc(choicesIn(came), func(c *tallydv1.Choice) bool { return proto.Equal(c, want) }) {
				t.Errorf("choices of %s = %v, want %v among them", came.GetId(), choicesIn(came), want)
			}
			list, err := tallydv1.NewSubmissionEventServiceClient(w.conn).ListSubmissionEvents(as(t, "all"), &tallydv1.ListSubmissionEventsRequest{FormId: form})
			if err != nil {
				t.Fatal(err)
			}
			later := list.GetEvents()[len(list.GetEvents())-1].GetSubmission()
			if diff := cmp.Diff(later, came, protocmp.Transform()); diff != "" {
				t.Errorf("submission as listed (-) and as watched (+):\n%s", diff)
			}
		})
	}
}

// addOption gives a form one more option behind another one, as its owner does, and returns its id.
func (w *watched) addOption(t *testing.T, form, behind, text string) string {
	t.Helper()
	list, err := w.forms().ListBlocks(as(t, "all"), &tallydv1.ListBlocksRequest{FormId: form})
	if err != nil {
		t.Fatal(err)
	}
	blocks := list.GetBlocks()
	at := slices.IndexFunc(blocks, func(b *tallydv1.Block) bool {
		return b.GetPayload().GetFields()["text"].GetStringValue() == behind
	})
	added := proto.CloneOf(blocks[at])
	added.Uuid = "7b1e11b0-0000-4000-8000-00000000be11"
	added.Payload.Fields["text"] = structpb.NewStringValue(text)
	blocks = slices.Insert(blocks, at+1, added)
	for i, b := range blocks[at:] {
		if b.GetGroupUuid() == added.GetGroupUuid() {
			b.Payload.Fields["index"] = structpb.NewNumberValue(b.GetPayload().GetFields()["index"].GetNumberValue() + float64(min(i, 1)))
		}
	}
	if _, err := w.forms().ReplaceBlocks(as(t, "all"), &tallydv1.ReplaceBlocksRequest{FormId: form, Blocks: blocks}); err != nil {
		t.Fatal(err)
	}
	return added.GetUuid()
}
