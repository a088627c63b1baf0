// Command tallyd serves Tally's forms API over gRPC. It wires the rooms of service/ together and knows nothing that they could know.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the command line; each field is a command with its flags.
type commands struct {
	Serve   serveCmd   `cmd:"" help:"Serve Tally's API over gRPC."`
	Sandbox sandboxCmd `cmd:"" help:"Serve a pretend Tally over HTTP, or answer one of its forms."`
	Doctor  doctorCmd  `cmd:"" help:"Try the key and the configuration against Tally, read-only, in at most 4 requests."`
	Policy  policyCmd  `cmd:"" help:"Check a policy, or explain what it decides."`
	Proto   protoCmd   `cmd:"" help:"Write the contract for clients in other languages."`
	Probe   probeCmd   `cmd:"" help:"Ask a running tallyd for its health, for containers without a shell."`
	Version versionCmd `cmd:"" help:"Print the version."`

	ShowVersion versionFlag `name:"version" env:"-" help:"Print the version."`
}

// console is where a command reads and writes.
type console struct {
	out, err io.Writer
}

// usageError is bad configuration: it ends the process with exit code 2 before anything listens.
type usageError struct{ error }

// Unwrap returns the cause.
func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

const (
	exitFailure = 1
	exitUsage   = 2
)

// idleGC lets garbage grow to four times what lives before it is collected. So little lives in this process that collecting at twice
// as much, which is Go's habit, would be a fifth of the work on a page of answers. GOGC overrides it.
const idleGC = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(idleGC)
	}
	log.SetFlags(0)
	log.SetOutput(libraryLog{newLogger(os.Stderr, "auto")})
	os.Exit(run(untilSignal(), os.Args[1:], console{out: os.Stdout, err: os.Stderr}))
}

// untilSignal returns a context that ends with the first signal. The second one ends the process at once: it is let through before anybody
// hears of the first.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx
}

// run carries out a command line and returns the process's exit code.
func run(ctx context.Context, args []string, c console) int {
	code := -1
	parser, err := kong.New(&commands{},
		kong.Name("tallyd"),
		kong.Description("One Tally key, many services: Tally's forms API over gRPC."),
		kong.Writers(c.out, c.err),
		kong.Exit(func(n int) { code = n }),
		kong.DefaultEnvars("TALLYD"),
		kong.Vars{"tally_version": tallyVersion, "tally_url": defaultURL},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(c),
		kong.ValueFormatter(describe),
	)
	if err != nil {
		return complain(c, exitFailure, err)
	}
	command, err := parser.Parse(args)
	// Help ends the parser by its exit function and lets it go on all the same.
	if code >= 0 {
		return code
	}
	if err != nil {
		return complain(c, exitUsage, err)
	}
	err = command.Run()
	if _, usage := errors.AsType[usageError](err); usage {
		return complain(c, exitUsage, err)
	}
	if err != nil {
		return complain(c, exitFailure, err)
	}
	return 0
}

// describe explains a flag with its default and its environment variable, which kong leaves out where a placeholder says more.
func describe(v *kong.Value) string {
	var notes []string
	if v.HasDefault && v.Default != "" {
		notes = append(notes, "default "+v.Default)
	}
	for _, name := range v.Tag.Envs {
		notes = append(notes, "$"+name)
	}
	if len(notes) == 0 {
		return v.Help
	}
	return strings.TrimSuffix(v.Help, ".") + " (" + strings.Join(notes, ", ") + ")."
}

func complain(c console, code int, err error) int {
	_, _ = fmt.Fprintf(c.err, "tallyd: %v\n", err)
	return code
}
