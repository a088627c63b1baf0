package service

import (
	"google.golang.org/protobuf/proto"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/events"
)

// eventSources are the log's sources as callers know them.
var eventSources = map[logv1.Source]tallydv1.SubmissionEventSource{
	logv1.Source_SOURCE_DELIVERY:   tallydv1.SubmissionEventSource_SUBMISSION_EVENT_SOURCE_WEBHOOK,
	logv1.Source_SOURCE_RECONCILED: tallydv1.SubmissionEventSource_SUBMISSION_EVENT_SOURCE_RECONCILED,
	logv1.Source_SOURCE_CALLER:     tallydv1.SubmissionEventSource_SUBMISSION_EVENT_SOURCE_CALLER,
}

// word words a record of the log for callers.
func (s *Events) word(r *events.Record, unknown func(kind string)) *tallydv1.SubmissionEvent {
	if r.Gap != nil {
		return &tallydv1.SubmissionEvent{FormId: r.Form, Event: &tallydv1.SubmissionEvent_Gap{Gap: &tallydv1.SubmissionEventGap{
			FirstSequence: int64(r.Gap.First), LastSequence: int64(r.Gap.Last), //nolint:gosec // counts of events
		}}}
	}
	e := r.Entry
	event := &tallydv1.SubmissionEvent{
		FormId: e.GetFormId(), Sequence: int64(e.GetSequence()), //nolint:gosec // a count of events
		ReceiveTime: e.GetReceiveTime(), Source: eventSources[e.GetSource()],
	}
	if tombstone := e.GetTombstone(); tombstone != nil {
		event.Event = &tallydv1.SubmissionEvent_Deleted{Deleted: &tallydv1.SubmissionDeleted{
			SubmissionId: e.GetSubmissionId(), ErasedSequence: int64(tombstone.GetSequence()), //nolint:gosec // a count of events
		}}
		return event
	}
	event.Event = &tallydv1.SubmissionEvent_Submission{Submission: s.submission(e, unknown)}
	return event
}

// submission returns the submission of an entry, with its choices as the form's blocks have them.
func (s *Events) submission(e *events.Entry, unknown func(kind string)) *tallydv1.Submission {
	submission, err := read(e, unknown)
	if err != nil {
		// The entry was checked, so that it is Tally who wrote what nobody here understands.
		unknown("event")
		return &tallydv1.Submission{Id: e.GetSubmissionId(), FormId: e.GetFormId(), IsCompleted: true}
	}
	s.Upstream.fill(e.GetFormId(), submission)
	return submission
}

// read reads the submission of an entry as it was logged.
func read(e *events.Entry, unknown func(kind string)) (*tallydv1.Submission, error) {
	if stored := e.GetSubmission(); stored != nil {
		submission := &tallydv1.Submission{}
		return submission, proto.Unmarshal(stored, submission)
	}
	return typeDelivery(e.GetDelivery(), unknown)
}
