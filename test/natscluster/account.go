//go:build unix

package natscluster

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// password is that of every user. It is easy to find where it should not be.
const password = "s3cret-of-nats"

// Account is one that no other test uses, with all that lies in it.
type Account struct {
	number  int32
	cluster *Cluster
}

// Account returns an account for the time of a test.
func (c *Cluster) Account(t testing.TB) Account {
	t.Helper()
	n := c.given.Add(1) - 1
	if n >= accounts {
		t.Fatalf("there are %d accounts", accounts)
	}
	return Account{n, c}
}

// URL returns the address of servers as tallyd is told: of all where none is named.
func (a Account) URL(nodes ...*Node) string { return a.url("u", nodes) }

// OperatorURL returns the address of all servers for somebody who may do anything in the account.
func (a Account) OperatorURL() string { return a.url("o", nil) }

func (a Account) url(user string, nodes []*Node) string {
	if len(nodes) == 0 {
		nodes = a.cluster.nodes
	}
	addresses := make([]string, len(nodes))
	for i, n := range nodes {
		address := url.URL{Scheme: "nats", User: url.UserPassword(fmt.Sprintf("%s%d", user, a.number), password), Host: n.Address()}
		addresses[i] = address.String()
	}
	return strings.Join(addresses, ",")
}

// Password is the secret in every URL.
func (Account) Password() string { return password }

// JetStream returns the account as an operator has it, for the time of a test.
func (a Account) JetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(a.OperatorURL(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Leader returns the server that leads a stream, once there is one.
func (a Account) Leader(t testing.TB, stream string) *Node {
	t.Helper()
	js := a.JetStream(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		info, err := js.Stream(ctx, stream)
		if ctx.Err() != nil {
			t.Fatalf("%s has no leader: %v", stream, err)
		}
		for _, n := range a.cluster.nodes {
			if err == nil && info.CachedInfo().Cluster.Leader == n.name {
				return n
			}
		}
	}
}

// Serving returns the server that a client of the account is connected to whose name is that; nil for none.
func (a Account) Serving(t testing.TB, client string) *Node {
	t.Helper()
	for _, n := range a.cluster.nodes {
		var seen struct {
			Connections []struct {
				Name string `json:"name"`
			} `json:"connections"`
		}
		if n.command == nil || n.paused {
			continue
		}
		if err := n.ask(fmt.Sprintf("/connz?acc=A%d", a.number), &seen); err != nil {
			t.Fatal(err)
		}
		for _, c := range seen.Connections {
			if c.Name == client {
				return n
			}
		}
	}
	return nil
}

// LeadElsewhere makes streams be led by another server than one.
func (a Account) LeadElsewhere(t testing.TB, away *Node, streams ...string) {
	t.Helper()
	js := a.JetStream(t)
	for _, stream := range streams {
		for limit := time.Now().Add(patience); a.Leader(t, stream) == away; {
			for _, n := range a.cluster.nodes {
				if n != away {
					_, _ = js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, n.name), time.Second)
					break
				}
			}
			if time.Now().After(limit) {
				t.Fatalf("%s is still led by %s", stream, away.name)
			}
		}
	}
}
