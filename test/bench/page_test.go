// Package bench compares tallyd with what else could be done, side by side in one run. It holds no code, and asserts no time.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

// submissionsPage is a page of Tally's with the given number of submissions, each with twelve answers.
func submissionsPage(submissions int) []byte {
	var b strings.Builder
	b.WriteString(`{"page":1,"limit":100,"hasMore":false,"totalNumberOfSubmissionsPerFilter":{"all":100,"completed":100,"partial":0},"questions":[`)
	for q := range 12 {
		comma(&b, q)
		fmt.Fprintf(&b, `{"id":"q%d","type":%q,"title":"Question %d","isTitleModifiedByUser":false,"formId":"f1","isDeleted":false,"numberOfResponses":100,"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z","fields":[]}`, q, kinds[q%4], q)
	}
	b.WriteString(`],"submissions":[`)
	for s := range submissions {
		comma(&b, s)
		fmt.Fprintf(&b, `{"id":"s%d","formId":"f1","respondentId":"r%d","isCompleted":true,"submittedAt":"2026-02-01T10:00:%02d.000Z","responses":[`, s, s, s%60)
		for q := range 12 {
			comma(&b, q)
			fmt.Fprintf(&b, `{"id":"a%d-%d","questionId":"q%d","answer":%s}`, s, q, q, values[q%4])
		}
		b.WriteString(`]}`)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

var (
	kinds  = []string{"INPUT_TEXT", "INPUT_NUMBER", "MULTIPLE_CHOICE", "INPUT_DATE"}
	values = []string{`"A sentence of some length that somebody typed."`, `42`, `["Very satisfied"]`, `"2026-02-01"`}
)

func comma(b *strings.Builder, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

// The structs of a hand-written adapter.
type pageJSON struct {
	HasMore     bool             `json:"hasMore"`
	Questions   []questionJSON   `json:"questions"`
	Submissions []submissionJSON `json:"submissions"`
}

type questionJSON struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Title     *string   `json:"title"`
	FormID    string    `json:"formId"`
	Responses int64     `json:"numberOfResponses"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

type submissionJSON struct {
	ID           string         `json:"id"`
	FormID       string         `json:"formId"`
	RespondentID string         `json:"respondentId"`
	IsCompleted  bool           `json:"isCompleted"`
	SubmittedAt  time.Time      `json:"submittedAt"`
	Responses    []responseJSON `json:"responses"`
}

type responseJSON struct {
	ID         string          `json:"id"`
	QuestionID string          `json:"questionId"`
	Answer     json.RawMessage `json:"answer"`
}

// byHand decodes with encoding/json into structs and translates them, as an adapter without a contract-driven codec would.
func byHand(data []byte) (*tallydv1.ListSubmissionsResponse, error) {
	var page pageJSON
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, err
	}
	out := &tallydv1.ListSubmissionsResponse{}
	for _, q := range page.Questions {
		out.Questions = append(out.Questions, &tallydv1.Question{
			Id: q.ID, Type: q.Type, Title: q.Title, FormId: q.FormID, ResponseCount: q.Responses,
			CreateTime: timestamppb.New(q.CreatedAt), UpdateTime: timestamppb.New(q.UpdatedAt),
		})
	}
	for _, s := range page.Submissions {
		submission := &tallydv1.Submission{
			Id: s.ID, FormId: s.FormID, RespondentId: s.RespondentID, IsCompleted: s.IsCompleted, SubmitTime: timestamppb.New(s.SubmittedAt),
		}
		for _, r := range s.Responses {
			submission.Responses = append(submission.Responses, &tallydv1.QuestionResponse{
				Id: r.ID, QuestionId: r.QuestionID, AnswerJson: string(r.Answer),
			})
		}
		out.Submissions = append(out.Submissions, submission)
	}
	return out, nil
}

// key is a key that nobody watches over.
type key struct{ apikey.Key }

func (k key) Current() apikey.Key { return k.Key }
func (key) Err() error            { return nil }
func (key) Confirm(context.Context, apikey.Key) (apikey.Verdict, error) {
	return apikey.VerdictGood, nil
}

// memory is a Tally that answers from memory.
func memory(b *testing.B, body []byte) string {
	b.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

func client(b *testing.B, address string) *tally.Client {
	b.Helper()
	contract, err := tally.NewContract(tallydv1.File_tallyd_v1_submission_service_proto, tallydv1.File_tallyd_v1_form_service_proto)
	if err != nil {
		b.Fatal(err)
	}
	base, err := url.Parse(address)
	if err != nil {
		b.Fatal(err)
	}
	k, err := apikey.ParseKey("tly-bench")
	if err != nil {
		b.Fatal(err)
	}
	c := tally.New(contract, tally.Config{URL: base, Version: "2026-08-04", UserAgent: "bench", Keys: key{k}, Limits: tally.DefaultLimits()})
	b.Cleanup(c.Close)
	return c
}

// BenchmarkPage takes a page of 100 submissions x 12 answers from JSON to the wire bytes of the answer, fetched over loopback HTTP
// by both, so that the client's own path is timed whole: what differs is the decoding. The token walk is the floor.
func BenchmarkPage(b *testing.B) {
	body := submissionsPage(100)
	address := memory(b, body)
	b.Run("tallyd", func(b *testing.B) {
		c := client(b, address)
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			resp := &tallydv1.ListSubmissionsResponse{}
			if err := c.Call(b.Context(), &tallydv1.ListSubmissionsRequest{FormId: "f1", PageSize: 100}, resp); err != nil {
				b.Fatal(err)
			}
			wire(b, resp)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			resp, err := byHand(fetch(b, address))
			if err != nil {
				b.Fatal(err)
			}
			wire(b, resp)
		}
	})
	b.Run("fetch-alone", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			fetch(b, address)
		}
	})
	b.Run("token-walk", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			walk(b, body)
		}
	})
}

func wire(b *testing.B, m proto.Message) {
	b.Helper()
	if _, err := proto.Marshal(m); err != nil {
		b.Fatal(err)
	}
}

func fetch(b *testing.B, address string) []byte {
	b.Helper()
	resp, err := http.Get(address + "/forms/f1/submissions")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func walk(b *testing.B, body []byte) {
	b.Helper()
	decoder := jsontext.NewDecoder(strings.NewReader(string(body)))
	for {
		if _, err := decoder.ReadToken(); err != nil {
			return
		}
	}
}
