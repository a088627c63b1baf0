package tally_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// TestTolerantDecoding covers rows 32 to 37 of what Tally may send: a value is right, absent, or an error on its field; never wrong.
func TestTolerantDecoding(t *testing.T) {
	name, index := "n", int32(3)
	tests := []struct {
		name, body string
		want       *tallydv1.Form // nil for an error
		wantDrift  string
	}{
		{name: "number as text", body: `{"numberOfSubmissions":"42"}`, want: &tallydv1.Form{SubmissionCount: 42}},
		{name: "text as number", body: `{"id":42}`, want: &tallydv1.Form{Id: "42"}},
		{name: "integral float", body: `{"index":3.0,"numberOfSubmissions":1e2}`, want: &tallydv1.Form{Index: &index, SubmissionCount: 100}},
		{name: "largest integer", body: `{"numberOfSubmissions":9223372036854775807}`, want: &tallydv1.Form{SubmissionCount: 1<<63 - 1}},
		{name: "one more", body: `{"numberOfSubmissions":9223372036854775808}`},
		{name: "too large for the field", body: `{"index":2147483648}`},
		{name: "fraction in an integer", body: `{"index":1.5}`},
		{name: "beyond a double", body: `{"payments":[{"amount":1e400}]}`},
		{name: "minus nothing", body: `{"numberOfSubmissions":-0}`, want: &tallydv1.Form{}},
		{name: "no number", body: `{"index":"three"}`},
		{name: "object for text", body: `{"id":{}}`},
		{name: "text for a list", body: `{"blocks":"none"}`},
		{name: "text for an object", body: `{"settings":"none"}`},
		{name: "integer that a double would round", body: `{"blocks":[{"payload":{"n":9007199254740993}}]}`},
		{name: "null everywhere", body: `{"id":null,"name":null,"settings":null,"blocks":null,"payments":[null],"createdAt":null,"status":null,"isClosed":null}`, want: &tallydv1.Form{}},
		{name: "nothing at all", body: `{}`, want: &tallydv1.Form{}},
		{name: "unknown status", body: `{"status":"ARCHIVED"}`, want: &tallydv1.Form{StatusRaw: "ARCHIVED"}, wantDrift: "tallyd.v1.Form.status unknown_enum"},
		{name: "unknown key", body: `{"id":"f","shiny":[1]}`, want: &tallydv1.Form{Id: "f"}, wantDrift: "tallyd.v1.Form.shiny unknown_field"},
		{name: "time with an offset", body: `{"createdAt":"2024-01-01T01:00:00+01:00"}`, want: &tallydv1.Form{CreateTime: &timestamppb.Timestamp{Seconds: 1704067200}}},
		{name: "time without a zone", body: `{"createdAt":"2024-01-01T01:00:00"}`, want: &tallydv1.Form{}, wantDrift: "tallyd.v1.Form.create_time unknown_time"},
		{name: "year 0", body: `{"createdAt":"0000-01-01T00:00:00Z"}`, want: &tallydv1.Form{}, wantDrift: "tallyd.v1.Form.create_time unknown_time"},
		{name: "leap second", body: `{"createdAt":"2016-12-31T23:59:60Z"}`, want: &tallydv1.Form{}, wantDrift: "tallyd.v1.Form.create_time unknown_time"},
		{name: "key with escapes", body: `{"n\u0061me":"n"}`, want: &tallydv1.Form{Name: &name}},
		{name: "NUL in text", body: `{"id":"a\u0000b"}`, want: &tallydv1.Form{Id: "a\x00b"}},
		{name: "lone surrogate", body: `{"id":"a\ud800b"}`, want: &tallydv1.Form{Id: "a\uFFFDb"}},
		{name: "invalid UTF-8", body: "{\"id\":\"a\xffb\"}", want: &tallydv1.Form{Id: "a\uFFFDb"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drift := ""
			client := upstream(t, answers(200, test.body), func(c *tally.Config) {
				c.Drift = func(path, kind string) { drift += path + " " + kind }
			})
			resp := &tallydv1.GetFormResponse{}
			err := client.Call(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"}, resp)
			if test.want == nil {
				checkFault(t, err, tally.KindProtocol, tally.OutcomeUnknown)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, resp.GetForm(), protocmp.Transform()); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
			if drift != test.wantDrift {
				t.Errorf("drift = %q, want %q", drift, test.wantDrift)
			}
		})
	}
}

// TestLossyText covers row 32 on submissions: the repaired one says so, the others do not.
func TestLossyText(t *testing.T) {
	body := `{"hasMore":false,"submissions":[{"id":"a","responses":[{"id":"` + "\xff" + `"}]},{"id":"b"},{"id":"c","responses":[{"answer":"` + "\xff" + `"}]}]}`
	resp := &tallydv1.ListSubmissionsResponse{}
	if err := upstream(t, answers(200, body)).Call(t.Context(), &tallydv1.ListSubmissionsRequest{FormId: "f1"}, resp); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		if got := resp.GetSubmissions()[i].GetLossy(); got != want {
			t.Errorf("submission %d: lossy = %t, want %t", i, got, want)
		}
	}
	if _, err := proto.Marshal(resp); err != nil {
		t.Errorf("Marshal() = %v, want nil", err)
	}
}

// TestComplaintsNameProtoFields translates Tally's complaints into the caller's own fields; what the caller did not set names none.
func TestComplaintsNameProtoFields(t *testing.T) {
	complaint := func(field, message string) string {
		return `{"errors":[{"message":"` + strings.ReplaceAll(message, `"`, `\"`) + `","field":"` + field + `","type":"any.only"}]}`
	}
	req := &tallydv1.CreateFormRequest{Status: 2, Blocks: []*tallydv1.Block{{Uuid: "u"}}, Settings: &tallydv1.FormSettings{}}
	tests := []struct{ name, body, want string }{
		{"top-level key", complaint("blocks", "are wrong"), "blocks"},
		{"path in the message", complaint("blocks", `"blocks[1].type" must be one of [A]`), "blocks[1].type"},
		{"renamed key", complaint("blocks", `"blocks[0].groupUuid" must be a valid GUID`), "blocks[0].group_uuid"},
		{"inside a struct", complaint("blocks", `"blocks[0].payload.minCharacters" is not allowed`), "blocks[0].payload.minCharacters"},
		{"setting", complaint("settings", `"settings.closeDate" must be a date`), "settings.close_date"},
		{"other shape of items", `{"errors":[{"msg":"\"status\" is required","errorType":"any.required"}]}`, "status"},
		{"not set by the caller", complaint("folderId", `"folderId" is wrong`), ""},
		{"unknown to the contract", complaint("shiny", `"shiny" is not allowed`), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := upstream(t, answers(400, test.body)).Call(t.Context(), req, &tallydv1.CreateFormResponse{})
			failure, ok := errors.AsType[*tally.Error](err)
			if !ok || len(failure.Violations) != 1 || failure.Violations[0].Field != test.want {
				t.Errorf("Call() = %+v, want one violation of %q", failure, test.want)
			}
		})
	}
}
