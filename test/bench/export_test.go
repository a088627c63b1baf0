package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// newest is when the last submission of every archive was sent off; the others came a second apart before it.
var newest = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// serveArchive stands for a Tally with forms whose ids say how many submissions they have, such as f1000. It makes them up as it is
// asked.
func serveArchive(listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/me", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":"u1","organizationId":"o1"}`) })
	mux.HandleFunc("GET /forms/{form}/submissions", func(w http.ResponseWriter, r *http.Request) {
		total, _ := strconv.Atoi(strings.TrimPrefix(r.PathValue("form"), "f"))
		query := r.URL.Query()
		limit, _ := strconv.Atoi(query.Get("limit"))
		page, _ := strconv.Atoi(query.Get("page"))
		first := 0
		if end, err := time.Parse(time.RFC3339, query.Get("endDate")); err == nil && end.Before(newest) {
			first = int(newest.Sub(end) / time.Second)
		}
		from := min(first+(page-1)*limit, total)
		to := min(from+limit, total)
		body := fmt.Appendf(nil, `{"page":%d,"limit":%d,"hasMore":%v,"totalNumberOfSubmissionsPerFilter":{"all":%d,"completed":%d,"partial":0},"questions":[`,
			page, limit, to < total, total, total)
		for q := range 5 {
			body = fmt.Appendf(body, `%s{"id":"q%d","type":"INPUT_TEXT","title":"Question %d"}`, commaAt(q), q, q)
		}
		body = append(body, `],"submissions":[`...)
		for i := from; i < to; i++ {
			body = appendSubmission(body, i, i > from)
		}
		_, _ = w.Write(append(body, `]}`...))
	})
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Second}).Serve(listener)
}

func commaAt(at int) string {
	if at == 0 {
		return ""
	}
	return ","
}

func appendSubmission(body []byte, at int, more bool) []byte {
	if more {
		body = append(body, ',')
	}
	sent := newest.Add(-time.Duration(at) * time.Second).Format("2006-01-02T15:04:05.000Z")
	body = fmt.Appendf(body, `{"id":"s%d","formId":"f1","respondentId":"r%d","isCompleted":true,"submittedAt":%q,"responses":[`, at, at, sent)
	for q := range 5 {
		body = fmt.Appendf(body, `%s{"id":"a%d%d","questionId":"q%d","answer":"An answer of some words %d"}`, commaAt(q), at, q, q, at)
	}
	return append(body, "]}"...)
}

// naiveExport is what a plain program does: page numbers, encoding/json, a message for each submission.
type naiveExport struct {
	tallydv1.UnimplementedSubmissionServiceServer

	upstream string
}

// naivePage is a page as the naive program reads it.
type naivePage struct {
	HasMore     bool
	Submissions []struct {
		ID, FormID, RespondentID string
		IsCompleted              bool
		SubmittedAt              time.Time
		Responses                []struct{ QuestionID, Answer string }
	}
}

// ExportSubmissions streams page after page.
func (n naiveExport) ExportSubmissions(
	req *tallydv1.ExportSubmissionsRequest, stream grpc.ServerStreamingServer[tallydv1.ExportSubmissionsResponse],
) error {
	for page, more := 1, true; more; page++ {
		read, err := n.read(stream.Context(), req.GetFormId(), page)
		if err != nil {
			return err
		}
		for _, s := range read.Submissions {
			submission := &tallydv1.Submission{
				Id: s.ID, FormId: s.FormID, RespondentId: s.RespondentID, IsCompleted: s.IsCompleted, SubmitTime: timestamppb.New(s.SubmittedAt),
			}
			for _, r := range s.Responses {
				text := &tallydv1.QuestionResponse_Text{Text: r.Answer}
				submission.Responses = append(submission.Responses, &tallydv1.QuestionResponse{QuestionId: r.QuestionID, Answer: text})
			}
			if err := stream.Send(&tallydv1.ExportSubmissionsResponse{Submission: submission}); err != nil {
				return err
			}
		}
		more = read.HasMore
	}
	return nil
}

func (n naiveExport) read(ctx context.Context, form string, page int) (naivePage, error) {
	var read naivePage
	address := fmt.Sprintf("%s/forms/%s/submissions?limit=500&page=%d", n.upstream, url.PathEscape(form), page)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return read, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return read, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return read, err
	}
	return read, json.Unmarshal(data, &read)
}

func serveNaiveExport(listener net.Listener) error {
	server := grpc.NewServer()
	tallydv1.RegisterSubmissionServiceServer(server, naiveExport{upstream: os.Getenv(upstreamVariable)})
	return server.Serve(listener)
}

// drain receives a whole export and returns how long it took.
func drain(t *testing.T, server *process, total int) time.Duration {
	t.Helper()
	conn, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin := time.Now()
	stream, err := tallydv1.NewSubmissionServiceClient(conn).ExportSubmissions(t.Context(),
		&tallydv1.ExportSubmissionsRequest{FormId: fmt.Sprintf("f%d", total)})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
		if s := message.GetSubmission(); s != nil {
			if want := "s" + strconv.Itoa(n); s.GetId() != want || len(s.GetResponses()) != 5 {
				t.Fatalf("submission %d is %v, want %s with 5 answers", n, s, want)
			}
			n++
		}
	}
	if n != total {
		t.Fatalf("the export has %d submissions, want %d", n, total)
	}
	return time.Since(begin)
}

// TestExportSideBySide exports a million submissions, and ten thousand before, of an upstream without a limit. Without rounds it
// exports two thousand, which proves that both candidates bring the same.
func TestExportSideBySide(t *testing.T) {
	small, large, runs := 1_000, 2_000, 1
	if *rounds > 0 {
		small, large, runs = 10_000, 1_000_000, min(*rounds, 3)
	}
	archive := start(t, self(t, "archive"))
	program := build(t)
	fmt.Fprintf(os.Stdout, "\n## Export of %d submissions with 5 answers each\n\n%s\n\n", large, machine())
	fmt.Fprint(os.Stdout, "| candidate | submissions/s | peak resident after the small export, MiB | after the large one | growth |\n|---|---|---|---|---|\n")
	for range runs {
		for name, command := range map[string]func() *process{
			"tallyd":     func() *process { return start(t, tallyd(t, program, "http://"+archive.address)) },
			"naive peer": func() *process { return start(t, self(t, "naive", upstreamVariable+"=http://"+archive.address)) },
		} {
			server := command()
			drain(t, server, small)
			before := server.memory("VmHWM")
			took := drain(t, server, large)
			after := server.memory("VmHWM")
			fmt.Fprintf(os.Stdout, "| %s | %.0f | %.1f | %.1f | %.1f |\n", name, float64(large)/took.Seconds(), before, after, after-before)
			server.stop()
		}
	}
}
