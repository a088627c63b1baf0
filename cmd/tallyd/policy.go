package main

import (
	"errors"
	"fmt"

	"github.com/tallyd/tallyd/service/policy"
)

// policyCmd looks at a policy without serving.
type policyCmd struct {
	Check   policyCheckCmd   `cmd:"" help:"Say what is wrong with a policy file, by line and rule."`
	Explain policyExplainCmd `cmd:"" help:"Say whether a call would be let through, and which line decides."`
}

type policyCheckCmd struct {
	File string `arg:"" placeholder:"FILE" help:"The policy."`
}

// Run reads the file as serve would.
func (p policyCheckCmd) Run(c console) error {
	read, err := policy.Load(p.File)
	if found, ok := errors.AsType[*policy.Error](err); ok {
		for _, problem := range found.Problems {
			_, _ = fmt.Fprintln(c.out, problem)
		}
		return usagef("%s: %d to mend", p.File, len(found.Problems))
	}
	if err != nil {
		return usageError{err}
	}
	shadow := ""
	if read.Shadow {
		shadow = "; shadow: true, so it denies nothing yet"
	}
	_, _ = fmt.Fprintf(c.out, "%s: %d callers, no problems%s\n", p.File, len(read.Callers), shadow)
	return nil
}

type policyExplainCmd struct {
	Policy       string `required:"" placeholder:"FILE" help:"The policy."`
	Caller       string `required:"" env:"-" placeholder:"NAME" help:"Name of an entry, or an identity such as spiffe://cluster.local/ns/shop/sa/orders."`
	Method       string `required:"" env:"-" placeholder:"SERVICE/METHOD" help:"The call, such as FormService/GetForm."`
	Form         string `env:"-" placeholder:"ID" help:"Form that the call is about."`
	Workspace    string `env:"-" placeholder:"ID" help:"Workspace that the call is about, or in which the form lies."`
	Folder       string `env:"-" placeholder:"ID" help:"Folder that the call is about, or in which the form lies."`
	Organization string `env:"-" placeholder:"ID" help:"Organization that the call is about."`
}

// Run prints the verdict and the line that decides.
func (p policyExplainCmd) Run(c console) error {
	read, err := policy.Load(p.Policy)
	if err != nil {
		return usageError{err}
	}
	found, err := read.Explain(policy.Question{
		Caller: p.Caller, Method: p.Method, Form: p.Form, Workspace: p.Workspace, Folder: p.Folder, Organization: p.Organization,
	})
	if err != nil {
		return usageError{err}
	}
	_, _ = fmt.Fprintf(c.out, "%s: %s\n", found.Verdict, found.Why)
	for _, line := range found.Also {
		_, _ = fmt.Fprintf(c.out, "  %s\n", line)
	}
	return nil
}
