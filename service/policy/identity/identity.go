package identity

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// Identity is who a caller is, as far as proven. The zero Identity is nobody.
type Identity struct {
	// Name is a SPIFFE id as it is; else it has its kind in front: dns:NAME, linkerd:NAME, or jwt:ISSUER:SUBJECT.
	Name string
	// Source is how it was proven: mtls, xfcc, linkerd or jwt.
	Source string
}

// ErrNobody says that a call brings no proof at all.
var ErrNobody = errors.New("the call brings no identity that this service accepts")

// Source is one way to prove who one is.
type Source interface {
	// identify returns who made the call; the zero Identity when the call brings no such proof, and an error when it brings a bad one.
	identify(c call) (Identity, error)
	close()
}

// call is what a call brings.
type call struct {
	ctx  context.Context //nolint:containedctx // it lives no longer than the call
	peer *peer.Peer
	md   metadata.MD
}

// Resolver tries its sources in order.
type Resolver struct{ sources []Source }

// New returns a resolver. The first source that proves somebody wins, and a proof that is there but bad ends the search: whoever sends a
// forged or expired token must not pass for somebody else by a weaker proof. What an untrusted peer says of others is no proof, and
// passed over.
func New(sources ...Source) *Resolver { return &Resolver{sources: sources} }

// Resolve returns who made the call that ctx belongs to. It returns ErrNobody, or an error in one sentence that holds nothing secret.
func (r *Resolver) Resolve(ctx context.Context) (Identity, error) {
	c := call{ctx: ctx}
	c.peer, _ = peer.FromContext(ctx)
	c.md, _ = metadata.FromIncomingContext(ctx)
	for _, source := range r.sources {
		who, err := source.identify(c)
		if err == nil && who.Name != "" {
			err = checkName(who.Name)
		}
		if err != nil {
			return Identity{}, err
		}
		if who.Name != "" {
			return who, nil
		}
	}
	return Identity{}, ErrNobody
}

// Close ends what the sources keep open.
func (r *Resolver) Close() {
	for _, source := range r.sources {
		source.close()
	}
}

// maxName is the longest name, in bytes.
const maxName = 512

var errName = fmt.Errorf("the caller's name has spaces, control characters or more than %d bytes", maxName)

// checkName refuses names that would not survive a log line or a policy.
func checkName(name string) error {
	if len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errName
	}
	return nil
}

const spiffeScheme = "spiffe"

// The grammar of SPIFFE ids.
var (
	trustDomain = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`)
	pathSegment = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

var errSPIFFE = errors.New("the caller's SPIFFE id is not one: it must be spiffe://TRUST-DOMAIN/PATH and nothing more")

// spiffeID returns a SPIFFE id as it is compared.
func spiffeID(id *url.URL) (string, error) {
	// Host holds a port and everything else that an id must not have; the grammar of the trust domain refuses it.
	bare := id.User == nil && id.RawQuery == "" && id.Fragment == "" && id.Opaque == "" && id.RawPath == "" && !id.ForceQuery
	if id.Scheme != spiffeScheme || !bare || !trustDomain.MatchString(id.Host) {
		return "", errSPIFFE
	}
	if id.Path == "" {
		return spiffeScheme + "://" + id.Host, nil
	}
	for segment := range strings.SplitSeq(strings.TrimPrefix(id.Path, "/"), "/") {
		if segment == "." || segment == ".." || !pathSegment.MatchString(segment) {
			return "", errSPIFFE
		}
	}
	return spiffeScheme + "://" + id.Host + id.Path, nil
}

// errSeveralURIs is of certificates, whoever checked them: one that has several URIs is no SPIFFE certificate.
var errSeveralURIs = errors.New("the caller's certificate names several URIs, so that none of them is a SPIFFE identity")

// claimsSPIFFE tells whether a URI is meant for a SPIFFE id, well written or not.
func claimsSPIFFE(text string) bool {
	scheme, _, found := strings.Cut(text, ":")
	return found && strings.EqualFold(scheme, spiffeScheme)
}

// parseSPIFFE returns the SPIFFE id in a text that is nothing else.
func parseSPIFFE(text string) (string, error) {
	id, err := url.Parse(text)
	if err != nil {
		return "", errSPIFFE
	}
	name, err := spiffeID(id)
	if err == nil && name != text {
		return "", errSPIFFE
	}
	return name, err
}

var dnsName = regexp.MustCompile(`^[a-z0-9_*]([a-z0-9_.-]{0,251}[a-z0-9])?$`)

// dnsIdentity returns the identity of a DNS name.
func dnsIdentity(kind, name string) (string, error) {
	name = strings.ToLower(name)
	if !dnsName.MatchString(name) {
		return "", errors.New("the caller's DNS name is not one")
	}
	return kind + ":" + name, nil
}
