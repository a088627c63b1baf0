package service_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

// bulk is a Tally without a network, whose pages of 500 are far more than a connection holds and never end.
type bulk struct {
	service.Tally

	pages atomic.Int64
}

func (b *bulk) Call(ctx context.Context, req, resp proto.Message, _ ...tally.Option) error {
	list, _ := req.(*tallydv1.ListSubmissionsRequest)
	page, _ := resp.(*tallydv1.ListSubmissionsResponse)
	end := list.GetEndTime().AsTime()
	if list.GetEndTime() == nil {
		end = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	}
	text := &tallydv1.QuestionResponse_Text{Text: strings.Repeat("x", 6000)}
	for i := range 500 {
		at := end.Add(-time.Duration(i) * time.Second)
		page.Submissions = append(page.Submissions, &tallydv1.Submission{
			Id: fmt.Sprintf("s%d", at.Unix()), FormId: list.GetFormId(), SubmitTime: timestamppb.New(at),
			Responses: []*tallydv1.QuestionResponse{{QuestionId: "q1", Answer: text}},
		})
	}
	page.NextPageToken = "more"
	b.pages.Add(1)
	return ctx.Err()
}

// bulkExport is an export of bulk whose first message was read.
func bulkExport(t *testing.T) (*bulk, *world, grpc.ServerStreamingClient[tallydv1.ExportSubmissionsResponse]) {
	t.Helper()
	upstream := &bulk{}
	w := inMemory(t, upstream, func(*service.Config) {})
	stream, err := tallydv1.NewSubmissionServiceClient(w.conn).ExportSubmissions(t.Context(), &tallydv1.ExportSubmissionsRequest{FormId: "f1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return upstream, w, stream
}

// TestExportFollowsItsReader holds that Tally is asked for at most one page beyond what the caller has read.
func TestExportFollowsItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		upstream, _, stream := bulkExport(t)
		for taken := range 2001 {
			if want := int64(taken/499 + 2); upstream.pages.Load() > want {
				t.Fatalf("Tally was asked for %d pages when the caller had read %d submissions, want at most %d", upstream.pages.Load(), taken, want)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
	})
}

// TestExportStopsWithinAPage holds that neither a server that stops nor its caller waits for the rest of a page.
func TestExportStopsWithinAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, stream := bulkExport(t)
		stopped := make(chan struct{})
		go func() { w.server.Shutdown(); close(stopped) }()
		synctest.Wait()
		got, err := 0, error(nil)
		for ; err == nil; got++ {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Unavailable || reasonOf(err) != "SERVER_DRAINING" || got > 250 {
			t.Errorf("after %d submissions of 500: %v, want Unavailable SERVER_DRAINING after what was on the way", got, err)
		}
		<-stopped
	})
}

// TestExportGoesOnElsewhere stops the server under an export: the last message that came goes on at another one.
func TestExportGoesOnElsewhere(t *testing.T) {
	a := newArchive(3000, 1)
	want := a.ids()
	w := newWorldOf(t, a.serve)
	stream, err := tallydv1.NewSubmissionServiceClient(w.conn).ExportSubmissions(t.Context(), &tallydv1.ExportSubmissionsRequest{FormId: "f1"})
	if err != nil {
		t.Fatal(err)
	}
	message, err := stream.Recv()
	stopped := make(chan struct{})
	go func() { w.server.Shutdown(); close(stopped) }()
	var got []string
	token := message.GetResumeToken()
	for err == nil {
		if message, err = stream.Recv(); err == nil {
			got, token = append(got, message.GetSubmission().GetId()), message.GetResumeToken()
		}
	}
	<-stopped
	if status.Code(err) != codes.Unavailable || reasonOf(err) != "SERVER_DRAINING" {
		t.Errorf("after %d: %v, want Unavailable SERVER_DRAINING", len(got), err)
	}
	rest, err := export(t.Context(), t, newWorldOf(t, a.serve), &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: token}, 0)
	if got = append(got, rest.ids...); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %s", err, difference(want, got))
	}
}

// mortalKey is a key whose check says what Tally does.
type mortalKey struct {
	aliveKey

	dead *atomic.Bool
}

func (k mortalKey) Confirm(ctx context.Context, used apikey.Key) (apikey.Verdict, error) {
	if k.dead.Load() {
		return apikey.VerdictRejected, &apikey.RejectedError{Alias: used.Alias(), Since: time.Now()}
	}
	return k.aliveKey.Confirm(ctx, used)
}

// TestRow60KeyRevokedDuringExport: the key dies in the middle, the stream ends with the verdict, and its last token goes on as soon as
// there is a key that Tally takes.
func TestRow60KeyRevokedDuringExport(t *testing.T) {
	a, dead := newArchive(2000, 1), &atomic.Bool{}
	want := a.ids()
	a.between = func(a *archive, page int) {
		if page == 3 {
			a.status = http.StatusUnauthorized
			dead.Store(true)
		}
	}
	w := newWorldOf(t, a.serve, func(c *tally.Config) {
		alive, _ := c.Keys.(aliveKey)
		c.Keys = mortalKey{alive, dead}
	})
	part, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 0)
	if status.Code(err) != codes.Unauthenticated || reasonOf(err) != "TALLY_KEY_REJECTED" || len(part.ids) != 999 {
		t.Fatalf("ExportSubmissions() = %d submissions, %v, want those of two pages and Unauthenticated TALLY_KEY_REJECTED", len(part.ids), err)
	}
	a.mu.Lock()
	a.status, a.between = 0, nil
	a.mu.Unlock()
	dead.Store(false)
	rest, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1", ResumeToken: part.last.GetResumeToken()}, 0)
	if got := slices.Concat(part.ids, rest.ids); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %s", err, difference(want, got))
	}
}

// TestExportGoesLast takes its pages at batch priority, and tells from the quota when it will be done.
func TestExportGoesLast(t *testing.T) {
	scheduler := quota.New(quota.Config{Rate: 100, Unused: true})
	w := newWorldOf(t, newArchive(1100, 1).serve, func(c *tally.Config) { c.Quota = scheduler })
	got, err := export(t.Context(), t, w, &tallydv1.ExportSubmissionsRequest{FormId: "f1"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	callers := scheduler.Standing().Callers
	if len(callers) != 1 || !callers[0].Batch || callers[0].Used == 0 {
		t.Errorf("the pages are taken by %+v, want a caller at batch priority", callers)
	}
	// Three pages of which the last one overlaps each: at a hundred a minute about two seconds.
	left := time.Until(got.first.GetProgress().GetEstimatedEndTime().AsTime())
	if left < time.Second || left > 3*time.Second {
		t.Errorf("the export says that it ends in %v, want about 1.8 s", left)
	}
}
