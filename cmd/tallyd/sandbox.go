package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/sandbox"
)

// sandboxKey is the key that the pretend Tally accepts; it guards nothing.
const sandboxKey = "tly-sandbox"

type sandboxCmd struct {
	Serve  sandboxServeCmd  `cmd:"" default:"withargs" help:"Serve the pretend Tally; it accepts the key tly-sandbox."`
	Submit sandboxSubmitCmd `cmd:"" help:"Answer a form of a running pretend Tally as a respondent would."`
}

type sandboxServeCmd struct {
	Listen     string  `default:"127.0.0.1:8181" env:"TALLYD_SANDBOX_LISTEN" placeholder:"ADDR" help:"HTTP."`
	Rate       int     `default:"100" env:"TALLYD_SANDBOX_RATE" placeholder:"N" help:"Requests a minute that are answered, the rest with 429; 0 for any number."`
	Seed       string  `env:"TALLYD_SANDBOX_SEED" placeholder:"FILE" help:"Data to start with, instead of the built-in company."`
	Faults     string  `env:"TALLYD_SANDBOX_FAULTS" placeholder:"FILE" help:"Script of what goes wrong, by route and call."`
	RetryScale float64 `default:"1" env:"TALLYD_SANDBOX_RETRY_SCALE" placeholder:"X" help:"Factor on Tally's schedule of webhook retries."`

	Assume map[string]string `env:"TALLYD_SANDBOX_ASSUME" placeholder:"ID=WAY;..." help:"What Tally does where nobody knows, such as settings-patch=replace or revoked-key=403; see docs/sandbox.md."`
}

// Run serves until ctx ends.
func (s sandboxServeCmd) Run(ctx context.Context, c console) error {
	options := []sandbox.Option{sandbox.WithRate(s.Rate), sandbox.WithRetryScale(s.RetryScale)}
	for id, way := range s.Assume {
		option, err := sandbox.Assume(id, way)
		if err != nil {
			return usagef("--assume: %w", err)
		}
		options = append(options, option)
	}
	if s.Seed != "" {
		options = append(options, sandbox.WithSeedFile(s.Seed))
	}
	if s.Faults != "" {
		script, err := sandbox.LoadFaults(s.Faults)
		if err != nil {
			return usageError{err}
		}
		options = append(options, sandbox.WithFaults(script))
	}
	address, stop, err := startSandbox(ctx, s.Listen, options...)
	if err != nil {
		return usageError{err}
	}
	defer stop()
	_, _ = fmt.Fprintf(c.out, "the pretend Tally is ready at %s and accepts the key %s\n", address, sandboxKey)
	<-ctx.Done()
	return nil
}

// startSandbox serves a pretend Tally and returns its address and what stops it.
func startSandbox(ctx context.Context, listen string, options ...sandbox.Option) (*url.URL, func(), error) {
	pretended, err := sandbox.New(options...)
	if err != nil {
		return nil, nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, nil, errors.Join(err, pretended.Close())
	}
	server := &http.Server{Handler: pretended.Handler(), ReadHeaderTimeout: 10 * time.Second}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	stop := sync.OnceFunc(func() {
		_ = server.Close()
		served.Wait()
		_ = pretended.Close()
	})
	return &url.URL{Scheme: "http", Host: listener.Addr().String()}, stop, nil
}

// fixedSource is the sandbox's key, which never changes.
type fixedSource struct{}

// Read returns the key.
func (fixedSource) Read() (apikey.Key, error) { return apikey.ParseKey(sandboxKey) }

// Watch waits for ctx to end.
func (fixedSource) Watch(ctx context.Context, changed func()) error {
	changed()
	<-ctx.Done()
	return nil
}

type sandboxSubmitCmd struct {
	Form string   `required:"" placeholder:"ID" env:"TALLYD_SANDBOX_FORM" help:"Form to answer."`
	URL  string   `default:"http://127.0.0.1:8181" placeholder:"URL" env:"TALLYD_SANDBOX_URL" help:"Where the pretend Tally is."`
	Lost bool     `name:"undelivered" env:"TALLYD_SANDBOX_UNDELIVERED" help:"No webhook ever gets it, as when Tally gave up."`
	Set  []string `placeholder:"TITLE=JSON" sep:"none" env:"TALLYD_SANDBOX_SET" help:"Answer to a question, by its title or id; believable ones are made up for a form without any."`
}

// Run answers the form and prints the submission's id.
func (s sandboxSubmitCmd) Run(ctx context.Context, c console) error {
	body, err := s.body()
	if err != nil {
		return err
	}
	address := strings.TrimSuffix(s.URL, "/") + "/_sandbox/forms/" + url.PathEscape(s.Form) + "/submissions"
	if s.Lost {
		address += "?undelivered=true"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return usageError{err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the pretend Tally answers %s: %s", resp.Status, answer)
	}
	_, err = fmt.Fprintln(c.out, strings.TrimSpace(string(answer)))
	return err
}

// body returns the answers as JSON; a value that is no JSON is text.
func (s sandboxSubmitCmd) body() (string, error) {
	if len(s.Set) == 0 {
		return "", nil
	}
	answers := map[string]any{}
	for _, pair := range s.Set {
		title, text, ok := strings.Cut(pair, "=")
		if !ok {
			return "", usagef("--set %q must be TITLE=JSON", pair)
		}
		var value any = text
		if json.Valid([]byte(text)) {
			value = json.RawMessage(text)
		}
		answers[title] = value
	}
	data, err := json.Marshal(answers)
	return string(data), err
}
