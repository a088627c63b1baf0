package service_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestForeignWebhookCostsAsUnknown holds that the cost of a denial does not tell whether a webhook exists.
func TestForeignWebhookCostsAsUnknown(t *testing.T) {
	cost := func(id string) string {
		g := newGuarded(t, company)
		var costs []string
		for range 2 {
			var trailer metadata.MD
			err := g.conn.Invoke(as(t, "shop"), "/tallyd.v1.WebhookService/ListWebhookEvents",
				&tallydv1.ListWebhookEventsRequest{WebhookId: id}, &tallydv1.ListWebhookEventsResponse{}, grpc.Trailer(&trailer))
			costs = append(costs, reasonOf(err)+" "+strings.Join(trailer.Get("tallyd-cost"), ","))
		}
		return strings.Join(costs, ", ")
	}
	if foreign, unknown := cost("whkCrm"), cost("nosuch"); foreign != unknown {
		t.Errorf("a foreign webhook costs %s, an unknown one %s, want the same", foreign, unknown)
	}
}
