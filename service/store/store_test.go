package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tallyd/tallyd/service/store"
)

// open opens a store for the time of a test.
func open(t *testing.T, config store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), config)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

func drafts(subjects ...string) []store.Draft {
	list := make([]store.Draft, len(subjects))
	for i, subject := range subjects {
		list[i] = store.Draft{Subject: subject, Data: []byte("about " + subject)}
	}
	return list
}

func subjects(messages []store.Message) []string {
	list := make([]string, len(messages))
	for i, m := range messages {
		list[i] = m.Subject
	}
	return list
}

func TestAppendAndRead(t *testing.T) { onEach(t, testAppendAndRead) }

func testAppendAndRead(t *testing.T, engine engine) {
	for _, n := range []int{1, 3, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := open(t, engine(t))
			var want []string
			for i := range n {
				want = append(want, fmt.Sprintf("ev.a.%d", i))
			}
			positions, err := s.Append(t.Context(), drafts(want...))
			if err != nil || len(positions) != n || positions[0] == 0 || positions[n-1] != positions[0]+uint64(n)-1 {
				t.Fatalf("Append(%d drafts) = %v, %v", n, positions, err)
			}
			if _, err := s.Append(t.Context(), drafts("ev.b.1")); err != nil {
				t.Fatalf("Append() = %v", err)
			}
			got, _, err := s.Read(t.Context(), store.Query{Filter: "ev.a.>"})
			if err != nil || !slices.Equal(subjects(got), want) || got[0].Position != positions[0] || string(got[0].Data) != "about ev.a.0" {
				t.Errorf("Read() = %v, %v, want %v", subjects(got), err, want)
			}
			rest, more, err := s.Read(t.Context(), store.Query{Filter: "ev.a.>", From: positions[n-1] + 1})
			if err != nil || more || len(rest) != 0 {
				t.Errorf("Read() behind the last = %v, %v, want none", rest, err)
			}
		})
	}
}

// A condition holds against everything that the filter matches, alone and in a batch, and a batch that does not hold leaves nothing.
func TestConditions(t *testing.T) { onEach(t, testConditions) }

func testConditions(t *testing.T, engine engine) {
	const lastOfAll = ^uint64(0)
	s := open(t, engine(t))
	first, err := s.Append(t.Context(), drafts("ev.a.1"))
	if err != nil {
		t.Fatalf("Append() = %v", err)
	}
	tests := []struct {
		name     string
		filter   string
		position uint64
		fill     int
		want     error
	}{
		{"none, and there is one", "ev.a.>", 0, 0, store.ErrConflict},
		{"the last one", "ev.a.>", first[0], 0, nil},
		{"one that is no longer the last", "ev.a.>", first[0], 0, store.ErrConflict},
		{"none, and there is none", "ev.z.>", 0, 0, nil},
		{"the last one of all", "", lastOfAll, 0, nil},
		{"one that is no longer the last of all", "", 1, 0, store.ErrConflict},
		{"in a batch, one that is no longer the last of all", "", 1, 8, store.ErrConflict},
		{"in a batch, one that is no longer the last", "ev.a.>", first[0], 8, store.ErrConflict},
		{"in a batch, none, and there is none", "ev.y.>", 0, 8, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before, _ := s.State(t.Context())
			if test.position == lastOfAll {
				test.position = before.Last
			}
			name := strings.TrimSuffix(test.filter+"ev.any.>", ">")
			if test.filter != "" {
				name = strings.TrimSuffix(test.filter, ">")
			}
			list := []store.Draft{{Subject: name + "2", Behind: &store.Condition{Filter: test.filter, Position: test.position}}}
			for i := range test.fill {
				list = append(list, drafts(fmt.Sprintf("%sx%d", name, i))...)
			}
			if _, err := s.Append(t.Context(), list); !errors.Is(err, test.want) || (test.want == nil) != (err == nil) {
				t.Fatalf("Append() = %v, want %v", err, test.want)
			}
			if after, _ := s.State(t.Context()); test.want != nil && after.Last != before.Last {
				t.Errorf("%d messages are left of what was refused", after.Last-before.Last)
			}
		})
	}
}

