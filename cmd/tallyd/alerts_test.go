package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tallyd/tallyd/service/events"
)

// source is the text of all Go files below the folders that make up the binary, tests left out.
func source(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range []string{".", filepath.Join("..", "..", "service")} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAlertsQuoteTheLog holds that a log line which an alert tells operators to look for is one that tallyd writes.
func TestAlertsQuoteTheLog(t *testing.T) {
	words := regexp.MustCompile(`\s+`).ReplaceAllString(deployed(t, "alerts.yaml"), " ")
	quoted := regexp.MustCompile(`log line "([^"]+)"`).FindAllStringSubmatch(words, -1)
	if len(quoted) < 8 {
		t.Errorf("alerts quote %d log lines, want several", len(quoted))
	}
	code := source(t)
	for _, q := range quoted {
		if !strings.Contains(code, `"`+q[1]) {
			t.Errorf("an alert quotes the log line %q, which tallyd never writes", q[1])
		}
	}
}

// TestAlertsAreTried holds that each alert is tried where it must fire, says what to do, and asks for outcomes that there are.
func TestAlertsAreTried(t *testing.T) {
	alerts, tests := deployed(t, "alerts.yaml"), deployed(t, "alerts_test.yaml")
	for _, rule := range strings.Split(alerts, "- alert: ")[1:] {
		name, _, _ := strings.Cut(rule, "\n")
		if !strings.Contains(tests, `{labels: '{alertname="`+name+`"}', value: 1}`) {
			t.Errorf("no test of alerts_test.yaml makes %s fire", name)
		}
		for _, want := range []string{"summary: ", "description: ", "severity: "} {
			if !strings.Contains(rule, want) {
				t.Errorf("%s has no %s", name, want)
			}
		}
	}
	for _, asked := range regexp.MustCompile(`outcome=~?"([^"]+)"`).FindAllStringSubmatch(alerts, -1) {
		for outcome := range strings.SplitSeq(asked[1], "|") {
			if !slices.Contains(events.Outcomes(), outcome) {
				t.Errorf("an alert asks for the outcome %q, of which there is none", outcome)
			}
		}
	}
}
