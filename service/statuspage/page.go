package statuspage

import (
	"bytes"
	_ "embed"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Facts are what the page says beyond the calls.
type Facts struct {
	// Version and Revision are the program's.
	Version, Revision string
	// Started is when it started.
	Started time.Time
	// TallyHost is where Tally is.
	TallyHost string
	// KeyAlias names the key in use, KeyState is "good", "rejected" or "unknown", and KeySince is since when; zero for unknown.
	KeyAlias, KeyState string
	KeySince           time.Time
	// Drift counts the values in Tally's answers that the contract does not know.
	Drift int64
	// Quota is how things are with Tally's requests; nil where any number may be made.
	Quota *Quota
	// CircuitOpen tells that requests are suspended after Tally failed again and again.
	CircuitOpen bool
	// InFlight is how many calls are under way.
	InFlight int64
	// Memory is what is remembered of Tally's answers.
	Memory Memory
	// Events is how things are with the log of events; nil where none is kept.
	Events *Events
}

//go:embed page.html
var source string

// Handler returns the page of what recorder remembers and facts says. It answers people on this machine alone.
func Handler(recorder *Recorder, facts func() Facts) http.Handler {
	page := template.Must(template.New("page").Funcs(template.FuncMap{"instant": instant}).Parse(source))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if why := refusal(r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		var text bytes.Buffer
		if err := page.Execute(&text, newView(recorder, facts(), time.Now())); err != nil {
			http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(text.Bytes())
	})
}

// protect keeps the page out of caches and other pages, and everything but its own text out of it.
func protect(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
}

// forwarding are headers of proxies: behind one, the peer is the proxy and says nothing of who asks.
var forwarding = [...]string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Client-Cert", "X-Envoy-Peer-Metadata-Id", "L5d-Client-Id"}

// refusal says in a sentence why a request is not answered; empty for one from this machine.
func refusal(r *http.Request) string {
	if !isNear(r) {
		return "This page answers this machine alone: use kubectl port-forward or ssh -L."
	}
	if slices.ContainsFunc(forwarding[:], func(name string) bool { return r.Header.Values(name) != nil }) {
		return "This page answers no proxy: use kubectl port-forward or ssh -L."
	}
	// A foreign page whose name suddenly means this machine would be read by its own origin.
	if !isOwnName(r.Host) {
		return "This page goes by localhost or a loopback address alone."
	}
	return ""
}

// isNear reports whether the peer is on this machine. A sidecar hands on calls of the whole world from 127.0.0.6, so only the two
// addresses count that everybody uses.
func isNear(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	address := peer.Addr().Unmap()
	return address == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || address == netip.IPv6Loopback()
}

func isOwnName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || (err == nil && ip.IsLoopback())
}

// view is what the template shows.
type view struct {
	Facts

	Now     time.Time
	Uptime  time.Duration
	Callers []callerRow
	More    int // callers that are not shown
	Reasons []reasonRow
	Errors  []Call
	Bar     []segment
}

// reasonRow says how many of the latest errors have a reason.
type reasonRow struct {
	Reason string
	Count  int
}

func newView(recorder *Recorder, facts Facts, now time.Time) view {
	v := view{Facts: facts, Bar: facts.Quota.bar(), Now: now, Uptime: now.Sub(facts.Started).Truncate(time.Second), Errors: recorder.recent(), Callers: recorder.all()}
	if len(v.Callers) > shownCallers {
		v.More = len(v.Callers) - shownCallers
		v.Callers = v.Callers[:shownCallers]
	}
	for _, call := range v.Errors {
		i := slices.IndexFunc(v.Reasons, func(row reasonRow) bool { return row.Reason == call.Reason })
		if i < 0 {
			i = len(v.Reasons)
			v.Reasons = append(v.Reasons, reasonRow{Reason: call.Reason})
		}
		v.Reasons[i].Count++
	}
	slices.SortStableFunc(v.Reasons, func(a, b reasonRow) int { return b.Count - a.Count })
	return v
}

// instant is a time as the page writes it.
func instant(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
