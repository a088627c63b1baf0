package policy_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/tallyd/tallyd/gen/tallyd/config/v1"
	"github.com/tallyd/tallyd/service/policy"
)

type closing struct {
	closed *int
	mu     *sync.Mutex
}

func (closing) Resolve(context.Context) (policy.Identity, error) {
	return policy.Identity{Name: "dns:a"}, nil
}

func (c closing) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.closed++
}

// TestReload holds that a changed file counts within a second or two, that a bad one changes nothing and is said once, and that the
// resolvers of policies that are gone are closed.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "p.yaml")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		text := func(name string) string {
			return "callers: [{name: " + name + ", identities: ['dns:a'], allow: [{methods: [read], forms: [f]}]}]"
		}
		if err := os.WriteFile(file, []byte(text("first")), 0o600); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		closed, bad := 0, false
		prove := func([]*configv1.IdentitySource) (policy.Resolver, error) {
			if bad {
				return nil, errors.New("no keys")
			}
			return closing{&closed, &mu}, nil
		}
		var log bytes.Buffer
		var told []bool
		keeper, err := policy.Open(file, prove, slog.New(slog.NewTextHandler(&log, nil)), func(ok bool) { told = append(told, ok) })
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- keeper.Run(ctx) }()
		who := func() string {
			_, caller, err := keeper.Current().Who(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return caller.Name
		}
		write("callers: []")
		write("colour: red")
		if who() != "first" || strings.Count(log.String(), "the last good one stays") != 2 {
			t.Errorf("after bad files the caller is %q and the log %s, want first and each complaint once", who(), log.String())
		}
		write(text("second"))
		if who() != "second" {
			t.Errorf("after a good file the caller is %q, want second", who())
		}
		bad = true
		write(text("third"))
		if who() != "second" {
			t.Errorf("after a file whose identities cannot be proven the caller is %q, want second", who())
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if closed != 2 {
			t.Errorf("%d resolvers were closed, want 2", closed)
		}
		if len(told) != 4 || told[0] || told[1] || !told[2] || told[3] {
			t.Errorf("changed was told %v, want false, false, true, false", told)
		}
	})
}
