package service

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// webhooks implements WebhookService.
type webhooks struct {
	tallydv1.UnimplementedWebhookServiceServer

	tally        Tally
	allowPrivate bool
}

func (w *webhooks) ListWebhooks(ctx context.Context, req *tallydv1.ListWebhooksRequest) (*tallydv1.ListWebhooksResponse, error) {
	return call[tallydv1.ListWebhooksResponse](ctx, w.tally, req)
}

func (w *webhooks) DeleteWebhook(ctx context.Context, req *tallydv1.DeleteWebhookRequest) (*tallydv1.DeleteWebhookResponse, error) {
	return call[tallydv1.DeleteWebhookResponse](ctx, w.tally, req)
}

func (w *webhooks) ListWebhookEvents(ctx context.Context, req *tallydv1.ListWebhookEventsRequest) (*tallydv1.ListWebhookEventsResponse, error) {
	return call[tallydv1.ListWebhookEventsResponse](ctx, w.tally, req)
}

func (w *webhooks) RetryWebhookEvent(ctx context.Context, req *tallydv1.RetryWebhookEventRequest) (*tallydv1.RetryWebhookEventResponse, error) {
	return call[tallydv1.RetryWebhookEventResponse](ctx, w.tally, req)
}

// webhookFields are the fields of an update that travel; Tally replaces them all.
var webhookFields = []string{"form_id", "url", "event_types", "is_enabled", "signing_secret", "http_headers"}

// CreateWebhook reports submissions unless the caller says what to report: Tally knows nothing else and demands it all the same.
func (w *webhooks) CreateWebhook(ctx context.Context, req *tallydv1.CreateWebhookRequest) (*tallydv1.CreateWebhookResponse, error) {
	if err := w.checkURL(req.GetUrl()); err != nil {
		return nil, err
	}
	if len(req.GetEventTypes()) == 0 {
		req = proto.CloneOf(req)
		req.EventTypes = []tallydv1.WebhookEventType{tallydv1.WebhookEventType_WEBHOOK_EVENT_TYPE_FORM_RESPONSE}
	}
	return call[tallydv1.CreateWebhookResponse](ctx, w.tally, req)
}

// UpdateWebhook searches the list for the webhook, since Tally returns no single one, and sends it back whole with the changes.
func (w *webhooks) UpdateWebhook(ctx context.Context, req *tallydv1.UpdateWebhookRequest) (*tallydv1.UpdateWebhookResponse, error) {
	if err := w.tally.Check(req); err != nil {
		return nil, err
	}
	if touches(req.GetUpdateMask(), "url", req.Url != nil) {
		if err := w.checkURL(req.GetUrl()); err != nil {
			return nil, err
		}
	}
	current, err := w.find(ctx, req.GetWebhookId())
	if err != nil {
		return nil, err
	}
	if err := checkUnchanged(req.GetExpectedUpdateTime(), current.GetUpdateTime(), "webhook", req.GetWebhookId()); err != nil {
		return nil, err
	}
	whole := &tallydv1.UpdateWebhookRequest{
		WebhookId: req.GetWebhookId(), FormId: &current.FormId, Url: &current.Url, EventTypes: current.GetEventTypes(),
		IsEnabled: &current.IsEnabled, SigningSecret: current.SigningSecret, HttpHeaders: current.GetHttpHeaders(),
	}
	overlay(whole, req, req.GetUpdateMask(), webhookFields)
	if slices.Contains(whole.GetEventTypes(), tallydv1.WebhookEventType_WEBHOOK_EVENT_TYPE_UNSPECIFIED) {
		return nil, refused("event_types", "holds a type that this version does not know and would lose: it must be set anew")
	}
	whole.UpdateMask = &fieldmaskpb.FieldMask{Paths: webhookFields}
	resp, err := fetch[tallydv1.UpdateWebhookResponse](ctx, w.tally, whole)
	if err != nil {
		return nil, err
	}
	resp.Webhook = merged(current, whole)
	return resp, nil
}

// maxWebhookPages bounds the search for a webhook: 10,000 of them are more than any account has, a list without an end is not.
const maxWebhookPages = 100

// find reads the list page by page until it holds the webhook.
func (w *webhooks) find(ctx context.Context, id string) (*tallydv1.Webhook, error) {
	ctx = tally.WithFreshness(ctx, 0)
	list := &tallydv1.ListWebhooksRequest{PageSize: 100}
	for range maxWebhookPages {
		page, err := fetch[tallydv1.ListWebhooksResponse](ctx, w.tally, list)
		if err != nil {
			return nil, err
		}
		for _, webhook := range page.GetWebhooks() {
			if webhook.GetId() == id {
				return webhook, nil
			}
		}
		if list.PageToken = page.GetNextPageToken(); list.GetPageToken() == "" {
			return nil, &tally.Error{
				Kind: tally.KindMissing, Effect: tally.Update, Outcome: tally.OutcomeNotSent,
				ResourceType: "webhook", ResourceID: id,
			}
		}
	}
	return nil, &tally.Error{
		Kind: tally.KindProtocol, Effect: tally.Read, Outcome: tally.OutcomeUnknown, Err: errors.New("the list of webhooks does not end"),
	}
}

// merged returns the webhook as it is after an update.
func merged(before *tallydv1.Webhook, update *tallydv1.UpdateWebhookRequest) *tallydv1.Webhook {
	after := proto.CloneOf(before)
	after.FormId, after.Url, after.EventTypes = update.GetFormId(), update.GetUrl(), update.GetEventTypes()
	after.IsEnabled, after.SigningSecret, after.HttpHeaders = update.GetIsEnabled(), update.SigningSecret, update.GetHttpHeaders()
	return after
}

// checkURL refuses addresses through which Tally would be made to reach into somebody's private network.
func (w *webhooks) checkURL(text string) error {
	rule := webhookURLRule(text, w.allowPrivate)
	if rule == "" {
		return nil
	}
	return refused("url", rule)
}

// refused is a request that breaks a rule of this handler.
func refused(field, rule string) error {
	return &tally.Error{
		Kind: tally.KindInvalid, Outcome: tally.OutcomeNotSent,
		Violations: []tally.Violation{{Field: field, Description: rule}},
	}
}

// webhookURLRule returns the rule that an address breaks, or nothing.
func webhookURLRule(text string, allowPrivate bool) string {
	address, err := url.Parse(text)
	if err != nil || address.Hostname() == "" || (address.Scheme != "https" && address.Scheme != "http") {
		return "must be an http or https address with a host"
	}
	if address.User != nil {
		return "must not hold a user name or password; use http_headers"
	}
	if !allowPrivate && isPrivateHost(address.Hostname()) {
		return "must not lead to this machine or into a private network"
	}
	return ""
}

// isPrivateHost judges a host by its text alone: a name may resolve to anything, and it is Tally that resolves it.
func isPrivateHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, suffix := range []string{"localhost", "local", "internal", "home.arpa", "localdomain"} {
		if host == suffix || strings.HasSuffix(host, "."+suffix) {
			return true
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		// Numbers such as 2130706433, 0x7f.1 or 0177.0.0.1 are addresses to a lenient parser.
		return !strings.Contains(host, ".") || numericHost.MatchString(host)
	}
	ip = ip.Unmap()
	return !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedSpace.Contains(ip)
}

var (
	numericHost = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*$`)
	// sharedSpace is the carriers' own address space (RFC 6598), private in all but name.
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
)
