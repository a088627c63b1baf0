package service

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

// Tally makes the request that an RPC stands for; *tally.Client is the one.
type Tally interface {
	// Call makes the request of req and fills resp. It returns nil or a *tally.Error.
	Call(ctx context.Context, req, resp proto.Message, opts ...tally.Option) error
	// Check reports what is wrong with req without making the request. It returns nil or a *tally.Error.
	Check(req proto.Message) error
}

// HandlerConfig is what the handlers need beyond Tally.
type HandlerConfig struct {
	// Drift is told of answers that the contract does not know; may be nil.
	Drift func(path, kind string)
	// AllowPrivateWebhooks lets CreateWebhook and UpdateWebhook name addresses inside a private network, which only a pretend Tally
	// on this machine has use for.
	AllowPrivateWebhooks bool
	// Quota tells callers how they stand; nil where there is no limit.
	Quota *quota.Scheduler
	// Events is where streams of events read; nil where no log is kept.
	Events *Events
}

// drift is told of answers that the contract does not know.
func (c HandlerConfig) drift() func(path, kind string) {
	if c.Drift == nil {
		return func(string, string) {}
	}
	return c.Drift
}

// pace is the time from one request of a batch job to the next when nobody else makes any; nil where there is no limit.
func (c HandlerConfig) pace() func() time.Duration {
	if c.Quota == nil {
		return nil
	}
	return c.Quota.Pace
}

// Register registers every service of the contract.
func Register(to grpc.ServiceRegistrar, t Tally, config HandlerConfig) {
	tallydv1.RegisterUserServiceServer(to, &users{tally: t})
	tallydv1.RegisterOrganizationServiceServer(to, &organizations{tally: t})
	tallydv1.RegisterWorkspaceServiceServer(to, &workspaces{tally: t})
	tallydv1.RegisterFormServiceServer(to, &forms{tally: t})
	tallydv1.RegisterSubmissionServiceServer(to, &submissions{tally: t, drift: config.drift(), pace: config.pace(), events: config.Events})
	tallydv1.RegisterSubmissionEventServiceServer(to, &submissionEvents{events: config.Events, unknown: answerDrift(config.drift())})
	tallydv1.RegisterAnalyticsServiceServer(to, &analytics{tally: t})
	tallydv1.RegisterQuotaServiceServer(to, &quotas{quota: config.Quota})
	tallydv1.RegisterWebhookServiceServer(to, &webhooks{tally: t, allowPrivate: config.AllowPrivateWebhooks})
}

// message is a pointer to a generated message type.
type message[T any] interface {
	*T
	proto.Message
}

// call makes the one request that req stands for and passes its answer on: all that a plain RPC is. A single answer stays encoded,
// since nobody here reads it; see docs/decisions/0001-wire-bytes.md.
func call[T any, M message[T]](ctx context.Context, t Tally, req proto.Message, opts ...tally.Option) (M, error) {
	return fetch[T, M](ctx, t, req, append(opts, tally.Opaque())...)
}

// fetch makes the one request that req stands for, for a handler that reads the answer.
func fetch[T any, M message[T]](ctx context.Context, t Tally, req proto.Message, opts ...tally.Option) (M, error) {
	resp := M(new(T))
	if err := t.Call(ctx, req, resp, opts...); err != nil {
		return nil, err
	}
	return resp, nil
}
