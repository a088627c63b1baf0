package service_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

// shared gives the client of a world a quota of so many requests a minute, which the minute before left alone.
func shared(rate int) func(*tally.Config) {
	return func(c *tally.Config) { c.Quota = quota.New(quota.Config{Rate: rate, Unused: true}) }
}

// TestGetQuota tells each caller how it stands, whatever else it may do, and that a look-up of the policy is paid by whom it is for.
func TestGetQuota(t *testing.T) {
	g := newGuarded(t, `callers:
  - {name: app, identities: ['dns:app'], weight: 3, allow: [{methods: ['FormService/*'], workspaces: [wsTeam]}]}
  - {name: jobs, identities: ['dns:jobs'], priority: batch}
  - {name: shut, identities: ['dns:shut'], deny: [{methods: ['*']}]}`, shared(20))
	forms := tallydv1.NewFormServiceClient(g.conn)
	if _, err := forms.GetForm(as(t, "app"), &tallydv1.GetFormRequest{FormId: "Repair"}); err != nil {
		t.Fatal(err)
	}
	spent := int32(g.requests())
	if spent < 2 {
		t.Fatalf("the call and its look-up cost %d requests, want 2 or more", spent)
	}
	interactive, batch := tallydv1.QuotaPriority_QUOTA_PRIORITY_INTERACTIVE, tallydv1.QuotaPriority_QUOTA_PRIORITY_BATCH
	tests := []struct {
		caller string
		want   *tallydv1.Quota
	}{
		{"app", &tallydv1.Quota{Limit: 20, Used: spent, OwnUsed: spent, Weight: 3, TotalWeight: 3, Priority: interactive}},
		{"jobs", &tallydv1.Quota{Limit: 20, Used: spent, Weight: 1, TotalWeight: 1, Priority: batch}},
	}
	for _, test := range tests {
		resp, err := tallydv1.NewQuotaServiceClient(g.conn).GetQuota(as(t, test.caller), &tallydv1.GetQuotaRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if next := time.Until(resp.GetQuota().GetNextSlotTime().AsTime()); next > time.Second {
			t.Errorf("the next slot of %s comes in %v, want now", test.caller, next)
		}
		resp.GetQuota().NextSlotTime = nil
		if diff := cmp.Diff(test.want, resp.GetQuota(), protocmp.Transform()); diff != "" {
			t.Errorf("the standing of %s (-want +got):\n%s", test.caller, diff)
		}
	}
	_, err := tallydv1.NewQuotaServiceClient(g.conn).GetQuota(as(t, "shut"), &tallydv1.GetQuotaRequest{})
	if reasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("GetQuota() of a caller to whom all is denied = %v, want CALLER_NOT_ALLOWED", err)
	}
	if int32(g.requests()) != spent {
		t.Errorf("GetQuota() asked Tally %d times, want never", int32(g.requests())-spent)
	}
}

// TestSharesAreKept lets one caller spend what there is: another's call with little time is refused at once, and told when to come back.
func TestSharesAreKept(t *testing.T) {
	g := newGuarded(t, `callers:
  - {name: app, identities: ['dns:app'], allow: [{methods: ['*'], forms: ['*']}]}
  - {name: web, identities: ['dns:web'], allow: [{methods: ['*'], forms: ['*']}]}`, shared(5))
	submissions := tallydv1.NewSubmissionServiceClient(g.conn)
	for range 5 {
		if _, err := submissions.ListSubmissions(as(t, "app"), &tallydv1.ListSubmissionsRequest{FormId: "Repair"}); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	_, err := submissions.ListSubmissions(as(t, "web"), &tallydv1.ListSubmissionsRequest{FormId: "Repair"})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the refusal took %v, want it at once", took)
	}
	info := infoOf(err)
	if info.GetReason() != "QUOTA_WAIT_EXCEEDS_DEADLINE" || info.GetDomain() != "tallyd" || info.GetMetadata()["outcome"] != "not_sent" {
		t.Errorf("ListSubmissions() = %v, want QUOTA_WAIT_EXCEEDS_DEADLINE of tallyd, not sent", err)
	}
	if delay := retryDelay(err); delay < 50*time.Second || delay > time.Minute {
		t.Errorf("RetryInfo = %v, want when a slot comes: nearly a minute", delay)
	}
	if n := g.requests(); n != 5 {
		t.Errorf("Tally got %d requests, want 5", n)
	}
}

// retryDelay returns when an error says that another try is worth it; 0 where it does not.
func retryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}
