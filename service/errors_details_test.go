package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

func TestErrorInfoMetadata(t *testing.T) {
	since := time.Date(2026, 11, 23, 10, 0, 0, 0, time.FixedZone("CET", 3600))
	tests := []struct {
		name string
		err  error
		want map[string]string
	}{
		{
			"a failed read may be repeated",
			&tally.Error{Kind: tally.KindStatus, Status: 503, Effect: tally.Read, Outcome: "unknown", Attempts: 2, Ray: "8f3-FRA", RequestID: "req_7"},
			map[string]string{
				"upstream": "api.tally.so", "upstream_status": "503", "outcome": "unknown", "attempts": "2", "retry_safe": "true",
				"cf_ray": "8f3-FRA", "upstream_request_id": "req_7",
			},
		},
		{
			"a failed write may not",
			&tally.Error{Kind: tally.KindReset, Effect: tally.Create, Outcome: "unknown", Attempts: 1},
			map[string]string{"upstream": "api.tally.so", "upstream_status": "0", "outcome": "unknown", "attempts": "1", "retry_safe": "false"},
		},
		{
			"nor a delete",
			&tally.Error{Kind: tally.KindReset, Effect: tally.Delete, Outcome: "unknown", Attempts: 1},
			map[string]string{"upstream": "api.tally.so", "upstream_status": "0", "outcome": "unknown", "attempts": "1", "retry_safe": "false"},
		},
		{
			"nor one that was applied",
			&tally.Error{Kind: tally.KindProtocol, Status: 201, Effect: tally.Create, Outcome: "applied", Attempts: 1},
			map[string]string{"upstream": "api.tally.so", "upstream_status": "201", "outcome": "applied", "attempts": "1", "retry_safe": "false"},
		},
		{
			"a refused write may",
			&tally.Error{Kind: tally.KindStatus, Status: 429, Effect: tally.Create, Outcome: "rejected", Attempts: 1},
			map[string]string{"upstream": "api.tally.so", "upstream_status": "429", "outcome": "rejected", "attempts": "1", "retry_safe": "true"},
		},
		{
			"a dead key says since when, in UTC",
			&tally.Error{Kind: tally.KindKeyRejected, Outcome: "not_sent", KeyAlias: "key-3f", KeySince: since},
			map[string]string{
				"upstream": "api.tally.so", "upstream_status": "0", "outcome": "not_sent", "attempts": "0", "retry_safe": "true",
				"key_alias": "key-3f", "latched_since": "2026-11-23T09:00:00Z",
			},
		},
		{
			"a redirect says where to",
			&tally.Error{Kind: tally.KindRedirect, Status: 302, Effect: tally.Read, RedirectHost: "elsewhere.example:8443", Attempts: 1},
			map[string]string{
				"upstream": "api.tally.so", "upstream_status": "302", "outcome": "unknown", "attempts": "1", "retry_safe": "true",
				"redirect_host": "elsewhere.example:8443",
			},
		},
		{
			"an item says how large it is",
			&tally.Error{Kind: tally.KindItemTooLarge, Status: 200, Effect: tally.Read, Size: 5000000, Limit: 3670016, Attempts: 1},
			map[string]string{
				"upstream": "api.tally.so", "upstream_status": "200", "outcome": "unknown", "attempts": "1", "retry_safe": "true",
				"size_bytes": "5000000", "limit_bytes": "3670016",
			},
		},
		{
			"a refusal of ours sent nothing",
			&localError{reason: tallydv1.ErrorReason_ERROR_REASON_SERVER_DRAINING, effect: tally.Create},
			map[string]string{"upstream": "api.tally.so", "upstream_status": "0", "outcome": "not_sent", "attempts": "0", "retry_safe": "true"},
		},
		{
			"after a panic nothing is known",
			&localError{reason: tallydv1.ErrorReason_ERROR_REASON_PANIC},
			map[string]string{"upstream": "api.tally.so", "upstream_status": "0", "outcome": "unknown", "attempts": "0", "retry_safe": "false"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := infoOf(t, toStatus(test.err).status).GetMetadata()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("metadata of %v differs (-want +got):\n%s", test.err, diff)
			}
		})
	}
}

func TestResourceInfo(t *testing.T) {
	for _, code := range []int{403, 404, 410} {
		failure := &tally.Error{Kind: tally.KindStatus, Status: code, JSON: true, Effect: tally.Read, ResourceType: "form", ResourceID: "mexJoq"}
		want := &errdetails.ResourceInfo{ResourceType: "form", ResourceName: "mexJoq"}
		got := detailOf[*errdetails.ResourceInfo](t, toStatus(failure).status)
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("ResourceInfo of %d differs (-want +got):\n%s", code, diff)
		}
	}
}

