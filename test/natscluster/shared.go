//go:build unix

package natscluster

import (
	"sync"
	"testing"
)

// Shared is a cluster that the tests of a package share. It starts when the first asks for it.
type Shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
}

// Cluster returns the cluster with all its servers.
func (s *Shared) Cluster(t testing.TB) *Cluster {
	t.Helper()
	s.once.Do(func() { s.cluster, s.err = Start() })
	if s.err != nil {
		t.Fatalf("the cluster does not start: %v", s.err)
	}
	return s.cluster
}

// Stop ends it, if it ever started.
func (s *Shared) Stop() {
	if s.cluster != nil {
		_ = s.cluster.Stop()
	}
}
