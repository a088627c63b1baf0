package identity

import (
	"fmt"
	"net"
	"net/netip"

	"google.golang.org/grpc/peer"
)

// Peers are the peers whose word about others counts.
type Peers struct {
	prefixes []netip.Prefix
	unix     bool
}

const wordUnix = "unix"

// ParsePeers reads address ranges such as 10.0.0.0/8 or single addresses, and the word unix for a unix socket. It returns an error
// that names what it cannot read.
func ParsePeers(list []string) (Peers, error) {
	var peers Peers
	for _, text := range list {
		if text == wordUnix {
			peers.unix = true
			continue
		}
		prefix, err := parseRange(text)
		if err != nil {
			return Peers{}, err
		}
		peers.prefixes = append(peers.prefixes, prefix)
	}
	return peers, nil
}

// parseRange reads a range or an address as peers' addresses are compared: IPv4 within IPv6 is IPv4, and there are no zones.
func parseRange(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		address, addressErr := netip.ParseAddr(text)
		if addressErr != nil || address.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("from: %q is neither an address range such as 10.0.0.0/8 nor unix", text)
		}
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	const mapped = 96 // bits before the IPv4 address
	if prefix.Addr().Is4In6() && prefix.Bits() >= mapped {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
	}
	return prefix.Masked(), nil
}

// DefaultPeers are the neighbours on this machine: a sidecar shares its pod's loopback.
func DefaultPeers() Peers {
	return Peers{
		prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		unix:     true,
	}
}

// trust reports whether the peer is one of them.
func (p Peers) trust(at *peer.Peer) bool {
	if at == nil || at.Addr == nil {
		return false
	}
	switch address := at.Addr.(type) {
	case *net.UnixAddr:
		return p.unix
	case *net.TCPAddr:
		ip := address.AddrPort().Addr().Unmap().WithZone("")
		for _, prefix := range p.prefixes {
			if prefix.Contains(ip) {
				return true
			}
		}
	}
	return false
}
