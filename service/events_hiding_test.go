package service_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// ways are the RPCs that tell of submission events; each returns the form's first one as a caller gets it.
var ways = map[string]func(t *testing.T, w *watched, caller string) *tallydv1.SubmissionEvent{
	"WatchSubmissions": func(t *testing.T, w *watched, caller string) *tallydv1.SubmissionEvent {
		t.Helper()
		earliest := &tallydv1.WatchSubmissionsRequest_StartAt{StartAt: tallydv1.WatchStart_WATCH_START_EARLIEST}
		s := w.watch(t, caller, &tallydv1.WatchSubmissionsRequest{FormIds: []string{jobs}, Start: earliest})
		defer s.close()
		return s.event()
	},
	"ListSubmissionEvents": func(t *testing.T, w *watched, caller string) *tallydv1.SubmissionEvent {
		t.Helper()
		list, err := tallydv1.NewSubmissionEventServiceClient(w.conn).ListSubmissionEvents(as(t, caller), &tallydv1.ListSubmissionEventsRequest{FormId: jobs})
		if err != nil || len(list.GetEvents()) == 0 {
			t.Fatalf("ListSubmissionEvents() = %v, %v, want an event", list, err)
		}
		return list.GetEvents()[0]
	},
	"ReplaySubmissionEvents": func(t *testing.T, w *watched, caller string) *tallydv1.SubmissionEvent {
		t.Helper()
		replay, err := tallydv1.NewSubmissionEventServiceClient(w.conn).ReplaySubmissionEvents(as(t, caller), &tallydv1.ReplaySubmissionEventsRequest{FormId: jobs})
		if err != nil {
			t.Fatal(err)
		}
		m, err := replay.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m.GetEvent()
	},
}

// Whichever way an event comes, a caller gets no answer to a hidden question and no link to a file, and hears that answers are missing.
// What all who watch the same share is not changed by that.
func TestEventsHide(t *testing.T) {
	w := newWatched(t, everybody)
	s := w.watch(t, "all", of(jobs))
	w.registered(t, jobs)
	w.submit(t, jobs)
	whole := s.event().GetSubmission()
	s.close()
	var text, file *tallydv1.QuestionResponse
	for _, r := range whole.GetResponses() {
		switch {
		case r.GetFiles() != nil:
			file = r
		case r.GetText() != "":
			text = r
		}
	}
	if text == nil || len(file.GetFiles().GetFiles()) == 0 || file.GetFiles().GetFiles()[0].GetUrl() == "" {
		t.Fatalf("the submission has no text or no file: %v", whole)
	}
	w.restrict(t, text.GetQuestionId())
	for name, event := range ways {
		for _, caller := range []string{"all", "linkless", "all", "desk", "all"} {
			got := event(t, w, caller).GetSubmission()
			data, err := proto.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			hides := caller == "desk"
			if gone := !strings.Contains(string(data), text.GetQuestionId()); gone != hides || (got.GetHiddenResponseCount() == 1) != hides {
				t.Errorf("%s gives %s the hidden answer: %v, with %d said to be hidden", name, caller, !gone, got.GetHiddenResponseCount())
			}
			if gone := !strings.Contains(string(data), file.GetFiles().GetFiles()[0].GetUrl()); gone != (caller == "linkless") {
				t.Errorf("%s gives %s the link to the file: %v", name, caller, !gone)
			}
			if want := len(whole.GetResponses()) - int(got.GetHiddenResponseCount()); got.GetId() != whole.GetId() || len(got.GetResponses()) != want {
				t.Errorf("%s gives %s %d answers of %s, want %d of %s", name, caller, len(got.GetResponses()), got.GetId(), want, whole.GetId())
			}
		}
	}
}

// restrict puts a policy in force under which one caller gets no answer to a question, and another one no links.
func (w *watched) restrict(t *testing.T, question string) {
	t.Helper()
	rules := everybody + fmt.Sprintf(`
- name: desk
  identities: ['dns:desk']
  allow: [{methods: [read], forms: [JobApp]}]
  hide: [{form: JobApp, questions: [%s]}]
  reveal: [file_links]
- name: linkless
  identities: ['dns:linkless']
  allow: [{methods: [read], forms: [JobApp]}]
`, question)
	if err := os.WriteFile(w.file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	w.reread(t)
}
