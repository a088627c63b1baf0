package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	t0 := time.Now()
	s, err := New(WithRate(0))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("start", time.Since(t0))
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	defer s.Close()
	for _, p := range []string{"/users/me", "/forms?limit=2", "/forms/Feedbk", "/forms/Feedbk/questions", "/forms/Feedbk/submissions?limit=2", "/forms/Feedbk/submissions?limit=500", "/forms/QuizMe/submissions?limit=2", "/workspaces", "/webhooks", "/webhooks/whkCrm/events", "/forms/Feedbk/analytics/drop-off?period=all", "/forms/Choirs", "/forms?foo=1", "/forms/Whsale/submissions?limit=1"} {
		req, _ := http.NewRequest("GET", srv.URL+p, nil)
		req.Header.Set("Authorization", "Bearer tly-sandbox")
		t1 := time.Now()
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Println(p, r.StatusCode, len(b), time.Since(t1))
		if len(b) > 2600 {
			b = b[:2600]
		}
		fmt.Println(string(b))
	}
}