func TestQuotaFailure(t *testing.T) {
	tests := []struct {
		name        string
		err         error
		wantSubject string
	}{
		{"Tally's limit, key known", &tally.Error{Kind: tally.KindStatus, Status: 429, KeyAlias: "key-3f"}, "key:key-3f"},
		{"Tally's limit", &tally.Error{Kind: tally.KindStatus, Status: 429}, "key"},
		{"our queue, caller known", &tally.Error{Kind: tally.KindQuotaFull, Caller: "billing"}, "caller:billing"},
		{"our queue", &tally.Error{Kind: tally.KindQuotaFull}, "caller"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := detailOf[*errdetails.QuotaFailure](t, toStatus(test.err).status).GetViolations()
			if len(got) != 1 || got[0].GetSubject() != test.wantSubject || got[0].GetDescription() == "" {
				t.Errorf("QuotaFailure of %v = %v, want one violation of subject %q with a description", test.err, got, test.wantSubject)
			}
		})
	}
}

func TestBadRequest(t *testing.T) {
	tests := []struct {
		name        string
		err         error
		wantFields  []string
		wantMessage string
	}{
		{
			"a rule of the contract",
			protovalidate.Validate(&tallydv1.GetFormRequest{FormId: "a/b"}),
			[]string{"form_id: must be 1 to 64 letters, digits, '-' or '_'"},
			"form_id must be 1 to 64 letters, digits, '-' or '_'",
		},
		{
			"several",
			protovalidate.Validate(&tallydv1.CreateInvitesRequest{OrganizationId: "o", WorkspaceIds: []string{"w", "?"}}),
			[]string{"workspace_ids[1]: must be 1 to 64 letters, digits, '-' or '_'", "emails: must contain at least 1 item(s)"},
			"workspace_ids[1] must be 1 to 64 letters, digits, '-' or '_' (and 1 more)",
		},
		{
			"an enum by its names",
			protovalidate.Validate(&tallydv1.CreateFormRequest{Status: 99}),
			[]string{"status: must be one of FORM_STATUS_BLANK, FORM_STATUS_DRAFT, FORM_STATUS_PUBLISHED"},
			"status must be one of FORM_STATUS_BLANK, FORM_STATUS_DRAFT, FORM_STATUS_PUBLISHED",
		},
		{
			"a rule of a handler",
			fmt.Errorf("wrapped: %w", &tally.Error{Kind: tally.KindInvalid, Violations: []tally.Violation{
				{Field: "url", Description: "value is empty, which is not a valid URI"},
			}}),
			[]string{"url: value is empty, which is not a valid URI"},
			"url: value is empty, which is not a valid URI",
		},
		{
			"a page token",
			&tally.Error{Kind: tally.KindPageToken, Message: "not one of ours", Violations: []tally.Violation{{Field: "page_token", Description: "is unknown"}}},
			[]string{"page_token: is unknown"},
			"the page token is not one that this list handed out for this request: the caller must start the list again",
		},
		{
			"Tally's rule, without what is ours",
			&tally.Error{Kind: tally.KindStatus, Status: 400, JSON: true, Message: `"blocks[1].type" is required`, Violations: []tally.Violation{
				{Key: "isTemplate", Description: `"isTemplate" is not allowed`},
				{Field: "blocks[1].type", Key: "blocks[1].type", Description: `"blocks[1].type" is required`},
			}},
			[]string{`blocks[1].type: "blocks[1].type" is required`},
			`Tally refuses blocks[1].type, which the caller must change; Tally says: ""blocks[1].type" is required"`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := toStatus(test.err).status
			var fields []string
			for _, v := range detailOf[*errdetails.BadRequest](t, s).GetFieldViolations() {
				fields = append(fields, v.GetField()+": "+v.GetDescription())
			}
			if diff := cmp.Diff(test.wantFields, fields); diff != "" {
				t.Errorf("BadRequest of %v differs (-want +got):\n%s", test.err, diff)
			}
			if s.Message() != test.wantMessage {
				t.Errorf("message of %v = %q, want %q", test.err, s.Message(), test.wantMessage)
			}
		})
	}
}

func TestToStatusOfValidation(t *testing.T) {
	err := fmt.Errorf("validate: %w", protovalidate.Validate(&tallydv1.GetFormRequest{}))
	want := seen{Code: codes.InvalidArgument, Reason: "INVALID_FIELD", Domain: "tallyd", Outcome: "not_sent", Details: fieldDetails}
	checkSeen(t, err.Error(), see(t, toStatus(err)), want)

	// A rule about the whole message names no field, and one without words names itself.
	whole := &protovalidate.ValidationError{Violations: []*protovalidate.Violation{nil, {Proto: violation("a.b", "")}, {Proto: violation("c", "nothing is set")}}}
	got := detailOf[*errdetails.BadRequest](t, toStatus(whole).status)
	wantRequest := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "request", Description: "must keep the rule a.b"}, {Field: "request", Description: "nothing is set"},
	}}
	if diff := cmp.Diff(wantRequest, got, protocmp.Transform()); diff != "" {
		t.Errorf("BadRequest of %v differs (-want +got):\n%s", whole, diff)
	}
}

// A refusal of other kinds must not carry what Tally said of fields: nobody but a defect would put it there.
func TestBadRequestOnlyWhereFieldsAreToBlame(t *testing.T) {
	failure := &tally.Error{Kind: tally.KindStatus, Status: 403, JSON: true, Effect: tally.Read, Violations: oneField}
	for _, detail := range toStatus(failure).status.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			t.Errorf("toStatus(%v) has %v, want no BadRequest", failure, bad)
		}
	}
}

