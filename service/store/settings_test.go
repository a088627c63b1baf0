package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/tallyd/tallyd/service/store"
)

// usual is the stream as tallyd makes it.
func usual() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "TALLYD_EVENTS", Subjects: []string{"tallyd.>"}, Replicas: 3, Discard: jetstream.DiscardNew,
		AllowDirect: true, AllowAtomicPublish: true, Metadata: map[string]string{"tallyd-format": "1"},
	}
}

// A stream or a bucket that somebody made beforehand is taken as it is, unless it would lose what it holds.
func TestMadeBeforehand(t *testing.T) {
	cluster := servers.Cluster(t)
	account := cluster.Account(t)
	js := account.JetStream(t)
	for _, test := range []struct {
		name   string
		change func(*jetstream.StreamConfig)
		bucket jetstream.KeyValueConfig
		want   string // in the error; none for a log that opens
	}{
		{"one copy", func(c *jetstream.StreamConfig) { c.Replicas = 1 }, jetstream.KeyValueConfig{}, "num_replicas is 1, not 3"},
		{"in memory", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, jetstream.KeyValueConfig{}, "storage is Memory, not File"},
		{"an age", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, jetstream.KeyValueConfig{}, "max_age is 1h0m0s, not unlimited"},
		{"a size that drops the oldest", func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 1<<20, jetstream.DiscardOld }, jetstream.KeyValueConfig{}, "discard is DiscardOld, not DiscardNew"},
		{"one message of a subject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, jetstream.KeyValueConfig{}, "max_msgs_per_subject is 1"},
		{"no batches", func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }, jetstream.KeyValueConfig{}, "allow_atomic is false"},
		{"other subjects", func(c *jetstream.StreamConfig) { c.Subjects = []string{"tallyd.ev.>"} }, jetstream.KeyValueConfig{}, "subjects is [tallyd.ev.>], not [tallyd.>]"},
		{"not for tallyd", func(c *jetstream.StreamConfig) { c.Metadata = nil }, jetstream.KeyValueConfig{}, "metadata tallyd-format is "},
		{"of another version", func(c *jetstream.StreamConfig) { c.Metadata["tallyd-format"] = "2" }, jetstream.KeyValueConfig{}, `has format "2"`},
		{"one copy of the records", func(*jetstream.StreamConfig) {}, jetstream.KeyValueConfig{Replicas: 1}, "bucket TALLYD_RECORDS was made with settings that lose events: num_replicas is 1"},
		{"an age of records", func(*jetstream.StreamConfig) {}, jetstream.KeyValueConfig{Replicas: 3, TTL: time.Hour}, "max_age is 1h0m0s"},
		{"a size that refuses the newest", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, jetstream.KeyValueConfig{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := usual()
			test.change(&config)
			if _, err := js.CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			defer js.DeleteStream(t.Context(), config.Name)
			if test.bucket.Replicas > 0 {
				test.bucket.Bucket = "TALLYD_RECORDS"
				if _, err := js.CreateKeyValue(t.Context(), test.bucket); err != nil {
					t.Fatal(err)
				}
			}
			defer js.DeleteKeyValue(t.Context(), "TALLYD_RECORDS")
			s, err := store.Open(t.Context(), store.Config{URL: account.URL()})
			if err == nil {
				s.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open() = %v, want %q", err, test.want)
			}
		})
	}
}

// Of a stream with a size, what it has no room for is refused as by a full disk.
func TestFullStream(t *testing.T) {
	account := servers.Cluster(t).Account(t)
	config := usual()
	config.MaxBytes = 1 << 20
	if _, err := account.JetStream(t).CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s := open(t, store.Config{URL: account.URL()})
	for range 2 {
		if _, err := s.Append(t.Context(), []store.Draft{{Subject: "ev.a.1", Data: make([]byte, 600<<10)}}); err != nil {
			if !errors.Is(err, store.ErrFull) {
				t.Errorf("Append() = %v, want ErrFull", err)
			}
			// Retention makes room, and must be able to.
			if err := s.Purge(t.Context(), "ev.>", 0); err != nil {
				t.Errorf("Purge() = %v", err)
			}
			if _, err := s.Append(t.Context(), drafts("ev.a.2")); err != nil {
				t.Errorf("Append() after Purge() = %v", err)
			}
			return
		}
	}
	t.Error("Append() of more than there is room for = nil, want ErrFull")
}

// What is wrong with an address or with who this is, is said at once and without a secret.
func TestAddresses(t *testing.T) {
	account := servers.Cluster(t).Account(t)
	good := account.URL(servers.Cluster(t).Nodes()[0])
	for _, test := range []struct{ name, url, want string }{
		{"no address", "nats://u:s3cret@[::1", "server 1 of 1 in the address is none"},
		{"a password that is not escaped", good + ",nats://u:s3cret%@127.0.0.1:4222", "server 2 of 2 in the address is none"},
		{"another protocol", "https://u:s3cret@127.0.0.1:4222", "server 1 of 1 in the address is none"},
		{"nobody there", "nats://u:s3cret@127.0.0.1:1", "no servers available"},
		{"a wrong password", strings.Replace(good, account.Password(), "s3cret", 1), "Authorization Violation"},
		{"a wrong token", strings.Replace(good, "u", "s3cret", 1), "Authorization Violation"},
		{"TLS where there is none", strings.Replace(good, "nats://", "tls://", 1), "secure connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), store.Config{URL: test.url})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("Open() = %v, want %q and no secret", err, test.want)
			}
		})
	}
}

// A file says who this is, where a server trusts an operator. That server is alone, which is too few.
func TestCredentials(t *testing.T) {
	url, credentials := trusting(t)
	for file, want := range map[string]string{"": "Authorization Violation", credentials: "at least 3 servers"} {
		s, err := store.Open(t.Context(), store.Config{URL: url, Credentials: file})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open() with credentials %q = %v, want %q", file, err, want)
		}
	}
}

// trusting returns the address of a server that trusts an operator, and the credentials of a user whose account the operator made.
func trusting(t *testing.T) (url, credentials string) {
	t.Helper()
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		keys, err := create()
		if err != nil {
			t.Fatal(err)
		}
		public, err := keys.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return keys, public
	}
	operator, operatorID := pair(nkeys.CreateOperator)
	account, accountID := pair(nkeys.CreateAccount)
	_, systemID := pair(nkeys.CreateAccount)
	user, userID := pair(nkeys.CreateUser)
	claims := jwt.NewAccountClaims(accountID)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1}
	accounts := &server.MemAccResolver{}
	for id, claims := range map[string]*jwt.AccountClaims{accountID: claims, systemID: jwt.NewAccountClaims(systemID)} {
		signed, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := accounts.Store(id, signed); err != nil {
			t.Fatal(err)
		}
	}
	trusted := jwt.NewOperatorClaims(operatorID)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), SystemAccount: systemID,
		TrustedOperators: []*jwt.OperatorClaims{trusted}, AccountResolver: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	token, err := jwt.NewUserClaims(userID).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	credentials = filepath.Join(t.TempDir(), "tallyd.creds")
	if err := os.WriteFile(credentials, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.ClientURL(), credentials
}
