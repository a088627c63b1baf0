//go:build unix

package natscluster

import (
	"testing"
	"time"
)

// The servers come up, and come back.
func TestCluster(t *testing.T) {
	b := time.Now()
	c, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(b))
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	b = time.Now()
	c.Nodes()[0].Kill(t)
	c.Nodes()[1].Pause(t)
	c.AllBack(t)
	t.Log(time.Since(b))
	t.Log(c.Nodes()[0].Log())
}
