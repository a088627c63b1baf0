package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// receiver is a round tripper in a receiver's place: no sockets, so that time
// may be virtual.
type receiver struct {
	mu     sync.Mutex
	at     []time.Time
	bodies []string
	header http.Header
	answer func(n int, req *http.Request) (*http.Response, error)
}

// RoundTrip notes the delivery and answers.
func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.at = append(r.at, time.Now())
	r.bodies = append(r.bodies, string(body))
	r.header = req.Header.Clone()
	n := len(r.at)
	r.mu.Unlock()
	return r.answer(n, req)
}

func (r *receiver) times() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Time(nil), r.at...)
}

func status(code int, body string) func(int, *http.Request) (*http.Response, error) {
	return func(int, *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, nil
	}
}

// hooked is a sandbox whose contact form has one webhook at the receiver.
func hooked(t *testing.T, r *receiver, address string, opts ...Option) (*Sandbox, *webhook) {
	t.Helper()
	s, err := New(append(opts, func(o *options) { o.transport = r })...)
	if err != nil {
		t.Fatalf("New() = %v, want no error", err)
	}
	secret := "s3cret"
	w := &webhook{
		ID: "whkNew", FormID: "Contct", URL: address, SigningSecret: &secret, IsEnabled: true,
		HTTPHeaders: []httpHeader{{"X-Source", "forms"}, {"User-Agent", "mine"}},
	}
	s.state.webhooks = []*webhook{w}
	return s, w
}

func (s *Sandbox) lastEvent(w *webhook) eventView {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := w.events[len(w.events)-1]
	return e.view(w, s.state.form(e.formID))
}

const local = "http://127.0.0.1:9/hook"

func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: status(204, "")}
		s, w := hooked(t, r, local)
		defer s.Close()
		id, err := s.Submit("Contct", nil)
		if err != nil {
			t.Fatalf("Submit() = %v, want no error", err)
		}
		synctest.Wait()
		e := s.lastEvent(w)
		if e.DeliveryStatus != "SUCCEEDED" || e.StatusCode == nil || *e.StatusCode != 204 || e.Response != nil || e.Retry != 0 {
			t.Errorf("event = %+v, want SUCCEEDED with 204", e)
		}
		if w.LastSyncedAt == nil {
			t.Errorf("LastSyncedAt = nil, want the delivery's time")
		}
		if string(e.Payload) != r.bodies[0] {
			t.Errorf("event payload = %s, want what was sent %s", e.Payload, r.bodies[0])
		}
		var sent deliveryBodyRead
		if err := json.Unmarshal([]byte(r.bodies[0]), &sent); err != nil || sent.Data.SubmissionID != id || sent.Data.ResponseID != id {
			t.Errorf("sent = %s (%v), want submission %s", r.bodies[0], err, id)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "User-Agent": "Tally Webhooks", "X-Source": "forms",
			"Tally-Signature": signature("s3cret", r.bodies[0]),
		} {
			if got := r.header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
	})
}

type deliveryBodyRead struct {
	EventID string `json:"eventId"`
	Data    struct {
		SubmissionID string `json:"submissionId"`
		ResponseID   string `json:"responseId"`
	} `json:"data"`
}

func signature(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestRetrySchedule(t *testing.T) {
	waits := []time.Duration{0, 5 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	for _, tc := range []struct {
		name      string
		scale     float64
		succeedAt int
		want      string
		wantTries int
	}{
		{"never", 1, 0, "DROPPED", 6},
		{"never, quickly", 0.001, 0, "DROPPED", 6},
		{"never, at once", 0, 0, "DROPPED", 6},
		{"at the third", 1, 3, "SUCCEEDED", 3},
		{"at the last", 0.5, 6, "SUCCEEDED", 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{}
				r.answer = func(n int, req *http.Request) (*http.Response, error) {
					if n == tc.succeedAt {
						return status(200, "ok")(n, req)
					}
					return status(503, "later")(n, req)
				}
				s, w := hooked(t, r, local, WithRetryScale(tc.scale))
				defer s.Close()
				if _, err := s.Submit("Contct", nil); err != nil {
					t.Fatalf("Submit() = %v, want no error", err)
				}
				time.Sleep(48 * time.Hour)
				synctest.Wait()
				at := r.times()
				if len(at) != tc.wantTries {
					t.Fatalf("tries = %d, want %d", len(at), tc.wantTries)
				}
				for i := 1; i < len(at); i++ {
					if got, want := at[i].Sub(at[i-1]), time.Duration(float64(waits[i])*tc.scale); got != want {
						t.Errorf("wait %d = %v, want %v", i, got, want)
					}
				}
				e := s.lastEvent(w)
				if e.DeliveryStatus != tc.want || e.Retry != tc.wantTries-1 {
					t.Errorf("event = %s after %d retries, want %s after %d", e.DeliveryStatus, e.Retry, tc.want, tc.wantTries-1)
				}
				for _, body := range r.bodies {
					if body != r.bodies[0] {
						t.Errorf("a retry sent %s, want the first payload", body)
					}
				}
			})
		})
	}
}

func TestEventBetweenRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: status(500, "oops")}
		s, w := hooked(t, r, local)
		defer s.Close()
		if _, err := s.Submit("Contct", nil); err != nil {
			t.Fatalf("Submit() = %v, want no error", err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		e := s.lastEvent(w)
		if e.DeliveryStatus != "FAILED" || e.Retry != 1 || *e.StatusCode != 500 || *e.Response != "oops" {
			t.Errorf("event = %+v, want FAILED after one retry with 500 oops", e)
		}
		if got := time.Time(e.UpdatedAt).Sub(time.Time(e.CreatedAt)); got != 5*time.Minute {
			t.Errorf("updated %v after creation, want 5m", got)
		}
	})
}

func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ int, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}
		s, w := hooked(t, r, local)
		defer s.Close()
		if _, err := s.Submit("Contct", nil); err != nil {
			t.Fatalf("Submit() = %v, want no error", err)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := s.lastEvent(w).DeliveryStatus; got != "QUEUED" {
			t.Errorf("status after 9 s = %s, want QUEUED", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if e := s.lastEvent(w); e.DeliveryStatus != "FAILED" || e.StatusCode != nil || e.Response != nil {
			t.Errorf("event after 10 s = %+v, want FAILED without status and response", e)
		}
	})
}

func TestOtherHostsAreNeverCalled(t *testing.T) {
	for _, address := range []string{"https://example.com/hook", "http://10.0.0.1/hook", "http://localhost.example.com", "http://127.0.0.1.example.com", "http://[2001:db8::1]/"} {
		t.Run(address, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answer: status(200, "")}
				s, w := hooked(t, r, address)
				defer s.Close()
				if _, err := s.Submit("Contct", nil); err != nil {
					t.Fatalf("Submit() = %v, want no error", err)
				}
				time.Sleep(48 * time.Hour)
				e := s.lastEvent(w)
				if e.DeliveryStatus != "FAILED" || e.Response == nil || *e.Response != loopbackOnly || len(r.times()) != 0 {
					t.Errorf("event = %+v after %d calls, want FAILED without a call", e, len(r.times()))
				}
			})
		})
	}
}

func TestLoopbackURL(t *testing.T) {
	for _, tc := range []struct {
		url  string
		want bool
	}{
		{"http://127.0.0.1:8080/x", true},
		{"http://127.9.9.9", true},
		{"https://[::1]:443/", true},
		{"http://localhost:1", true},
		{"http://LOCALHOST", false},
		{"http://0.0.0.0", false},
		{"http://192.168.1.1", false},
		{"http://example.com", false},
		{"http://2130706433", false},
		{"://", false},
		{"", false},
	} {
		if got := loopbackURL(tc.url); got != tc.want {
			t.Errorf("loopbackURL(%q) = %v, want %v", tc.url, got, tc.want)
		}
	}
}

// The name may be localhost and the address another: the socket looks again.
func TestLoopbackTransport(t *testing.T) {
	req := httptest.NewRequest(http.MethodGet, "http://192.0.2.1/", nil)
	resp, err := loopbackTransport().RoundTrip(req.WithContext(t.Context()))
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), loopbackOnly) {
		t.Errorf("RoundTrip(192.0.2.1) = %v, want %q", err, loopbackOnly)
	}
}

func TestDeliveryStopsWithItsWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: status(500, "")}
		s, _ := hooked(t, r, local)
		defer s.Close()
		if _, err := s.Submit("Contct", nil); err != nil {
			t.Fatalf("Submit() = %v, want no error", err)
		}
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.state.webhooks = nil
		s.mu.Unlock()
		time.Sleep(48 * time.Hour)
		if got := len(r.times()); got > 2 {
			t.Errorf("tries = %d, want at most one after the webhook went", got)
		}
	})
}

func TestCloseEndsDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(int, *http.Request) (*http.Response, error) { return nil, errors.New("refused") }}
		s, w := hooked(t, r, local)
		for range 5 {
			if _, err := s.Submit("Contct", nil); err != nil {
				t.Fatalf("Submit() = %v, want no error", err)
			}
		}
		synctest.Wait()
		before := time.Now()
		s.Close()
		if took := time.Since(before); took != 0 {
			t.Errorf("Close() took %v, want it not to wait for retries", took)
		}
		if _, err := s.Submit("Contct", nil); err != nil {
			t.Errorf("Submit() after Close = %v, want no error", err)
		}
		time.Sleep(48 * time.Hour)
		if got := len(r.times()); got != 5 {
			t.Errorf("tries = %d, want none after Close", got)
		}
		if got := s.lastEvent(w).DeliveryStatus; got != "QUEUED" {
			t.Errorf("event after Close = %s, want it to stay QUEUED", got)
		}
	})
}

func TestResetEndsDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: status(500, "")}
		s, _ := hooked(t, r, local)
		defer s.Close()
		if _, err := s.Submit("Contct", nil); err != nil {
			t.Fatalf("Submit() = %v, want no error", err)
		}
		synctest.Wait()
		if err := s.Reset(); err != nil {
			t.Fatalf("Reset() = %v, want no error", err)
		}
		time.Sleep(48 * time.Hour)
		if got := len(r.times()); got != 1 {
			t.Errorf("tries = %d, want none after Reset", got)
		}
	})
}

func TestNoSecretNoSignature(t *testing.T) {
	blank := ""
	for _, secret := range []*string{nil, &blank} {
		p := newParcel(&webhook{URL: local, SigningSecret: secret}, []byte("{}"))
		if got := p.header.Get("Tally-Signature"); got != "" {
			t.Errorf("Tally-Signature = %q, want none", got)
		}
	}
}

func TestSignature(t *testing.T) {
	if got, want := sign("key", []byte(`{"a":1}`)), signature("key", `{"a":1}`); got != want {
		t.Errorf("sign() = %s, want %s", got, want)
	}
}

// settle waits until no delivery is under way.
func (s *Sandbox) settle() {
	s.courier.mu.Lock()
	round := s.courier.round
	s.courier.mu.Unlock()
	round.running.Wait()
}

// Deliveries over a real socket, redirects not followed.
func TestDeliveryOverTheWire(t *testing.T) {
	var mu sync.Mutex
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.Method+" "+r.URL.Path+" by "+r.UserAgent())
		mu.Unlock()
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	b := start(t, WithRetryScale(0))
	id := b.do("POST /webhooks", `{"formId":"Contct","url":"`+server.URL+`/hook","eventTypes":["FORM_RESPONSE"]}`).want(201).at("id").(string)
	if _, err := b.s.Submit("Contct", nil); err != nil {
		t.Fatalf("Submit() = %v, want no error", err)
	}
	b.s.settle()
	b.do("GET /webhooks/"+id+"/events").want(200).wantAt("events.0.deliveryStatus", "DROPPED").
		wantAt("events.0.statusCode", 307.0).wantAt("events.0.retry", 5.0)
	if len(got) != 6 {
		t.Errorf("deliveries = %d, want 6", len(got))
	}
	for _, call := range got {
		if call != "POST /hook by Tally Webhooks" {
			t.Errorf("delivery = %s, want POST /hook by Tally Webhooks", call)
		}
	}
}

// TestUndelivered: nobody gets a delivery that was given up at once, and
// Tally's list of them says so.
func TestUndelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: status(204, "")}
		s, w := hooked(t, r, "http://127.0.0.1:1/")
		id, err := s.SubmitUndelivered(w.FormID, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		if n := len(r.times()); n != 0 {
			t.Errorf("%d deliveries were tried, want none", n)
		}
		s.mu.Lock()
		last := w.events[len(w.events)-1]
		s.mu.Unlock()
		if last.submission.id != id || last.status != "DROPPED" || last.retry != 5 || last.statusCode != nil {
			t.Errorf("the last delivery is of %s, %s after %d retries, want of %s, DROPPED after 5", last.submission.id, last.status, last.retry, id)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