func TestLastAndSubjects(t *testing.T) { onEach(t, testLastAndSubjects) }

func testLastAndSubjects(t *testing.T, engine engine) {
	s := open(t, engine(t))
	if _, ok, err := s.Last(t.Context(), "ev.a.>"); ok || err != nil {
		t.Fatalf("Last() of nothing = %v, %v", ok, err)
	}
	if _, err := s.Append(t.Context(), drafts("ev.a.1", "ev.a.2", "ev.b.1")); err != nil {
		t.Fatalf("Append() = %v", err)
	}
	if got, ok, err := s.Last(t.Context(), "ev.a.>"); !ok || err != nil || got.Subject != "ev.a.2" {
		t.Errorf("Last() = %q, %v, %v, want ev.a.2", got.Subject, ok, err)
	}
	got, err := s.Subjects(t.Context(), "ev.a.*")
	slices.Sort(got)
	if want := []string{"ev.a.1", "ev.a.2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Subjects() = %v, %v, want %v", got, err, want)
	}
}

func TestFollow(t *testing.T) { onEach(t, testFollow) }

func testFollow(t *testing.T, engine engine) {
	s := open(t, engine(t))
	if _, err := s.Append(t.Context(), drafts("ev.a.1", "er.a.1", "ev.a.2")); err != nil {
		t.Fatalf("Append() = %v", err)
	}
	seen := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- s.Follow(ctx, "ev.>", 2, func(m store.Message) error {
			seen <- m.Subject
			return nil
		})
	}()
	if got := <-seen; got != "ev.a.2" {
		t.Errorf("first message is %q, want ev.a.2", got)
	}
	if _, err := s.Append(t.Context(), drafts("ev.b.1")); err != nil {
		t.Fatalf("Append() = %v", err)
	}
	if got := <-seen; got != "ev.b.1" {
		t.Errorf("second message is %q, want ev.b.1", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow() = %v, want that it was cancelled", err)
	}
}

// What comes behind a message that could not be handled waits until that one was: else it would be passed over for good.
func TestFollowStopsWhereItFails(t *testing.T) { onEach(t, testFollowStopsWhereItFails) }

func testFollowStopsWhereItFails(t *testing.T, engine engine) {
	s := open(t, engine(t))
	if _, err := s.Append(t.Context(), drafts("ev.a.1", "ev.a.2", "ev.a.3", "ev.a.4")); err != nil {
		t.Fatalf("Append() = %v", err)
	}
	wrong := errors.New("wrong")
	var seen []string
	err := s.Follow(t.Context(), "ev.>", 1, func(m store.Message) error {
		seen = append(seen, m.Subject)
		if m.Subject == "ev.a.2" {
			return wrong
		}
		return nil
	})
	if want := []string{"ev.a.1", "ev.a.2"}; !errors.Is(err, wrong) || !slices.Equal(seen, want) {
		t.Errorf("Follow() = %v after %q, want the failure after %q", err, seen, want)
	}
}

func TestEraseAndPurge(t *testing.T) { onEach(t, testEraseAndPurge) }

func testEraseAndPurge(t *testing.T, engine engine) {
	s := open(t, engine(t))
	positions, err := s.Append(t.Context(), drafts("ev.a.1", "ev.b.1", "ev.a.2", "ev.a.3"))
	if err != nil {
		t.Fatalf("Append() = %v", err)
	}
	for range 2 { // the second time there is nothing left to erase
		if err := s.Erase(t.Context(), positions[2]); err != nil {
			t.Fatalf("Erase() = %v", err)
		}
	}
	if err := s.Purge(t.Context(), "ev.a.>", positions[3]); err != nil {
		t.Fatalf("Purge() = %v", err)
	}
	if err := s.Erase(t.Context(), positions[0]); err != nil { // before the first that is left
		t.Errorf("Erase() of a purged one = %v", err)
	}
	got, _, err := s.Read(t.Context(), store.Query{Filter: "ev.>"})
	if want := []string{"ev.b.1", "ev.a.3"}; err != nil || !slices.Equal(subjects(got), want) {
		t.Errorf("Read() = %v, %v, want %v", subjects(got), err, want)
	}
}

