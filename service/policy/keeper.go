package policy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
)

// lookAgain is how soon a changed file is noticed.
const lookAgain = time.Second

// Identity is who a caller is, as far as proven.
type Identity struct {
	// Name is what entries of callers name, such as spiffe://cluster.local/ns/shop/sa/orders.
	Name string
	// Source is the way in which it was proven.
	Source string
}

// Resolver proves who callers are.
type Resolver interface {
	// Resolve returns who made the call that ctx belongs to, or an error for somebody who is nobody.
	Resolve(ctx context.Context) (Identity, error)
	// Close ends what the resolver keeps open.
	Close()
}

// InForce is a policy with the way in which its callers prove who they are.
type InForce struct {
	*Policy

	resolver Resolver
}

// Who returns who calls. A nil Caller is somebody whom no entry names. It returns the resolver's error for nobody.
func (p *InForce) Who(ctx context.Context) (Identity, *Caller, error) {
	who, err := p.resolver.Resolve(ctx)
	if err != nil {
		return Identity{}, nil, err
	}
	caller, _ := p.Caller(who.Name)
	return who, caller, nil
}

// Keeper holds the policy in force and reads its file again when it changes.
type Keeper struct {
	file    string
	prove   func([]*configv1.IdentitySource) (Resolver, error)
	log     *slog.Logger
	changed func(ok bool)
	data    []byte
	current atomic.Pointer[InForce]
}

// Open reads a policy. prove makes the resolver of its identity sources; changed, which may be nil, is told of each later reading
// whether it counts. It returns the error of the file, the policy in it or its sources.
func Open(file string, prove func([]*configv1.IdentitySource) (Resolver, error), log *slog.Logger, changed func(ok bool)) (*Keeper, error) {
	if changed == nil {
		changed = func(bool) {}
	}
	k := &Keeper{file: filepath.Clean(file), prove: prove, log: log, changed: changed}
	data, err := os.ReadFile(k.file)
	if err != nil {
		return nil, err
	}
	if err := k.take(data); err != nil {
		return nil, err
	}
	return k, nil
}

// Current returns the policy in force.
func (k *Keeper) Current() *InForce { return k.current.Load() }

// Run reads the file again when it changes, until ctx ends. A bad one is said once, and the policy in force stays.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	defer func() { k.Current().resolver.Close() }()
	complaint := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		data, err := os.ReadFile(k.file)
		if err == nil && bytes.Equal(data, k.data) {
			continue
		}
		if err == nil {
			old := k.Current()
			if err = k.take(data); err == nil {
				old.resolver.Close()
				k.log.Info("policy was read again", slog.String("file", k.file), slog.Int("callers", len(k.Current().Callers)),
					slog.Bool("shadow", k.Current().Shadow))
				k.changed(true)
				complaint = ""
				continue
			}
			k.data = data // each bad file is complained of once
		}
		if text := err.Error(); text != complaint {
			k.log.Error("policy cannot be used: the last good one stays", slog.String("file", k.file), slog.String("error", text))
			k.changed(false)
			complaint = text
		}
	}
}

// take puts a policy in force.
func (k *Keeper) take(data []byte) error {
	p, err := Parse(k.file, data)
	if err != nil {
		return err
	}
	resolver, err := k.prove(p.Identify)
	if err != nil {
		return errors.Join(err)
	}
	k.data = data
	k.current.Store(&InForce{Policy: p, resolver: resolver})
	return nil
}
