package main

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// metricRow is a row of the guide's table of metrics.
var metricRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ((?:`[a-z_]+`(?:, )?)*) ?\\|.*\\|$")

// TestGuideNamesTheMetrics holds the guide's table against a real scrape: the same metrics with the same labels.
func TestGuideNamesTheMetrics(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", "observability.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Metrics\n")
	table, _, _ = strings.Cut(table, "\n## ")
	want := map[string][]string{}
	for _, row := range metricRow.FindAllStringSubmatch(table, -1) {
		labels := strings.FieldsFunc(row[2], func(r rune) bool { return strings.ContainsRune("`, ", r) })
		slices.Sort(labels)
		want[row[1]] = labels
	}
	_, address := pretendSeen(t)
	at, log := startLogged(t, "--admin-listen", "127.0.0.1:0", "--tally-url", address, "--key-file", keyFile(t, observedKey),
		"--events", "on", "--data-dir", t.TempDir())
	forms := tallydv1.NewFormServiceClient(connect(t, at))
	for _, id := range []string{"SecretForm", "SecretMissing"} {
		_, _ = forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: id})
		// This one is decoded, and so finds what the contract does not know.
		_, _ = forms.UpdateForm(t.Context(), &tallydv1.UpdateFormRequest{FormId: id, Settings: &tallydv1.FormSettings{Language: new("de")}})
	}
	got := map[string][]string{}
	for name, family := range families(t, log) {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		labels := map[string]bool{}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = true
			}
		}
		got[name] = slices.AppendSeq([]string{}, maps.Keys(labels))
		slices.Sort(got[name])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/guides/observability.md (-guide +scrape):\n%s", diff)
	}
}

// metricName is a metric in an expression of PromQL.
var metricName = regexp.MustCompile(`\b(tallyd|grpc|http|up)(_[a-z_]+)?\b`)

// TestDashboardAndAlertsKnowTheirMetrics holds that the shipped dashboard and alerts ask for metrics that the guide names.
func TestDashboardAndAlertsKnowTheirMetrics(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", "observability.md"))
	if err != nil {
		t.Fatal(err)
	}
	expression := regexp.MustCompile(`(?m)^ *"?expr"?: (.*)$`)
	for _, file := range []string{"grafana/tallyd.json", "prometheus/alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		found := expression.FindAllStringSubmatch(string(text), -1)
		if len(found) < 5 {
			t.Errorf("%s has %d expressions, want several", file, len(found))
		}
		for _, match := range found {
			bare := regexp.MustCompile(`\{[^}]*\}|by \([^)]*\)`).ReplaceAllString(match[1], "")
			for _, name := range metricName.FindAllString(bare, -1) {
				name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
				if name != "up" && !strings.Contains(string(guide), "`"+name+"`") {
					t.Errorf("%s asks for %s, which docs/guides/observability.md does not name", file, name)
				}
			}
		}
	}
}

// TestStatusPage reads the page of a running process as a person does.
func TestStatusPage(t *testing.T) {
	_, address := pretendSeen(t)
	at, log := startLogged(t, "--admin-listen", "127.0.0.1:0", "--tally-url", address, "--key-file", keyFile(t, observedKey))
	forms := tallydv1.NewFormServiceClient(connect(t, at))
	_, _ = forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "SecretMissing"})
	page := adminAddress(t, log)
	// The key is checked when a request for it is due, which may be after the one above.
	for limit := time.Now().Add(10 * time.Second); !strings.Contains(get(t, page+"/"), ">good<"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the key is not checked")
		}
	}
	for host, want := range map[string]int{"": 200, "localhost": 200, "evil.example": 403} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET / for host %q = %s, want %d", host, resp.Status, want)
		}
		shown := strings.Contains(string(body), "RESOURCE_NOT_FOUND") && strings.Contains(string(body), ">anonymous<") &&
			strings.Contains(string(body), ">good<") && strings.Contains(string(body), strings.TrimPrefix(address, "http://"))
		if shown != (want == 200) || strings.Contains(string(body), "SecretMissing") || strings.Contains(string(body), "tly-") {
			t.Errorf("GET / for host %q shows %s", host, body)
		}
	}
	resp, err := http.Get(page + "/nothing")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusNotFound {
		t.Errorf("GET /nothing = %s, want 404", resp.Status)
	}
}

// get returns what a page shows.
func get(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
