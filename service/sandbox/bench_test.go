package sandbox

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkList is the largest page of submissions; others measure through the
// sandbox, so it should cost little beside what they measure.
func BenchmarkList(b *testing.B) {
	for _, bm := range []struct{ name, path string }{
		{"forms", "/forms"},
		{"50 submissions", "/forms/Feedbk/submissions"},
		{"500 submissions", "/forms/Feedbk/submissions?limit=500"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s, err := New(WithRate(0))
			if err != nil {
				b.Fatalf("New() = %v, want no error", err)
			}
			defer s.Close()
			handler := s.Handler()
			for b.Loop() {
				req := httptest.NewRequest(http.MethodGet, bm.path, nil)
				req.Header.Set("Authorization", "Bearer tly-sandbox")
				req.Header.Set("User-Agent", "bench")
				rec := httptest.NewRecorder()
				if handler.ServeHTTP(rec, req); rec.Code != http.StatusOK {
					b.Fatalf("GET %s = %d, want 200", bm.path, rec.Code)
				}
			}
		})
	}
}

// BenchmarkNew is what tallyd pays when it starts with its sandbox.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		s, err := New()
		if err != nil {
			b.Fatalf("New() = %v, want no error", err)
		}
		s.Close()
	}
}
