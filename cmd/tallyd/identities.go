package main

import (
	"context"
	"fmt"
	"log/slog"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/policy/identity"
)

// prover returns how callers prove who they are, as a policy says.
func prover(log *slog.Logger) func([]*configv1.IdentitySource) (policy.Resolver, error) {
	return func(configured []*configv1.IdentitySource) (policy.Resolver, error) {
		if len(configured) == 0 {
			return resolver{identity.New(identity.MTLS())}, nil
		}
		var sources []identity.Source
		for i, one := range configured {
			source, err := identitySource(one, log)
			if err != nil {
				return nil, fmt.Errorf("identify[%d]: %w", i, err)
			}
			sources = append(sources, source)
		}
		return resolver{identity.New(sources...)}, nil
	}
}

func identitySource(configured *configv1.IdentitySource, log *slog.Logger) (identity.Source, error) {
	switch source := configured.GetSource().(type) {
	case *configv1.IdentitySource_Xfcc:
		peers, err := trusted(source.Xfcc)
		return identity.XFCC(peers), err
	case *configv1.IdentitySource_Linkerd:
		peers, err := trusted(source.Linkerd)
		return identity.Linkerd(peers), err
	case *configv1.IdentitySource_Jwt:
		jwt := source.Jwt
		return identity.JWT(identity.JWTConfig{
			Name: jwt.GetName(), Issuer: jwt.GetIssuer(), Audience: jwt.GetAudience(),
			JWKSFile: jwt.GetJwksFile(), JWKSURL: jwt.GetJwksUrl(), CAFile: jwt.GetCaFile(), BearerFile: jwt.GetBearerFile(),
			Algorithms: jwt.GetAlgorithms(), Log: log,
		})
	default:
		return identity.MTLS(), nil
	}
}

// trusted returns the peers whose word counts: those that the policy lists, else this machine.
func trusted(forwarded *configv1.Forwarded) (identity.Peers, error) {
	if len(forwarded.GetFrom()) == 0 {
		return identity.DefaultPeers(), nil
	}
	return identity.ParsePeers(forwarded.GetFrom())
}

// resolver fits the room that proves to the one that decides; they do not know each other.
type resolver struct{ *identity.Resolver }

// Resolve returns who calls.
func (r resolver) Resolve(ctx context.Context) (policy.Identity, error) {
	who, err := r.Resolver.Resolve(ctx)
	return policy.Identity(who), err
}