func TestMessagesNameWhoMustAct(t *testing.T) {
	const operators = "the operator of this service must act, nothing that the caller sends can mend it"
	tests := []struct {
		name string
		err  error
		want []string
	}{
		{"dead key", &tally.Error{Kind: tally.KindKeyRejected, Status: 401}, []string{"the key that this service holds", operators}},
		{"feature", &tally.Error{Kind: tally.KindFeature, Status: 401}, []string{"plan", "never used", "is alive", operators}},
		{"right", &tally.Error{Kind: tally.KindStatus, Status: 403, JSON: true}, []string{"user of this service's key", operators}},
		{"edge", &tally.Error{Kind: tally.KindEdgeBlocked, Status: 403}, []string{"edge", operators}},
		{"route", &tally.Error{Kind: tally.KindStatus, Status: 404}, []string{"address", operators}},
		{"unknown caller", &localError{reason: rowCallerUnauthenticated.reason}, []string{"the caller must identify itself"}},
		{"caller without a grant", &localError{reason: rowCallerNotAllowed.reason}, []string{"policy of this service", "whoever grants access"}},
		{
			"open write", &tally.Error{Kind: tally.KindReset, Effect: tally.Create, Outcome: "unknown"},
			[]string{"the write may have had its effect", "look before trying again"},
		},
		{
			"open write at its deadline", &tally.Error{Kind: tally.KindDeadline, Effect: tally.Update, Outcome: "unknown"},
			[]string{"deadline of the call", "the write may have had its effect"},
		},
		{
			"precondition", &tally.Error{Kind: tally.KindPrecondition, Message: "update_time is 2026-01-01T00:00:00Z"},
			[]string{"read it again", "; update_time is 2026-01-01T00:00:00Z"},
		},
		{
			"what Tally said", &tally.Error{Kind: tally.KindStatus, Status: 500, Message: "Something broke"},
			[]string{"Tally's fault", `Tally says: "Something broke"`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := toStatus(test.err).status.Message()
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("message of %v = %q, want %q in it", test.err, got, want)
				}
			}
		})
	}
	read := toStatus(&tally.Error{Kind: tally.KindReset, Effect: tally.Read, Outcome: "unknown"}).status.Message()
	if strings.Contains(read, "write") {
		t.Errorf("message of a failed read = %q, want nothing about a write", read)
	}
}

func TestAdopt(t *testing.T) {
	quota := &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "s"}}}
	own := &errdetails.ErrorInfo{Reason: "CUSTOM", Domain: "elsewhere", Metadata: map[string]string{"outcome": "rejected", "k": "v"}}
	withDetails := func(code codes.Code, details ...proto.Message) *status.Status {
		d := &draft{code: code, message: "said"}
		for _, detail := range details {
			d.add(detail)
		}
		p := d.proto()
		p.Details = d.others
		return status.FromProto(p)
	}
	tests := []struct {
		name   string
		status *status.Status
		want   seen
	}{
		{
			"the library's own", status.New(codes.ResourceExhausted, "said"),
			seen{Code: codes.ResourceExhausted, Reason: "INTERNAL", Domain: "tallyd", Outcome: "unknown", Details: plainDetails},
		},
		{
			"the caller went away", status.New(codes.Canceled, "said"),
			seen{Code: codes.Canceled, Reason: "CALLER_CANCELLED", Domain: "tallyd", Outcome: "unknown", Details: plainDetails},
		},
		{
			"the caller's time is up", status.New(codes.DeadlineExceeded, "said"),
			seen{Code: codes.DeadlineExceeded, Reason: "DEADLINE_IN_FLIGHT", Domain: "tallyd", Outcome: "unknown", Details: plainDetails},
		},
		{
			"details stay", withDetails(codes.ResourceExhausted, quota),
			seen{Code: codes.ResourceExhausted, Reason: "INTERNAL", Domain: "tallyd", Outcome: "unknown", Details: []string{"ErrorInfo", "QuotaFailure"}},
		},
		{
			"an ErrorInfo stays", withDetails(codes.Aborted, quota, own),
			seen{Code: codes.Aborted, Reason: "CUSTOM", Domain: "elsewhere", Outcome: "rejected", Details: []string{"ErrorInfo", "QuotaFailure"}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := toStatus(fmt.Errorf("wrapped: %w", test.status.Err()))
			checkSeen(t, test.status.String(), see(t, m), test.want)
			if got := m.status.Message(); got != "said" {
				t.Errorf("message = %q, want %q as the library said it", got, "said")
			}
		})
	}
}

// okError claims to be an error and brings a status that says all is well.
type okError struct{}

func (okError) Error() string              { return "fine" }
func (okError) GRPCStatus() *status.Status { return status.New(codes.OK, "") }

func TestAdoptRefusesOK(t *testing.T) {
	if got := toStatus(okError{}).status.Code(); got != codes.Internal {
		t.Errorf("toStatus(an error with status OK) = %v, want %v", got, codes.Internal)
	}
}
