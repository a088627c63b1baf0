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
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			address, addressErr := netip.ParseAddr(text)
			if addressErr != nil {
				return Peers{}, fmt.Errorf("from: %q is neither an address range such as 10.0.0.0/8 nor unix", text)
			}
			prefix = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
		}
		peers.prefixes = append(peers.prefixes, prefix.Masked())
	}
	return peers, nil
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
