package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// standing asks how the caller stands with the quota.
func standing(t *testing.T, conn grpc.ClientConnInterface) *tallydv1.Quota {
	t.Helper()
	resp, err := tallydv1.NewQuotaServiceClient(conn).GetQuota(t.Context(), &tallydv1.GetQuotaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetQuota()
}

// spend makes a call that costs a request, and returns its cost as the trailer tells it.
func spend(t *testing.T, conn grpc.ClientConnInterface) string {
	t.Helper()
	var trailer metadata.MD
	_, err := tallydv1.NewSubmissionServiceClient(conn).ListSubmissions(t.Context(),
		&tallydv1.ListSubmissionsRequest{FormId: "Repair", PageSize: 1}, grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(trailer.Get("tallyd-cost"), ",")
}

// TestRestartRemembers starts tallyd anew with the same data directory: what the minute before saw still counts.
func TestRestartRemembers(t *testing.T) {
	args := []string{"--tally-url", pretend(t), "--key-file", keyFile(t, "tly-sandbox"), "--tally-rate", "50", "--data-dir", t.TempDir()}
	used := int32(0)
	t.Run("before", func(t *testing.T) {
		conn := connect(t, startTallyd(t, args...))
		if cost := spend(t, conn); cost != "1" {
			t.Errorf("tallyd-cost = %q, want 1", cost)
		}
		q := standing(t, conn)
		for wait := 0; q.GetUsed() < 2 && wait < 500; wait++ { // the key is checked beside the calls
			<-time.After(10 * time.Millisecond)
			q = standing(t, conn)
		}
		if used = q.GetUsed(); used < 2 || q.GetLimit() != 50 {
			t.Errorf("GetQuota() = %v, want the call and the check of the key of 50", q)
		}
	})
	t.Run("after", func(t *testing.T) {
		if q := standing(t, connect(t, startTallyd(t, args...))); q.GetUsed() < used {
			t.Errorf("GetQuota() after a restart = %v, want the %d of before at least", q, used)
		}
	})
}

// TestBadDataDir ends with one sentence that names the flag.
func TestBadDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--data-dir", file}, {"--tally-rate=-1"}, {"--cache-bytes=-1"}, {"--max-in-flight", "0"},
	} {
		code, _, complaint := command(t, append([]string{"serve", "--sandbox", "--listen", "127.0.0.1:0", "--admin-listen", ""}, args...)...)
		flag, _, _ := strings.Cut(args[0], "=")
		if code != 2 || !strings.Contains(complaint, flag) || strings.Count(complaint, "\n") != 1 {
			t.Errorf("serve %v = %d, %q, want 2 and a sentence that names %s", args, code, complaint, flag)
		}
	}
}

// TestCacheBytes remembers a form, or, without memory for it, does not.
func TestCacheBytes(t *testing.T) {
	for flag, want := range map[string]string{"--cache-bytes=67108864": "0", "--cache-bytes=0": "1"} {
		t.Run(flag, func(t *testing.T) {
			forms := tallydv1.NewFormServiceClient(connect(t, startTallyd(t, "--sandbox", flag)))
			var trailer metadata.MD
			for range 2 {
				trailer = nil
				if _, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "Repair"}, grpc.Trailer(&trailer)); err != nil {
					t.Fatal(err)
				}
			}
			if cost := strings.Join(trailer.Get("tallyd-cost"), ","); cost != want {
				t.Errorf("the second call cost %s, want %s", cost, want)
			}
		})
	}
}

// TestPageDrawsTheQuota shows on the status page what the quota, the cache and the breaker say.
func TestPageDrawsTheQuota(t *testing.T) {
	address, log := startLogged(t, "--sandbox", "--admin-listen", "127.0.0.1:0")
	spend(t, connect(t, address))
	resp, err := http.Get(adminAddress(t, log) + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"of 100 used; 0 calls wait", `title="anonymous"`, `title="tallyd"`, "let through", "0 calls</td>", "by Tally 1<"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
}
