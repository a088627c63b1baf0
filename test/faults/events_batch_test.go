package faults

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestRow90BatchesLosePower covers row 90 for deliveries that share a write: so many wait at once that the log writes batches, and the
// power fails at random instants, eight times. Senders deliver again what was not acknowledged. In the end the log holds every delivery
// once, each sender's in its order.
func TestRow90BatchesLosePower(t *testing.T) {
	s := newSiege(t)
	l, d := s.serveOn(t)
	goroutines := s.settle(t, l)
	_, ended := s.startSenders(t)
	for round := range 8 {
		s.taken.more(t, 300+rand.IntN(300), "deliveries")
		s.kill(t, l)
		<-d.done
		d.powerOff(t, s.dir, round)
		s.checkSaid(t, l.process)
		l, d = s.serveOn(t)
	}
	s.taken.more(t, 300, "deliveries")
	close(s.done)
	senders := map[string][]sender{}
	for range cap(ended) {
		one := <-ended
		senders[one.form] = append(senders[one.form], one)
	}
	for form, all := range senders {
		checkForm(t, l, form, all, ids(l.replay(t, form)))
	}
	const batch = 8 // from so many on the log writes one
	if got := largestBatch(t, s.dir); got < batch {
		t.Errorf("the largest batch of the log has %d entries, want at least %d", got, batch)
	}
	s.checkAfter(t, l, goroutines)
}

// serveOn starts the next life on a disk that may lose power.
func (s *siege) serveOn(t *testing.T) (*logger, *disk) {
	t.Helper()
	args := []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--tally-rate", "0", "--cache-bytes", "0"}
	p, d := launchOn(t, append(args, s.flags...))
	ready(t, p)
	l := &logger{p, "http://" + p.await(t, hooksLine)}
	s.live(l)
	return l, d
}

// batchPlace is a message's place in a batch, as the engine keeps it beside the message.
var batchPlace = regexp.MustCompile(`Nats-Batch-Sequence: ?(\d+)`)

// largestBatch returns how many entries the largest batch has that lies in a log.
func largestBatch(t *testing.T, dir string) (largest int) {
	t.Helper()
	for _, path := range blocks(t, dir) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range batchPlace.FindAllSubmatch(content, -1) {
			n, err := strconv.Atoi(string(place[1]))
			if err != nil {
				t.Fatal(err)
			}
			largest = max(largest, n)
		}
	}
	return largest
}
