package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// deliveryLimit is how long a receiver has to answer. [behaviour delivery-limit]
const deliveryLimit = 10 * time.Second

// retryWaits is Tally's schedule; after the last the event is dropped.
// [behaviour delivery-retries]
var retryWaits = []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

const loopbackOnly = "not sent: the sandbox delivers to loopback addresses only"

// courier delivers events, one goroutine for each until it is delivered or
// dropped; stop waits for them all.
type courier struct {
	s      *Sandbox
	client *http.Client

	mu      sync.Mutex
	stopped bool
	round   *round
}

// round is all deliveries up to the next reset.
type round struct {
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup
}

func newRound() *round {
	r := &round{}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

func newCourier(s *Sandbox) *courier {
	return &courier{s: s, round: newRound(), client: &http.Client{
		Transport:     s.opts.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// parcel is what one delivery needs, copied while the lock was held.
type parcel struct {
	url     string
	header  http.Header
	payload []byte
}

func newParcel(w *webhook, payload []byte) parcel {
	header := http.Header{}
	for _, h := range w.HTTPHeaders {
		header.Set(h.Name, h.Value)
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "Tally Webhooks")
	if w.SigningSecret != nil && *w.SigningSecret != "" {
		header.Set("Tally-Signature", sign(*w.SigningSecret, payload))
	}
	return parcel{url: w.URL, header: header, payload: payload}
}

// sign is base64 of HMAC-SHA256 over the body as sent. [behaviour delivery-signature]
func sign(secret string, payload []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(payload)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// send delivers an event, retrying on Tally's schedule.
func (c *courier) send(w *webhook, e *event, payload []byte) {
	c.start(w, e, payload, len(retryWaits))
}

// once makes a single attempt, as a retry by hand does.
func (c *courier) once(w *webhook, e *event, payload []byte) { c.start(w, e, payload, 0) }

func (c *courier) start(w *webhook, e *event, payload []byte, retries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	r, p := c.round, newParcel(w, payload)
	r.running.Go(func() { c.carry(r.ctx, w, e, p, retries) })
}

func (c *courier) carry(ctx context.Context, w *webhook, e *event, p parcel, retries int) {
	for i := 0; ; i++ {
		result := c.attempt(ctx, p)
		if ctx.Err() != nil || !c.note(w, e, result, i, retries) {
			return
		}
		wait := time.NewTimer(time.Duration(float64(retryWaits[i]) * c.s.opts.retryScale))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// outcome is what one attempt came to; code 0 means no answer.
type outcome struct {
	code     int
	response string
	hopeless bool
}

func (o outcome) delivered() bool { return o.code >= 200 && o.code < 300 }

func (c *courier) attempt(ctx context.Context, p parcel) outcome {
	if !loopbackURL(p.url) {
		return outcome{response: loopbackOnly, hopeless: true}
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(p.payload))
	if err != nil {
		return outcome{response: err.Error(), hopeless: true}
	}
	req.Header = p.header.Clone()
	resp, err := c.client.Do(req)
	if err != nil {
		return outcome{}
	}
	defer func() { _ = resp.Body.Close() }()
	// What was read before an error is still worth showing.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	return outcome{code: resp.StatusCode, response: string(text)}
}

// note writes the attempt into the event log and says whether to go on.
// [behaviour event-statuses]
func (c *courier) note(w *webhook, e *event, o outcome, attempt, retries int) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	now := c.s.opts.clock().UTC()
	e.updatedAt, e.statusCode, e.response = now, nil, nil
	e.retry = max(e.retry, attempt)
	if o.code > 0 {
		e.statusCode = &o.code
	}
	if o.response != "" {
		e.response = &o.response
	}
	again := !o.delivered() && !o.hopeless && attempt < retries && c.s.state.webhook(w.ID) == w
	switch {
	case o.delivered():
		synced := stamp(now)
		e.status, w.LastSyncedAt = "SUCCEEDED", &synced
	case again || o.hopeless || retries == 0:
		e.status = "FAILED"
	default:
		e.status = "DROPPED"
	}
	c.s.opts.logger.Debug("delivery", "webhook", w.ID, "event", e.id, "delivery_status", e.status, "status", o.code)
	return again
}

// cancel abandons what is under way and waits for it to end. It waits without
// the lock: a delivery that ends may need the sandbox's, whose holder may be
// waiting for this one.
func (c *courier) cancel() {
	c.mu.Lock()
	old := c.round
	c.round = newRound()
	c.mu.Unlock()
	old.end()
	old.running.Wait()
}

func (c *courier) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.cancel()
	c.round.end()
	c.client.CloseIdleConnections()
}

// loopbackURL looks at the name alone, so that nothing is ever resolved.
func loopbackURL(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// loopbackTransport refuses at the socket too, should localhost be somewhere else.
func loopbackTransport() http.RoundTripper {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().IsLoopback() {
			return errors.New(loopbackOnly)
		}
		return nil
	}}
	return &http.Transport{DialContext: dialer.DialContext}
}
