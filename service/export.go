package service

import (
	"errors"
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
	x.send, x.pace = stream.Send, s.pace
	ctx := tally.WithFreshness(quota.AsBatch(stream.Context()), 0)
	for first, barren := true, 0; barren < maxBarren; first = false {
		page, err := fetch[tallydv1.ListSubmissionsResponse](ctx, s.tally, x.list(), s.typed(req.GetView()))
		if err != nil {
			return err
		}
		done := x.at.Done
		if err := x.page(page, first); err != nil {
			return err
		}
		if page.GetNextPageToken() == "" {
			return x.progress(nil)
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
	resumed bool            // the next page holds what an earlier stream handed out
	send    func(*tallydv1.ExportSubmissionsResponse) error
	pace    func() time.Duration
}

func newExport(req *tallydv1.ExportSubmissionsRequest) (*export, error) {
	x := &export{req: req, digest: exportDigest(req), edge: map[string]bool{}}
	if end := req.GetEndTime(); end != nil {
		x.at.End = end.AsTime().UnixMilli()
	}
	token := req.GetResumeToken()
	if token == "" {
		return x, nil
	}
	at, ok := decodeExportCursor(token)
	if !ok || at.Digest != x.digest {
		return nil, &localError{reason: tallydv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID, effect: tally.Read}
	}
	x.at, x.resumed = at, true
	if !at.Paged && at.Page == "" && at.Edge != 0 {
		x.at.End = at.Edge
	}
	return x, nil
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
	if first {
		if err := x.begin(page); err != nil {
			return err
		}
	}
	progress := x.state()
	if first {
		progress = nil
	}
	for i, item := range x.rest(items) {
		if i > 0 && newer(item, items[i-1]) {
			return exportError("the list is not newest first, so that none could be missed")
		}
		if x.handedOut(item) {
			continue
		}
		x.note(item)
		if err := x.hand(item, progress); err != nil {
			return err
		}
		progress = nil
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

// begin tells what the export is about.
func (x *export) begin(page *tallydv1.ListSubmissionsResponse) error {
	if x.req.GetResumeToken() == "" {
		x.at.Total = totalOf(x.req, page.GetTotals())
		// What arrives from now on is not part of the export, not even when it is taken up again before its first submission.
		if items := page.GetSubmissions(); len(items) > 0 && items[0].GetSubmitTime() != nil && x.at.End == 0 {
			x.at.End = items[0].GetSubmitTime().AsTime().UnixMilli()
		}
	}
	return x.progress(page.GetQuestions())
}

// rest leaves out, of the first page after a resume, what the earlier stream handed out: up to its last submission, or, if that is
// gone, as many of its instant as it handed out beside it. The indexes stay those of the page.
func (x *export) rest(items []*tallydv1.Submission) func(func(int, *tallydv1.Submission) bool) {
	start := 0
	if x.resumed {
		start = x.resume(items)
		x.resumed = false
	}
	return func(yield func(int, *tallydv1.Submission) bool) {
		for i := start; i < len(items); i++ {
			if !yield(i, items[i]) {
				return
			}
		}
	}
}

func (x *export) resume(items []*tallydv1.Submission) int {
	ties, start := 0, 0
	for i, item := range items {
		at, known := sentOff(item)
		if known && at == x.at.Edge {
			if ties++; ties < x.at.Ties {
				start = i + 1
			}
		}
		if item.GetId() == x.at.Last {
			start = i + 1
			break
		}
	}
	for _, item := range items[:start] {
		x.edge[item.GetId()] = true
	}
	return start
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
	switch {
	case !known:
		// It has no place in time to go on from, and an end might hide others like it.
		x.at.Paged, x.at.End = true, x.asked
	case at != x.at.Edge:
		x.at.Edge, x.at.Ties = at, 1
		clear(x.edge)
		x.edge[item.GetId()] = true
	default:
		x.at.Ties++
		x.edge[item.GetId()] = true
	}
	x.at.Last = item.GetId()
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

func newer(item, before *tallydv1.Submission) bool {
	a, known := sentOff(item)
	b, too := sentOff(before)
	return known && too && a > b
}

func exportError(why string) error {
	return &tally.Error{Kind: tally.KindProtocol, Effect: tally.Read, Outcome: tally.OutcomeUnknown, Err: errors.New(why)}
}
