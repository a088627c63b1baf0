package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

const (
	// tallyVersion pins the shapes of Tally's answers, which otherwise depend on the age of the key.
	tallyVersion = "2026-08-04"
	keyVariable  = "TALLY_API_KEY"
	defaultURL   = "https://api.tally.so"
)

// upstreamFlags say where Tally is and with which key to speak to it.
type upstreamFlags struct {
	TallyURL     string `default:"${tally_url}" placeholder:"URL" help:"Tally's address; plain http only for loopback."`
	TallyVersion string `default:"${tally_version}" placeholder:"DATE" help:"Sent as tally-version with every request."`
	KeyFile      string `placeholder:"PATH" help:"File holding the Tally key, re-read on change; else the environment variable TALLY_API_KEY."`
}

// base returns Tally's address.
func (f upstreamFlags) base() (*url.URL, error) {
	base, err := url.Parse(f.TallyURL)
	if err != nil || base.Hostname() == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, usagef("--tally-url must be an https address, such as https://api.tally.so")
	}
	if base.Scheme == "http" && !isLoopback(base.Hostname()) {
		return nil, usagef("--tally-url must be https, since the key would travel in clear; plain http is for loopback alone")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "" {
		return nil, usagef("--tally-url must not have a user, a path, a query or a fragment")
	}
	return base, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

// source returns where the key comes from, or nil when nothing names one.
func (f upstreamFlags) source(log *slog.Logger) apikey.Source {
	if f.KeyFile != "" {
		return apikey.FromFile(f.KeyFile, log)
	}
	if os.Getenv(keyVariable) != "" {
		return apikey.FromEnv(keyVariable)
	}
	return nil
}

func (f upstreamFlags) checkVersion() error {
	if _, err := time.Parse(time.DateOnly, f.TallyVersion); err == nil {
		return nil
	}
	return usagef("--tally-version must be a date such as %s", tallyVersion)
}

// newContract compiles the contract's bindings.
func newContract() (*tally.Contract, error) {
	contract, err := tally.NewContract(
		tallydv1.File_tallyd_v1_user_service_proto,
		tallydv1.File_tallyd_v1_organization_service_proto,
		tallydv1.File_tallyd_v1_workspace_service_proto,
		tallydv1.File_tallyd_v1_form_service_proto,
		tallydv1.File_tallyd_v1_submission_service_proto,
		tallydv1.File_tallyd_v1_analytics_service_proto,
		tallydv1.File_tallyd_v1_webhook_service_proto,
	)
	if err != nil {
		return nil, fmt.Errorf("compile the contract: %w", err)
	}
	return contract, nil
}

// userAgent names this program to Tally's edge, which refuses the defaults of HTTP libraries.
func userAgent() string { return "tallyd/" + version + " (+https://github.com/tallyd/tallyd)" }
