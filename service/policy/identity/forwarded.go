package identity

import (
	"errors"
	"slices"
	"strings"
)

const (
	headerXFCC    = "x-forwarded-client-cert"
	headerLinkerd = "l5d-client-id"
	// maxHeader is the longest header that is read, in bytes.
	maxHeader = 8 << 10
)

// header returns the one value of a header that a trusted peer set; empty without one.
func (p Peers) header(c call, name string) (string, error) {
	values := c.md.Get(name)
	if len(values) == 0 || !p.trust(c.peer) {
		return "", nil
	}
	if len(values) > 1 {
		return "", errors.New("the call has several headers " + name + ", of which nobody knows which one the proxy set")
	}
	if len(values[0]) > maxHeader {
		return "", errors.New("the header " + name + " is too long")
	}
	return values[0], nil
}

type xfcc struct{ from Peers }

// XFCC takes the word of a sidecar or gateway for whom it verified: the last element of the header x-forwarded-client-cert.
func XFCC(from Peers) Source { return xfcc{from} }

func (xfcc) close() {}

func (x xfcc) identify(c call) (Identity, error) {
	header, err := x.from.header(c, headerXFCC)
	if err != nil || header == "" {
		return Identity{}, err
	}
	last, err := lastElement(header)
	if err != nil {
		return Identity{}, err
	}
	name, err := last.name()
	return Identity{Name: name, Source: "xfcc"}, err
}

// element is what an element of the header says of the client: those of its keys that name it.
type element struct {
	uris []string
	dns  []string
}

// name returns the SPIFFE id of the client, else its first DNS name, else nothing.
func (e element) name() (string, error) {
	at := slices.IndexFunc(e.uris, claimsSPIFFE)
	if at < 0 && len(e.dns) == 0 {
		return "", nil
	}
	if at < 0 {
		return dnsIdentity("dns", e.dns[0])
	}
	for _, other := range e.uris {
		if other != e.uris[at] {
			return "", errSeveralURIs
		}
	}
	return parseSPIFFE(e.uris[at])
}

var errXFCC = errors.New("the header " + headerXFCC + " does not keep its grammar")

// lastElement reads the whole header, so that no quote can hide where an element ends, and returns what the last one says.
func lastElement(header string) (element, error) {
	p := parser{rest: header}
	var last element
	for {
		last = element{}
		if err := p.element(&last); err != nil {
			return element{}, err
		}
		if p.rest == "" {
			return last, nil
		}
		p.rest = strings.TrimLeft(p.rest[1:], " ") // the comma between two elements, which a proxy may follow with a space
	}
}

// parser reads key=value pairs between semicolons, and elements between commas.
type parser struct{ rest string }

func (p *parser) element(e *element) error {
	for {
		key, value, err := p.pair()
		if err != nil {
			return err
		}
		switch strings.ToLower(key) {
		case "uri":
			e.uris = append(e.uris, value)
		case "dns":
			e.dns = append(e.dns, value)
		}
		if p.rest == "" || p.rest[0] == ',' {
			return nil
		}
		p.rest = p.rest[1:] // the semicolon between two pairs
	}
}

// pair reads one key=value and leaves what follows it: nothing, a comma or a semicolon.
func (p *parser) pair() (key, value string, err error) {
	at := strings.IndexByte(p.rest, '=')
	if at <= 0 || strings.ContainsFunc(p.rest[:at], func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' }) {
		return "", "", errXFCC
	}
	key, p.rest = p.rest[:at], p.rest[at+1:]
	if strings.HasPrefix(p.rest, `"`) {
		value, err = p.quoted()
	} else {
		end := strings.IndexAny(p.rest, ",;")
		if end < 0 {
			end = len(p.rest)
		}
		value, p.rest = p.rest[:end], p.rest[end:]
		if strings.ContainsAny(value, "\"\\") {
			err = errXFCC
		}
	}
	if err == nil && p.rest != "" && p.rest[0] != ',' && p.rest[0] != ';' {
		err = errXFCC
	}
	return key, value, err
}

// quoted reads a value between quotes, in which a backslash takes the next character as it is.
func (p *parser) quoted() (string, error) {
	var value strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return value.String(), nil
		case '\\':
			if i++; i == len(p.rest) {
				return "", errXFCC
			}
			value.WriteByte(p.rest[i])
		default:
			value.WriteByte(c)
		}
	}
	return "", errXFCC
}

type linkerd struct{ from Peers }

// Linkerd takes the word of Linkerd's proxy for whom it verified: the header l5d-client-id, a DNS name or a SPIFFE id.
func Linkerd(from Peers) Source { return linkerd{from} }

func (linkerd) close() {}

func (l linkerd) identify(c call) (Identity, error) {
	header, err := l.from.header(c, headerLinkerd)
	if err != nil || header == "" {
		return Identity{}, err
	}
	if strings.HasPrefix(header, spiffeScheme+"://") {
		name, err := parseSPIFFE(header)
		return Identity{Name: name, Source: "linkerd"}, err
	}
	name, err := dnsIdentity("linkerd", header)
	return Identity{Name: name, Source: "linkerd"}, err
}
