package service

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/events"
	"github.com/tallyd/tallyd/service/store"
	"github.com/tallyd/tallyd/service/tally"
)

// heartbeatEvery is how long a watch is silent at most, where nothing else is said.
const heartbeatEvery = 30 * time.Second

// Events is what the streams of events need.
type Events struct {
	// Log holds the events, and Hub hands them out.
	Log *events.Log
	Hub *events.Hub
	// Keeper keeps the log complete, with what Upstream says.
	Keeper   *events.Keeper
	Upstream *Upstream
	// Heartbeat is how long a watch is silent at most; 30 seconds when 0.
	Heartbeat time.Duration
}

// WatchSubmissions hands out what the log has behind a place, then what comes.
func (s *submissions) WatchSubmissions(
	req *tallydv1.WatchSubmissionsRequest, stream grpc.ServerStreamingServer[tallydv1.WatchSubmissionsResponse],
) error {
	if s.events == nil {
		return eventLogOff()
	}
	ctx := stream.Context()
	seal, err := s.events.Log.Seal(ctx)
	if err != nil {
		return eventError(err)
	}
	w := &watch{events: s.events, seal: seal, stream: stream, digest: watchDigest(req), unknown: s.unknown, record: recordOf(ctx)}
	selection, release, err := s.selection(ctx, req)
	if err != nil {
		return eventError(err)
	}
	defer release()
	at, err := w.start(ctx, req, selection)
	if err != nil {
		return eventError(err)
	}
	w.cursor = s.events.Hub.Watch(selection, at)
	defer w.cursor.Close()
	return w.run(ctx, age(ctx).rest())
}

// selection says which forms' events a watch is about, and has their logs looked after.
func (s *submissions) selection(ctx context.Context, req *tallydv1.WatchSubmissionsRequest) (events.Selection, func(), error) {
	keeper := s.events.Keeper
	if id := req.GetWorkspaceId(); id != "" {
		workspace, release, err := keeper.Workspace(ctx, id)
		if err != nil {
			return events.Selection{}, nil, err
		}
		return events.Selection{Wants: workspace.Has, All: workspace.Forms}, release, nil
	}
	for _, form := range req.GetFormIds() {
		if keeper.Knows(form) {
			continue
		}
		// A log of a form that does not exist would be looked after for ever.
		if _, err := fetch[tallydv1.GetFormResponse](ctx, s.tally, &tallydv1.GetFormRequest{FormId: form}); err != nil {
			return events.Selection{}, nil, err
		}
	}
	return events.Selection{Forms: req.GetFormIds()}, func() {}, keeper.Watching(ctx, req.GetFormIds())
}

// watch is one stream on its way.
type watch struct {
	events  *Events
	seal    *events.Seal
	stream  grpc.ServerStreamingServer[tallydv1.WatchSubmissionsResponse]
	cursor  *events.Cursor
	digest  uint64
	unknown func(kind string)
	record  *record
	end     time.Time // when the connection gets too old
}

// start returns the place where a watch begins.
func (w *watch) start(ctx context.Context, req *tallydv1.WatchSubmissionsRequest, selection events.Selection) (events.Place, error) {
	log, forms := w.events.Log, selection.Named()
	switch {
	case req.GetResumeToken() != "":
		at, err := w.seal.Place(req.GetResumeToken(), w.digest)
		if err != nil {
			return at, staleToken()
		}
		if at, err = w.events.Hub.Reach(ctx, at); err != nil {
			return at, err
		}
		left, err := log.Left(ctx, forms, at)
		if err == nil && left != at {
			return at, w.expired(left)
		}
		return at, err
	case req.GetStartTime() != nil:
		return log.Since(ctx, forms, req.GetStartTime().AsTime())
	case req.GetStartAt() == tallydv1.WatchStart_WATCH_START_EARLIEST:
		return log.Earliest(ctx, forms)
	default:
		return w.events.Hub.Latest(ctx)
	}
}

// expired refuses a token behind which retention has taken events, and says how to go on.
func (w *watch) expired(left events.Place) error {
	return &localError{
		reason: tallydv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED, effect: tally.Read,
		facts: map[string]string{"oldest_resume_token": w.seal.Token(left, w.digest)},
	}
}

