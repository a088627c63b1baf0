package service

import (
	"context"
	"hash/fnv"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/tally"
)

// submissionEvents implements SubmissionEventService.
type submissionEvents struct {
	tallydv1.UnimplementedSubmissionEventServiceServer

	events  *Events // nil where no log is kept
	unknown func(kind string)
}

const (
	usualEvents = 50
	mostEvents  = 500
	// mostEventBytes keeps a page below what clients take.
	mostEventBytes = 3 << 20
)

// ListSubmissionEvents reads a page of the log.
func (s *submissionEvents) ListSubmissionEvents(
	ctx context.Context, req *tallydv1.ListSubmissionEventsRequest,
) (*tallydv1.ListSubmissionEventsResponse, error) {
	if s.events == nil {
		return nil, eventLogOff()
	}
	at, digest, err := s.page(ctx, req)
	if err != nil {
		return nil, err
	}
	cursor, err := s.events.Log.Read(ctx, events.Selection{Forms: []string{req.GetFormId()}}, at)
	if err != nil {
		return nil, eventError(err)
	}
	resp := &tallydv1.ListSubmissionEventsResponse{}
	for size, most := 0, pageOf(req.GetPageSize()); ; {
		before := cursor.At()
		r, err := cursor.Next(ctx)
		if err != nil {
			return nil, eventError(err)
		}
		if r == nil {
			return resp, nil
		}
		event := s.events.word(r, s.unknown) //nolint:contextcheck // what a form is asked meanwhile is for all who get the event
		size += proto.Size(event)
		if len(resp.GetEvents()) > 0 && (len(resp.GetEvents()) >= most || size > mostEventBytes) {
			seal, err := s.events.Log.Seal(ctx)
			if err != nil {
				return nil, eventError(err)
			}
			resp.NextPageToken = seal.Token(before, digest)
			return resp, nil
		}
		resp.Events = append(resp.Events, event)
	}
}

func pageOf(asked int32) int {
	if asked == 0 {
		return usualEvents
	}
	return int(min(asked, mostEvents))
}

// page returns where a page begins, and what its tokens are bound to.
func (s *submissionEvents) page(ctx context.Context, req *tallydv1.ListSubmissionEventsRequest) (at events.Place, digest uint64, err error) {
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(&tallydv1.ListSubmissionEventsRequest{
		FormId: req.GetFormId(), StartSequence: req.GetStartSequence(), StartTime: req.GetStartTime(),
	})
	h := fnv.New64a()
	_, _ = h.Write(data)
	digest = h.Sum64()
	if req.GetPageToken() != "" {
		seal, err := s.events.Log.Seal(ctx)
		if err != nil {
			return at, digest, eventError(err)
		}
		if at, err = seal.Place(req.GetPageToken(), digest); err != nil {
			err = &tally.Error{Kind: tally.KindPageToken, Effect: tally.Read, Outcome: tally.OutcomeNotSent}
		}
		return at, digest, err
	}
	at, err = s.events.Log.Sequence(ctx, req.GetFormId(), uint64(req.GetStartSequence())) //nolint:gosec // the contract says 0 or more
	if err == nil && req.GetStartTime() != nil {
		var since events.Place
		since, err = s.events.Log.Since(ctx, []string{req.GetFormId()}, req.GetStartTime().AsTime())
		at.Position = max(at.Position, since.Position)
	}
	return at, digest, eventError(err)
}

// ReplaySubmissionEvents reads the log to its end.
func (s *submissionEvents) ReplaySubmissionEvents(
	req *tallydv1.ReplaySubmissionEventsRequest, stream grpc.ServerStreamingServer[tallydv1.ReplaySubmissionEventsResponse],
) error {
	if s.events == nil {
		return eventLogOff()
	}
	ctx := stream.Context()
	at, err := s.replayFrom(ctx, req)
	if err != nil {
		return eventError(err)
	}
	cursor, err := s.events.Log.Read(ctx, events.Selection{Forms: []string{req.GetFormId()}}, at)
	if err != nil {
		return eventError(err)
	}
	for {
		r, err := cursor.Next(ctx)
		switch {
		case err != nil:
			return eventError(err)
		case r == nil:
			return nil
		case r.Gap != nil:
			return &localError{reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_GAP, effect: tally.Read, facts: map[string]string{
				"first_sequence": strconv.FormatUint(r.Gap.First, 10), "last_sequence": strconv.FormatUint(r.Gap.Last, 10),
			}}
		}
		if err := stream.Send(&tallydv1.ReplaySubmissionEventsResponse{Event: s.events.word(r, s.unknown)}); err != nil {
			return err
		}
	}
}

func (s *submissionEvents) replayFrom(ctx context.Context, req *tallydv1.ReplaySubmissionEventsRequest) (events.Place, error) {
	if since := req.GetStartTime(); since != nil {
		return s.events.Log.Since(ctx, []string{req.GetFormId()}, since.AsTime())
	}
	return s.events.Log.Sequence(ctx, req.GetFormId(), uint64(req.GetStartSequence())) //nolint:gosec // the contract says 0 or more
}
