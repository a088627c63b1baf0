package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

// Authority decides by the policy in force who calls and what each may do.
type Authority struct {
	// Policy returns the policy in force.
	Policy func() *policy.InForce
	// Places remembers where forms lie.
	Places *policy.Places
	// Decided is told of each decision: allowed, denied, or shadow for what only a policy in shadow lets through. May be nil.
	Decided func(decision string)
}

// The decisions.
const (
	decisionAllowed = "allowed"
	decisionDenied  = "denied"
	decisionShadow  = "shadow"
)

// passage is what is known of a caller between the two doors: who it is, and what it may do. One policy holds for both.
type passage struct {
	policy   *policy.InForce
	caller   *policy.Caller
	identity policy.Identity
}

type passageKey struct{}

// payer is the caller as the quota knows it. One that only a policy in shadow lets in pays for itself.
func (p passage) payer() quota.Caller {
	if p.caller == nil {
		return quota.Caller{Name: p.identity.Name}
	}
	return quota.Caller{Name: p.caller.Name, Weight: p.caller.Weight, Batch: p.caller.Batch}
}

// contractCall tells the contract's RPCs from the infrastructure's, which everybody may call.
func contractCall(fullMethod string) bool { return strings.HasPrefix(fullMethod, "/"+contractPackage) }

// whoUnary lets nobody in who does not prove who it is.
func (s *Server) whoUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := s.who(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// who returns a context that knows the caller.
func (s *Server) who(ctx context.Context, fullMethod string) (context.Context, error) {
	if s.config.Authority == nil || !contractCall(fullMethod) {
		return ctx, nil
	}
	r := recordOf(ctx)
	p := passage{policy: s.config.Authority.Policy()}
	who, caller, err := p.policy.Who(ctx)
	p.caller, p.identity = caller, who
	switch {
	case err != nil && !p.policy.Shadow:
		s.decided(decisionDenied)
		return ctx, &localError{reason: tallydv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED, hint: err.Error(), err: err}
	case err != nil:
		r.overlook(err.Error())
	case caller == nil:
		r.setCaller(who.Name, who.Source)
	default:
		r.setCaller(caller.Name, who.Source)
	}
	return context.WithValue(quota.NewContext(ctx, p.payer()), passageKey{}, p), nil
}

// mayUnary lets through what the policy allows, and of the answer what the caller may see.
func (s *Server) mayUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	msg, _ := req.(proto.Message)
	access, err := s.may(ctx, info.FullMethod, msg)
	if err != nil {
		return nil, err
	}
	if access == nil {
		return next(ctx, req)
	}
	if keep := access.Keep(ctx); keep != nil {
		ctx = tally.WithKeep(ctx, keep)
	}
	resp, err := next(ctx, req)
	if err != nil {
		return nil, err
	}
	answer, _ := resp.(proto.Message)
	access.Learn(answer)
	if err := access.Filter(ctx, answer); err != nil {
		return nil, s.refusal(ctx, info.FullMethod, err)
	}
	return resp, nil
}

// may returns what the call may do; nil where there is no policy to ask, or where one in shadow would have denied.
func (s *Server) may(ctx context.Context, fullMethod string, req proto.Message) (*policy.Access, error) {
	p, ok := ctx.Value(passageKey{}).(passage)
	if !ok {
		return nil, nil //nolint:nilnil // no policy, no limits
	}
	if p.caller == nil && p.policy.Shadow {
		s.decided(decisionShadow)
		recordOf(ctx).overlook("no entry of the policy names the caller")
		return nil, nil //nolint:nilnil // a policy in shadow has no limits
	}
	var access *policy.Access
	err := error(&policy.DeniedError{Identity: p.identity.Name, Method: short(fullMethod), Rule: "no entry of the policy names the caller"})
	if p.caller != nil {
		access, err = p.policy.Decide(ctx, s.config.Authority.Places, p.caller, fullMethod, req)
	}
	if err == nil {
		s.decided(decisionAllowed)
		recordOf(ctx).setRule(access.Rule())
		return access, nil
	}
	if p.policy.Shadow {
		s.decided(decisionShadow)
		recordOf(ctx).overlook(err.Error())
		return nil, nil //nolint:nilnil // a policy in shadow has no limits
	}
	s.decided(decisionDenied)
	return nil, s.refusal(ctx, fullMethod, err)
}

// refusal is a decision of the policy as an error of the call.
func (s *Server) refusal(ctx context.Context, fullMethod string, err error) error {
	if denial, ok := errors.AsType[*policy.DeniedError](err); ok {
		recordOf(ctx).setRule(denial.Rule)
		return &localError{
			reason: tallydv1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED, err: denial,
			hint: needs(denial, short(fullMethod)),
		}
	}
	if rule, ok := errors.AsType[*policy.FieldError](err); ok {
		return refused(rule.Field, rule.Rule)
	}
	return unsent(err, effectOf(fullMethod))
}

// needs says to a caller what it lacks, in words that are the same whether a resource exists or not.
func needs(denial *policy.DeniedError, method string) string {
	if denial.Caller == "" {
		return fmt.Sprintf("no entry of the policy names %q", denial.Identity)
	}
	return fmt.Sprintf("caller %q lacks %s on this resource", denial.Caller, method)
}

// short is a method as policies write it.
func short(fullMethod string) string {
	if at := strings.LastIndexByte(fullMethod, '.'); at >= 0 {
		return fullMethod[at+1:]
	}
	return fullMethod
}

func (s *Server) decided(decision string) {
	if s.config.Authority.Decided != nil {
		s.config.Authority.Decided(decision)
	}
}

// callerAttrs are what the log line and the audit trail say of the caller.
func (r *record) callerAttrs() []slog.Attr {
	r.mu.Lock()
	defer r.mu.Unlock()
	var attrs []slog.Attr
	for _, at := range []struct{ key, value string }{
		{"caller", r.caller}, {"proven_by", r.source}, {"rule", r.rule}, {"shadow", r.shadow},
	} {
		if at.value != "" {
			attrs = append(attrs, slog.String(at.key, at.value))
		}
	}
	return attrs
}
