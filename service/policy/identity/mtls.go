package identity

import (
	"crypto/x509"
	"errors"

	"google.golang.org/grpc/credentials"
)

type mtls struct{}

// MTLS takes the name in the certificate that the caller showed and that was verified: its SPIFFE id, else its first DNS name.
func MTLS() Source { return mtls{} }

func (mtls) close() {}

func (mtls) identify(c call) (Identity, error) {
	if c.peer == nil {
		return Identity{}, nil
	}
	info, ok := c.peer.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return Identity{}, nil
	}
	leaf := info.State.VerifiedChains[0][0]
	for _, id := range leaf.URIs {
		if id.Scheme != spiffeScheme {
			continue
		}
		if len(leaf.URIs) > 1 {
			return Identity{}, errSeveralURIs
		}
		// The standard of SPIFFE certificates demands this: an authority's id is no caller's.
		if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
			return Identity{}, errors.New("the caller's certificate is an authority's, which is no SPIFFE identity")
		}
		name, err := spiffeID(id)
		return Identity{Name: name, Source: "mtls"}, err
	}
	if len(leaf.DNSNames) == 0 {
		return Identity{}, nil
	}
	name, err := dnsIdentity("dns", leaf.DNSNames[0])
	return Identity{Name: name, Source: "mtls"}, err
}