func TestReopen(t *testing.T) { onEach(t, testReopen) }

func testReopen(t *testing.T, engine engine) {
	config := engine(t)
	first, err := store.Open(t.Context(), config)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	if _, err := first.Append(t.Context(), drafts("ev.a.1", "ev.a.2")); err != nil {
		t.Fatalf("Append() = %v", err)
	}
	if _, err := first.Put(t.Context(), store.Record{Key: "form.a", Value: []byte("x")}); err != nil {
		t.Fatalf("Put() = %v", err)
	}
	first.Close()
	if _, err := first.Append(t.Context(), drafts("ev.a.3")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Append() after Close() = %v, want ErrUnavailable", err)
	}
	second := open(t, config)
	got, _, err := second.Read(t.Context(), store.Query{Filter: "ev.>"})
	if want := []string{"ev.a.1", "ev.a.2"}; err != nil || !slices.Equal(subjects(got), want) {
		t.Errorf("Read() = %v, %v, want %v", subjects(got), err, want)
	}
	if r, err := second.Get(t.Context(), "form.a"); err != nil || string(r.Value) != "x" {
		t.Errorf("Get() = %q, %v, want x", r.Value, err)
	}
}

// A directory has one process at a time: two would destroy the log.
func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	first, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	if second, err := store.Open(t.Context(), store.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("Open() of a directory in use = %v, %v, want that it is in use", second, err)
	}
	if _, err := first.Append(t.Context(), drafts("ev.a.1")); err != nil {
		t.Errorf("Append() afterwards = %v", err)
	}
	first.Close()
	third := open(t, store.Config{Dir: dir})
	if got, ok, err := third.Last(t.Context(), "ev.a.*"); !ok || err != nil || got.Subject != "ev.a.1" {
		t.Errorf("Last() = %q, %v, %v, want ev.a.1", got.Subject, ok, err)
	}
}

func TestRecords(t *testing.T) { onEach(t, testRecords) }

func testRecords(t *testing.T, engine engine) {
	s := open(t, engine(t))
	r, err := s.Get(t.Context(), "form.a")
	if err != nil || r.Revision != 0 {
		t.Fatalf("Get() of nothing = %+v, %v", r, err)
	}
	r.Value = []byte("1")
	if r, err = s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put() = %v", err)
	}
	if _, err := s.Put(t.Context(), store.Record{Key: "form.a", Value: []byte("late")}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put() of a second first one = %v, want ErrConflict", err)
	}
	r.Value = []byte("2")
	if _, err = s.Put(t.Context(), r); err != nil {
		t.Errorf("Put() = %v", err)
	}
	if keys, err := s.Keys(t.Context(), "form.*"); err != nil || !slices.Equal(keys, []string{"form.a"}) {
		t.Errorf("Keys() = %v, %v, want form.a", keys, err)
	}
	if err := s.Remove(t.Context(), "form.a"); err != nil {
		t.Errorf("Remove() = %v", err)
	}
	if r, err := s.Get(t.Context(), "form.a"); err != nil || r.Revision != 0 {
		t.Errorf("Get() after Remove() = %+v, %v, want nothing", r, err)
	}
	if _, err := s.Put(t.Context(), store.Record{Key: "form.a", Value: []byte("new")}); err != nil {
		t.Errorf("Put() after Remove() = %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := store.Open(b.Context(), store.Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			k := 0
			for b.Loop() {
				var list []store.Draft
				for range n {
					k++
					list = append(list, store.Draft{Subject: fmt.Sprintf("ev.a.%d", k), Data: make([]byte, 2048)})
				}
				if _, err := s.Append(b.Context(), list); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
