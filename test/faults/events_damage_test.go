package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestDamagedWhileServing covers row 94: the log's file is damaged under a tallyd that serves, and nothing is delivered any more. Within a
// minute that is seen; whoever watches hears of what is lost once more from Tally's list, marked as such, and whoever reads is told what
// is lost and where. What lies before the damage stays as it is, and so does what lies behind it where the engine still finds that.
func TestDamagedWhileServing(t *testing.T) {
	t.Parallel()
	const all, victim = 60, 20
	kinds := []struct {
		name     string
		change   func(data []byte, at int) []byte
		lastLost int // at least victim
	}{
		{"a bit flips", func(data []byte, at int) []byte {
			data[at] ^= 1
			return data
		}, victim},
		// The engine finds no message behind a hole in a file.
		{"a block is zeroed", func(data []byte, at int) []byte {
			clear(data[at:min(at+4096, len(data))])
			return data
		}, all},
		{"the rest is cut off", func(data []byte, at int) []byte { return data[:at] }, all},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := newDeliverer(t)
			l := d.serve(t)
			open := l.watch(t, earliest("f1"))
			sent := names("s", all)
			d.submit(t, l, sent...)
			open.rest(t, all)
			d.damage(t, sent[victim-1], kind.change)

			l.awaitLoss(t, "f1", time.Minute)
			healed := open.healed(t, sent[victim-1:kind.lastLost])
			open.close()
			d.submit(t, l, "after")
			want := slices.Concat(numbered(1, sent[:victim-1]), []string{fmt.Sprintf("f1 lost %d-%d", victim, kind.lastLost)},
				numbered(kind.lastLost+1, sent[kind.lastLost:]), numbered(all+1, append(healed, "after")))
			l.checkReplay(t, want, victim, kind.lastLost)
			if gaps := l.metric(t, "tallyd_event_gaps_total"); gaps != 1 {
				t.Errorf("%v gaps are counted, want 1", gaps)
			}
			d.stop(t, l)
			l = d.serve(t) // which has nothing in memory
			l.checkDamaged(t, want)
			d.kill(t, l)
			l, goroutines := d.settled(t)
			l.checkWhole(t, append(sent, "after"))
			d.checkAfter(t, l, goroutines)
		})
	}
}

// numbered is what a watcher says of submissions of f1 whose numbers begin with first.
func numbered(first int, submissions []string) (said []string) {
	for i, id := range submissions {
		said = append(said, fmt.Sprintf("f1 %d %s", first+i, id))
	}
	return said
}

// damage changes the file that holds a submission's entry, behind its id.
func (d *deliverer) damage(t *testing.T, submission string, change func(data []byte, at int) []byte) {
	t.Helper()
	for _, path := range blocks(t, d.dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(data, []byte(`"submissionId":"`+submission+`"`)); at >= 0 {
			if err := os.WriteFile(path, change(data, at), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no file holds submission %s", submission)
}

// awaitLoss waits until tallyd tells that entries of a form's log are lost.
func (l *logger) awaitLoss(t *testing.T, form string, within time.Duration) {
	t.Helper()
	line := regexp.MustCompile(`"entries of the log are lost","form":"` + form + `"`)
	limit := time.After(within)
	for {
		said, changed := l.output.look()
		if line.MatchString(said) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("in %v nobody tells of the loss\n%s", within, said)
		}
	}
}

// healed waits until a watcher has heard of submissions again, each once, and returns them in that order.
func (w *watcher) healed(t *testing.T, lost []string) (again []string) {
	t.Helper()
	for len(again) < len(lost) {
		e := w.event(t)
		if e.GetGap() != nil {
			continue
		}
		id := e.GetSubmission().GetId()
		if !slices.Contains(lost, id) || slices.Contains(again, id) || e.GetSource() != tallydv1.SubmissionEventSource_SUBMISSION_EVENT_SOURCE_RECONCILED {
			t.Fatalf("the watcher hears of %v, want what was lost and comes from Tally's list, once", e)
		}
		again = append(again, id)
	}
	return again
}

// checkDamaged demands that a watcher who begins with the earliest event hears this.
func (l *logger) checkDamaged(t *testing.T, want []string) {
	t.Helper()
	w := l.watch(t, earliest("f1"))
	defer w.close()
	got := make([]string, 0, len(want))
	for range want {
		e := w.event(t)
		if gap := e.GetGap(); gap != nil {
			got = append(got, fmt.Sprintf("f1 lost %d-%d", gap.GetFirstSequence(), gap.GetLastSequence()))
			continue
		}
		got = append(got, say(e))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the watcher hears %q, want %q", got, want)
	}
}

// checkWhole demands that a watcher who begins with the earliest event hears of these submissions, each once: an engine that was killed
// reads its file anew, and takes for lost what lies behind a flipped bit.
func (l *logger) checkWhole(t *testing.T, want []string) {
	t.Helper()
	w := l.watch(t, earliest("f1"))
	defer w.close()
	var got []string
	for len(got) < len(want) {
		if e := w.event(t); e.GetGap() == nil {
			got = append(got, e.GetSubmission().GetId())
		}
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the watcher hears of %q, want %q", got, want)
	}
}

// checkReplay demands that reading the log ends where it is damaged, with what is lost, and goes on behind that.
func (l *logger) checkReplay(t *testing.T, want []string, first, last int) {
	t.Helper()
	before, err := l.replayFrom(t, 0)
	if !slices.Equal(before, want[:first-1]) || status.Code(err) != codes.DataLoss {
		t.Errorf("ReplaySubmissionEvents() = %q, %v, want %q and DATA_LOSS", before, err, want[:first-1])
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			from, to := info.GetMetadata()["first_sequence"], info.GetMetadata()["last_sequence"]
			if info.GetReason() != "EVENT_LOG_GAP" || from != strconv.Itoa(first) || to != strconv.Itoa(last) {
				t.Errorf("the loss is %v, want EVENT_LOG_GAP from %d to %d", info, first, last)
			}
		}
	}
	if behind, err := l.replayFrom(t, last+1); !slices.Equal(behind, want[first:]) || err != nil {
		t.Errorf("ReplaySubmissionEvents() behind the loss = %q, %v, want %q", behind, err, want[first:])
	}
}

// replayFrom reads the log of f1 from a number on, and returns how that ended; nil at its end.
func (l *logger) replayFrom(t *testing.T, sequence int) (said []string, err error) {
	t.Helper()
	conn := l.dial(t)
	defer conn.Close()
	req := &tallydv1.ReplaySubmissionEventsRequest{FormId: "f1"}
	if sequence > 0 {
		req.Start = &tallydv1.ReplaySubmissionEventsRequest_StartSequence{StartSequence: int64(sequence)}
	}
	stream, err := tallydv1.NewSubmissionEventServiceClient(conn).ReplaySubmissionEvents(t.Context(), req)
	for err == nil {
		var m *tallydv1.ReplaySubmissionEventsResponse
		if m, err = stream.Recv(); err == nil {
			said = append(said, say(m.GetEvent()))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return said, err
}