// run sends until the caller leaves, the server stops or the connection gets too old.
func (w *watch) run(ctx context.Context, rest time.Duration) error {
	if err := w.heartbeat(false); err != nil {
		return err
	}
	w.end = time.Now().Add(rest)
	// One channel and one timer, which wake the cursor: others would take as much memory as the cursor.
	poke := w.cursor.Poke
	w.record.stop.then(poke)
	beat := w.beat()
	alarm := time.AfterFunc(time.Until(earlier(beat, w.end)), poke)
	defer alarm.Stop()
	for {
		if err := w.sendAll(ctx); err != nil {
			return err
		}
		if w.over() {
			return w.heartbeat(true)
		}
		if next := w.beat(); !next.Equal(beat) {
			beat = next
			alarm.Reset(time.Until(earlier(beat, w.end)))
		}
		select {
		case <-w.cursor.Wake():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// beat is when the caller must hear something. What the policy kept from it was no sign of life.
func (w *watch) beat() time.Time {
	return w.record.sent.Add(cmp.Or(w.events.Heartbeat, heartbeatEvery))
}

// over tells whether the server stops or the connection gets too old: the caller goes on elsewhere.
func (w *watch) over() bool { return w.record.stop.ordered() || !time.Now().Before(w.end) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// sendAll sends what there is, until the watch is over, and a heartbeat where the caller has heard nothing for too long.
func (w *watch) sendAll(ctx context.Context) error {
	for !w.over() {
		r, err := w.cursor.Next(ctx)
		if err != nil {
			return eventError(err)
		}
		if r != nil {
			if err := w.send(r); err != nil { //nolint:contextcheck // what a form is asked meanwhile is for all who get the event
				return err
			}
		}
		if !time.Now().Before(w.beat()) {
			if err := w.heartbeat(false); err != nil {
				return err
			}
		}
		if r == nil {
			return nil
		}
	}
	return nil
}

// send sends a record: bytes that all who watch the same share.
func (w *watch) send(r *events.Record) error {
	at := w.cursor.At()
	bytes := r.Bytes(events.Key{Request: w.digest, Accepted: at.Accepted}, func() []byte {
		event, _ := proto.Marshal(w.events.word(r, w.unknown))
		return event
	}, func(event []byte) []byte { return w.wire(at, 2, event) })
	resp := &tallydv1.WatchSubmissionsResponse{}
	resp.ProtoReflect().SetUnknown(bytes)
	return w.stream.Send(resp)
}

// wire is a response as it travels: the token of a place, and a message in a field.
func (w *watch) wire(at events.Place, field protowire.Number, message []byte) []byte {
	token := w.seal.Token(at, w.digest)
	bytes := make([]byte, 0, len(token)+len(message)+16)
	bytes = protowire.AppendString(protowire.AppendTag(bytes, 1, protowire.BytesType), token)
	return protowire.AppendBytes(protowire.AppendTag(bytes, field, protowire.BytesType), message)
}

func (w *watch) heartbeat(ending bool) error {
	beat := &tallydv1.WatchHeartbeat{Ending: ending}
	if poll := w.events.Keeper.Polls(w.cursor.Named()); poll > 0 {
		beat.PollInterval = durationpb.New(poll)
	}
	return w.stream.Send(&tallydv1.WatchSubmissionsResponse{
		ResumeToken: w.seal.Token(w.cursor.At(), w.digest),
		Message:     &tallydv1.WatchSubmissionsResponse_Heartbeat{Heartbeat: beat},
	})
}

// watchDigest pins what is watched: it must be the same from one stream to the next.
func watchDigest(req *tallydv1.WatchSubmissionsRequest) uint64 {
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(&tallydv1.WatchSubmissionsRequest{
		FormIds: req.GetFormIds(), WorkspaceId: req.GetWorkspaceId(),
	})
	h := fnv.New64a()
	_, _ = h.Write([]byte("watch")) // a page token of the form's log is none of a watch
	_, _ = h.Write(data)
	return h.Sum64()
}

func eventLogOff() error {
	return &localError{reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_OFF, effect: tally.Read}
}

// eventError is an error of the log as one of the call.
func eventError(err error) error {
	switch {
	case errors.Is(err, store.ErrFull):
		return &localError{reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_FULL, effect: tally.Read, err: err}
	case errors.Is(err, store.ErrUnavailable):
		return &localError{reason: tallydv1.ErrorReason_ERROR_REASON_EVENT_LOG_UNAVAILABLE, effect: tally.Read, err: err}
	default:
		return err
	}
}
