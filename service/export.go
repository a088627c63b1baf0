package service

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

const (
	// exportPage is the largest page that Tally gives.
	exportPage = 500
	// maxBarren bounds the pages in a row that bring nothing new: a list that goes on like that has no end.
	maxBarren = 200
)

// ExportSubmissions walks back in time: each page ends at the last submission handed out, so that neither what arrives nor what is
// deleted meanwhile shifts it, as it would a page number.
func (s *submissions) ExportSubmissions(
	req *tallydv1.ExportSubmissionsRequest, stream grpc.ServerStreamingServer[tallydv1.ExportSubmissionsResponse],
) error {
	x, err := newExport(req)
	if err != nil {
		return err
	}
	ctx := tally.WithFreshness(quota.AsBatch(stream.Context()), 0)
	x.pace, x.send = s.pace, func(m *tallydv1.ExportSubmissionsResponse) error {
		// A page is long: a server that stops, or a caller that left, must not wait for its end.
		if err := ctx.Err(); err != nil {
			return err
		}
		return stream.Send(m)
	}
	if x.at.Ended {
		return x.progress(nil)
	}
	for first, barren := true, 0; barren < maxBarren; first = false {
		page, err := fetch[tallydv1.ListSubmissionsResponse](ctx, s.tally, x.list(), s.typed(req.GetView()))
		if err != nil {
			return err
		}
		done := x.at.Done
		if err := x.page(page, first); err != nil {
			return err
		}
		if x.resumed && !first {
			return staleToken() // what arrived may have moved its submissions to the next page, hardly further
		}
		if page.GetNextPageToken() == "" {
			return x.end()
		}
		if barren++; x.at.Done > done {
			barren = 0
		}
	}
	return exportError("the list does not end")
}

// export is one stream on its way.
type export struct {
	req     *tallydv1.ExportSubmissionsRequest
	digest  uint64
	at      exportCursor
	edge    map[string]bool // ids handed out that were sent off at at.Edge
	asked   int64           // the end that the present page was asked for with
	resumed bool            // where the earlier stream ended has yet to be found by the last ids that it handed out
	send    func(*tallydv1.ExportSubmissionsResponse) error
	pace    func() time.Duration
}

func newExport(req *tallydv1.ExportSubmissionsRequest) (*export, error) {
	x := &export{req: req, digest: exportDigest(req), edge: map[string]bool{}}
	if end := req.GetEndTime(); end != nil {
		// 0 stands for no end, and nothing is as old as that or the millisecond after.
		x.at.End = cmp.Or(end.AsTime().UnixMilli(), 1)
	}
	token := req.GetResumeToken()
	if token == "" {
		return x, nil
	}
	at, ok := decodeExportCursor(token)
	if !ok || at.Digest != x.digest {
		return nil, staleToken()
	}
	x.at, x.resumed = at, !at.knowsEdge()
	for _, id := range at.Last {
		x.edge[id] = true
	}
	if !at.Paged && at.Page == "" && at.Edge != 0 {
		x.at.End = at.Edge
	}
	return x, nil
}

// staleToken is a token that says nothing about where to go on.
func staleToken() error {
	return &localError{reason: tallydv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID, effect: tally.Read}
}

// list asks for the page that comes next.
func (x *export) list() *tallydv1.ListSubmissionsRequest {
	list := &tallydv1.ListSubmissionsRequest{
		FormId: x.req.GetFormId(), Filter: x.req.GetFilter(), View: x.req.GetView(), StartTime: x.req.GetStartTime(),
		PageSize: exportPage, PageToken: x.at.Page,
	}
	if x.at.End != 0 {
		list.EndTime = timestamppb.New(time.UnixMilli(x.at.End))
	}
	return list
}

// page hands out what is new of a page and sees to which one comes next.
func (x *export) page(page *tallydv1.ListSubmissionsResponse, first bool) error {
	items := page.GetSubmissions()
	x.asked = x.at.End
	// One without a time has no place to go on from, and an end might hide it, or others like it: not even a resume may ask for one.
	x.at.Paged = x.at.Paged || slices.ContainsFunc(items, untimed)
	if first {
		if err := x.begin(page); err != nil {
			return err
		}
	}
	if !x.inOrder(items) {
		return exportError("the list is not newest first, so that some could be missed")
	}
	if err := x.handAll(x.rest(items), first); err != nil {
		return err
	}
	switch {
	case x.at.Paged, x.asked == x.at.Edge:
		// Behind this instant there is no earlier one to go on from yet, or an item had none: page on.
		x.at.End, x.at.Page = x.asked, page.GetNextPageToken()
	default:
		x.at.End, x.at.Page = x.at.Edge, ""
	}
	return nil
}

// handAll hands out what is new. The first message of all has the progress already.
func (x *export) handAll(items []*tallydv1.Submission, first bool) error {
	progress := x.state()
	if first {
		progress = nil
	}
	for _, item := range items {
		if x.handedOut(item) {
			continue
		}
		x.note(item)
		if err := x.hand(item, progress); err != nil {
			return err
		}
		progress = nil
	}
	return nil
}

