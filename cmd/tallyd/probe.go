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
}

// Run ends with an error, and so with exit code 1, unless the answer is SERVING.
func (p probeCmd) Run(ctx context.Context, c console) error {
	if p.Timeout <= 0 {
		return usagef("--timeout must be more than 0")
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if err := service.Probe(ctx, p.Address, p.Service); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.out, "SERVING")
	return err
}
