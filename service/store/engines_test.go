package store_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tallyd/tallyd/service/store"
	"github.com/tallyd/tallyd/test/natscluster"
)

// servers is the cluster that the tests of this package share; each has an account of its own there.
var servers natscluster.Shared

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		servers.Stop()
		os.Exit(code)
	}))
}

// engine returns where a store can be that is empty.
type engine func(*testing.T) store.Config

func embedded(t *testing.T) store.Config { return store.Config{Dir: t.TempDir()} }

func clustered(t *testing.T) store.Config {
	return store.Config{URL: servers.Cluster(t).Account(t).URL()}
}

// onEach runs a test on each engine.
func onEach(t *testing.T, test func(*testing.T, engine)) {
	t.Run("embedded", func(t *testing.T) { test(t, embedded) })
	t.Run("cluster", func(t *testing.T) { test(t, clustered) })
}
