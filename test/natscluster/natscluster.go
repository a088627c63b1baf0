//go:build unix

// Package natscluster starts real NATS servers for tests: three processes on loopback that form a cluster, each write of which is on the
// disk before it is acknowledged. It is imported by tests alone and imports nothing of tallyd.
package natscluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// size is how many servers there are.
	size = 3
	// patience is how long is waited for what must happen. An election alone takes up to nine seconds.
	patience = 40 * time.Second
	// accounts is how many tests can have their own.
	accounts = 64
)

// Cluster is servers that run until Stop.
type Cluster struct {
	dir, binary string
	nodes       []*Node
	given       atomic.Int32 // accounts
}

// Start starts the servers and waits until they can hold a stream. change may add lines to their configuration.
func Start(extra ...string) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "tallyd-nats-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if err = errors.Join(c.build(), c.configure(extra)); err == nil {
		err = c.startAll()
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// build builds the server of the version that go.mod names.
func (c *Cluster) build() error {
	c.binary = filepath.Join(c.dir, "nats-server")
	output, err := exec.Command("go", "build", "-o", c.binary, "github.com/nats-io/nats-server/v2").CombinedOutput() //nolint:noctx,gosec // a test's own
	if err != nil {
		return fmt.Errorf("build nats-server: %w\n%s", err, output)
	}
	return nil
}

// configure writes the servers' configurations.
func (c *Cluster) configure(extra []string) error {
	ports, err := freePorts(3 * size)
	if err != nil {
		return err
	}
	var routes, users strings.Builder
	for i := range size {
		fmt.Fprintf(&routes, "nats://127.0.0.1:%d, ", ports[size+i])
	}
	for i := range accounts {
		fmt.Fprintf(&users, "  A%[1]d { jetstream: enabled, users: [{user: u%[1]d, password: %[2]q, permissions: $TALLYD}, {user: o%[1]d, password: %[2]q}] }\n", i, password)
	}
	for i := range size {
		n := &Node{cluster: c, name: fmt.Sprintf("n%d", i+1), port: ports[i], monitor: ports[2*size+i]}
		n.config = filepath.Join(c.dir, n.name+".conf")
		text := fmt.Sprintf(template, n.name, n.port, n.monitor, filepath.Join(c.dir, n.name),
			ports[size+i], strings.TrimSuffix(routes.String(), ", "), users.String())
		if err := os.WriteFile(n.config, []byte(text+strings.Join(extra, "\n")), 0o600); err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
	}
	return nil
}

// template is a server's configuration. What tallyd may do is what docs/guides/cluster.md says that it needs.
const template = `TALLYD {
  publish: ["tallyd.>", "$KV.TALLYD_RECORDS.>", "$JS.API.INFO",
    "$JS.API.STREAM.*.TALLYD_EVENTS", "$JS.API.STREAM.*.KV_TALLYD_RECORDS",
    "$JS.API.STREAM.MSG.*.TALLYD_EVENTS", "$JS.API.STREAM.MSG.*.KV_TALLYD_RECORDS",
    "$JS.API.DIRECT.GET.TALLYD_EVENTS", "$JS.API.DIRECT.GET.KV_TALLYD_RECORDS.>",
    "$JS.API.CONSUMER.*.TALLYD_EVENTS.>", "$JS.API.CONSUMER.*.KV_TALLYD_RECORDS.>",
    "$JS.API.CONSUMER.MSG.NEXT.TALLYD_EVENTS.>", "$JS.FC.>"]
  subscribe: "_INBOX.>"
}
server_name: %s
listen: 127.0.0.1:%d
http: 127.0.0.1:%d
jetstream { store_dir: %q, sync_interval: always, max_memory_store: 64MB, max_file_store: 4GB }
cluster { name: tests, listen: 127.0.0.1:%d, no_advertise: true, routes: [%s] }
accounts {
%s}
max_payload: 2MB
`

// freePorts returns ports that nobody listens on, outside the range that connections are made from: a server must get its own again when
// it comes back.
func freePorts(n int) (ports []int, err error) {
	for range 100 * n {
		port := 10000 + rand.IntN(20000)                                //nolint:gosec // guards nothing
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // a moment
		if err != nil {
			continue
		}
		defer l.Close() //nolint:errcheck // nobody was let in
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports")
}

func (c *Cluster) startAll() error {
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return c.settled()
}

// settled waits until all servers that run agree on who leads them.
func (c *Cluster) settled() error {
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := c.look()
		if err == nil {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%w; it said:\n%s", err, c.nodes[0].Log())
		}
	}
}

func (c *Cluster) look() error {
	for _, n := range c.nodes {
		if err := n.ready(); err != nil {
			return fmt.Errorf("server %s: %w", n.name, err)
		}
	}
	return nil
}

// Stop ends the servers and takes away what they wrote.
func (c *Cluster) Stop() error {
	var running sync.WaitGroup
	for _, n := range c.nodes {
		running.Go(n.end)
	}
	running.Wait()
	return os.RemoveAll(c.dir)
}

// Nodes returns the servers.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Follower returns a server that does not lead the others.
func (c *Cluster) Follower(t testing.TB) *Node {
	t.Helper()
	state, err := c.nodes[0].state()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if n.name != state.Meta.Leader {
			return n
		}
	}
	t.Fatal("there is none")
	return nil
}

// Heal brings back whoever is away when the test ends: other tests use the cluster too.
func (c *Cluster) Heal(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { c.AllBack(t) })
}

// AllBack brings back whoever is away, and waits until all agree again.
func (c *Cluster) AllBack(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if err := n.back(); err != nil {
			t.Fatalf("start %s: %v", n.name, err)
		}
	}
	if err := c.settled(); err != nil {
		t.Fatalf("the cluster does not come back: %v", err)
	}
}
