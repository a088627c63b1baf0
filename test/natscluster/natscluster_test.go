//go:build unix

package natscluster

import (
	"testing"
)

// Servers that were killed, paused and stopped in order come back, and none is left in the end.
func TestCluster(t *testing.T) {
	c, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	c.Nodes()[0].Kill(t)
	c.Nodes()[1].Pause(t)
	c.Nodes()[2].Stop(t)
	c.AllBack(t)
	if c.Follower(t) == nil {
		t.Error("Follower() = nil, want one of three")
	}
	if err := c.Stop(); err != nil {
		t.Errorf("Stop() = %v", err)
	}
	for _, n := range c.Nodes() {
		if n.ready() == nil {
			t.Errorf("%s still answers", n.Name())
		}
	}
}
