package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tallyd/tallyd/service"
)

type probeCmd struct {
	Address string        `arg:"" optional:"" default:"127.0.0.1:50051" env:"TALLYD_LISTEN" help:"HOST:PORT or unix:PATH."`
	Service string        `placeholder:"NAME" help:"Health service name: empty for the process, tally for the key."`
	Timeout time.Duration `default:"2s" placeholder:"DURATION" help:"How long to wait."`
	TLSCert string        `name:"tls-cert" placeholder:"FILE" help:"The server's own certificate, as serve has it: speak TLS and trust it alone."`
	TLSKey  string        `name:"tls-key" placeholder:"FILE" help:"Its private key."`
}

// Run ends with an error, and so with exit code 1, unless the answer is SERVING.
func (p probeCmd) Run(ctx context.Context, c console) error {
	if p.Timeout <= 0 {
		return usagef("--timeout must be more than 0")
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if (p.TLSCert == "") != (p.TLSKey == "") {
		return usagef("--tls-cert and --tls-key belong together")
	}
	if err := service.Probe(ctx, p.Address, p.Service, service.TLSFiles{Cert: p.TLSCert, Key: p.TLSKey}); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.out, "SERVING")
	return err
}