// begin tells what the export is about.
func (x *export) begin(page *tallydv1.ListSubmissionsResponse) error {
	if x.req.GetResumeToken() == "" {
		x.at.Total = totalOf(x.req, page.GetTotals())
		// What arrives from now on is not part of the export, not even when it is taken up again before its first submission.
		if items := page.GetSubmissions(); len(items) > 0 && !x.at.Paged && x.at.End == 0 {
			x.at.End = items[0].GetSubmitTime().AsTime().UnixMilli()
		}
	}
	return x.progress(page.GetQuestions())
}

// inOrder tells whether a page is newest first, those without a time aside. Where pages are counted, it must go on behind the one before;
// elsewhere its beginning may have been handed out.
func (x *export) inOrder(items []*tallydv1.Submission) bool {
	last := int64(math.MaxInt64)
	if x.at.Paged && x.at.Page != "" && !x.resumed && x.at.Edge != 0 {
		last = x.at.Edge
	}
	for _, item := range items {
		at, known := sentOff(item)
		if known && at > last {
			return false
		}
		if known {
			last = at
		}
	}
	return true
}

// rest leaves out, after a resume, what the earlier stream handed out, where its token does not name it all: up to the last that it
// does name, on this page or the next. So many at one instant must come in the same order again.
func (x *export) rest(items []*tallydv1.Submission) []*tallydv1.Submission {
	if !x.resumed {
		return items
	}
	start := len(items)
	for i, item := range slices.Backward(items) {
		if slices.Contains(x.at.Last, item.GetId()) {
			x.resumed, start = false, i+1
			break
		}
	}
	for _, item := range items[:start] {
		x.edge[item.GetId()] = true
	}
	return items[start:]
}

// handedOut tells what the caller has, or what arrived after the export began.
func (x *export) handedOut(item *tallydv1.Submission) bool {
	at, known := sentOff(item)
	if !known || x.at.Edge == 0 {
		return false
	}
	return at > x.at.Edge || (at == x.at.Edge && x.edge[item.GetId()])
}

// note moves on behind a submission.
func (x *export) note(item *tallydv1.Submission) {
	at, known := sentOff(item)
	if known && at != x.at.Edge {
		x.at.Edge, x.at.Ties = at, 0
		clear(x.edge)
		if !x.at.Paged {
			x.at.Last = x.at.Last[:0]
		}
	}
	if known {
		x.at.Ties++
		x.edge[item.GetId()] = true
	}
	x.at.add(item.GetId())
	x.at.Done++
}

// hand sends a submission.
func (x *export) hand(item *tallydv1.Submission, progress *tallydv1.ExportProgress) error {
	return x.send(&tallydv1.ExportSubmissionsResponse{Submission: item, ResumeToken: x.token(), Progress: progress})
}

// progress sends how far the export is, with the questions when it begins.
func (x *export) progress(questions []*tallydv1.Question) error {
	return x.send(&tallydv1.ExportSubmissionsResponse{Questions: questions, ResumeToken: x.token(), Progress: x.state()})
}

// end tells that all are handed out.
func (x *export) end() error {
	if x.resumed {
		return staleToken() // none of the submissions that it names is there any more: to go on might miss some
	}
	x.at.Ended = true
	return x.progress(nil)
}

// state is how far the export is.
func (x *export) state() *tallydv1.ExportProgress {
	p := &tallydv1.ExportProgress{DoneCount: x.at.Done, TotalCount: x.at.Total}
	if x.at.Total != nil && x.pace != nil {
		left := max(*x.at.Total-x.at.Done, 0)
		pages := (left + exportPage - 2) / (exportPage - 1) // one of each page is the last of the one before
		p.EstimatedEndTime = timestamppb.New(time.Now().Add(time.Duration(pages) * x.pace()))
	}
	return p
}

func (x *export) token() string {
	x.at.Digest = x.digest
	return x.at.encode()
}

// totalOf is how many submissions there are in all; nil where a range of times leaves it open.
func totalOf(req *tallydv1.ExportSubmissionsRequest, totals *tallydv1.SubmissionCounts) *int64 {
	if totals == nil || req.GetStartTime() != nil || req.GetEndTime() != nil {
		return nil
	}
	total := totals.GetCompleted()
	switch req.GetFilter() {
	case tallydv1.SubmissionFilter_SUBMISSION_FILTER_ALL:
		total = totals.GetAll()
	case tallydv1.SubmissionFilter_SUBMISSION_FILTER_PARTIAL:
		total = totals.GetPartial()
	}
	return &total
}

// sentOff is when a submission was sent off, in milliseconds since 1970, as exact as Tally says it.
func sentOff(item *tallydv1.Submission) (int64, bool) {
	at := item.GetSubmitTime()
	return at.AsTime().UnixMilli(), at != nil
}

func untimed(item *tallydv1.Submission) bool { return item.GetSubmitTime() == nil }

func exportError(why string) error {
	return &tally.Error{Kind: tally.KindProtocol, Effect: tally.Read, Outcome: tally.OutcomeUnknown, Err: errors.New(why)}
}
