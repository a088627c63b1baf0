package store

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Record is a small value under a key, as it was at a revision; revision 0 is that of no record.
type Record struct {
	Key      string
	Value    []byte
	Revision uint64
}

const (
	// recordPrefix begins the subject of every record, and recordOperation heads what is not one but its removal.
	recordPrefix    = "$KV." + bucketName + "."
	recordOperation = "KV-Operation"
)

// Get returns a record; one without a revision where there is none. The error is ErrUnavailable.
func (s *Store) Get(ctx context.Context, key string) (Record, error) {
	e, err := s.current(ctx)
	if err != nil {
		return Record{}, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	raw, err := e.keeper.GetLastMsgForSubject(limited, recordPrefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && raw.Header.Get(recordOperation) != "" {
		return Record{Key: key}, nil // what is removed leaves a mark
	}
	if err != nil {
		return Record{}, s.fail(ctx, err)
	}
	return Record{Key: key, Value: raw.Data, Revision: raw.Sequence}, nil
}

// Put writes a record where its revision is still what it was, and returns it with the new one. The error is ErrConflict, where
// somebody else wrote first, or ErrUnavailable.
func (s *Store) Put(ctx context.Context, r Record) (Record, error) {
	e, err := s.current(ctx)
	if err != nil {
		return r, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var revision uint64
	if r.Revision == 0 {
		revision, err = e.records.Create(limited, r.Key, r.Value) // which sees through the mark that a removed one leaves
	} else {
		revision, err = e.records.Update(limited, r.Key, r.Value, r.Revision)
	}
	if errors.Is(err, jetstream.ErrKeyExists) || isConflict(err) {
		return r, ErrConflict
	}
	if err != nil {
		return r, s.fail(ctx, err)
	}
	r.Revision = revision
	return r, nil
}

// Remove takes a record away. The error is ErrUnavailable.
func (s *Store) Remove(ctx context.Context, key string) error {
	e, err := s.current(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	return s.fail(ctx, e.records.Purge(limited, key))
}

// Keys returns the keys that a filter matches, such as "form.*". The error is ErrUnavailable.
func (s *Store) Keys(ctx context.Context, filter string) ([]string, error) {
	e, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	// Of the stream's leader: the library's own listing is answered by any server of a cluster, also by one that is behind.
	info, err := e.keeper.Info(limited, jetstream.WithSubjectFilter(recordPrefix+filter))
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, recordPrefix)
		r, err := s.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if r.Revision != 0 { // else it was removed
			keys = append(keys, key)
		}
	}
	return keys, nil
}
