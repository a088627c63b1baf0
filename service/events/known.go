package events

import (
	"context"
	"hash/maphash"
	"log/slog"
	"time"
)

// known is the submissions of a form with an entry, by hash: enough to tell which have none without asking the store. Listing those of a
// large log takes a while, in which the store is asked. It is the writer's alone.
type known struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
	listed chan map[uint64]struct{} // brings those that the store had; nil when it has
}

// mayHave tells whether a submission may have an entry.
func (k *known) mayHave(submission string) bool {
	if k.listed != nil {
		select {
		case listed := <-k.listed:
			for hash := range k.hashes { // those that came since
				listed[hash] = struct{}{}
			}
			k.hashes, k.listed = listed, nil
		default:
			return true
		}
	}
	return k.remembers(submission)
}

// remembers tells whether a submission has had an entry, be it one that retention took, as far as this process knows.
func (k *known) remembers(submission string) bool {
	_, found := k.hashes[k.hash(submission)]
	return found
}

func (k *known) add(submission string) { k.hashes[k.hash(submission)] = struct{}{} }

func (k *known) hash(submission string) uint64 { return maphash.String(k.seed, submission) }

// relist is from a listing that failed to the next attempt.
const relist = time.Second

// list begins to list the submissions of a form with an entry, those of one form after another's.
func (l *Log) list(ctx context.Context, form string) *known {
	k := &known{seed: maphash.MakeSeed(), hashes: map[uint64]struct{}{}, listed: make(chan map[uint64]struct{}, 1)}
	l.running.Go(func() {
		l.listing.Lock()
		defer l.listing.Unlock()
		for ctx.Err() == nil {
			subjects, err := l.store.Subjects(ctx, formFilter(form))
			if err == nil {
				hashes := make(map[uint64]struct{}, len(subjects))
				for _, subject := range subjects {
					hashes[k.hash(submissionOf(subject))] = struct{}{}
				}
				k.listed <- hashes
				return
			}
			l.log.Debug("the submissions of a form cannot be listed", slog.String("form", form), slog.String("error", err.Error()))
			pause(ctx, relist)
		}
	})
	return k
}
