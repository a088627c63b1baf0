package store

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Record is a small value under a key, as it was at a revision; revision 0 is that of no record.
type Record struct {
	Key      string
	Value    []byte
	Revision uint64
}

// Get returns a record; one without a revision where there is none. The error is ErrUnavailable.
func (s *Store) Get(ctx context.Context, key string) (Record, error) {
	e, err := s.current()
	if err != nil {
		return Record{}, err
	}
	entry, err := e.records.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{Key: key}, nil
	}
	if err != nil {
		return Record{}, s.fail(ctx, err)
	}
	return Record{Key: key, Value: entry.Value(), Revision: entry.Revision()}, nil
}

// Put writes a record where its revision is still what it was, and returns it with the new one. The error is ErrConflict, where
// somebody else wrote first, or ErrUnavailable.
func (s *Store) Put(ctx context.Context, r Record) (Record, error) {
	e, err := s.current()
	if err != nil {
		return r, err
	}
	var revision uint64
	if r.Revision == 0 {
		revision, err = e.records.Create(ctx, r.Key, r.Value) // which sees through the mark that a removed one leaves
	} else {
		revision, err = e.records.Update(ctx, r.Key, r.Value, r.Revision)
	}
	if errors.Is(err, jetstream.ErrKeyExists) {
		return r, ErrConflict
	}
	if err != nil {
		return r, s.appendError(ctx, err)
	}
	r.Revision = revision
	return r, nil
}

// Remove takes a record away. The error is ErrUnavailable.
func (s *Store) Remove(ctx context.Context, key string) error {
	e, err := s.current()
	if err != nil {
		return err
	}
	return s.fail(ctx, e.records.Purge(ctx, key))
}

// Keys returns the keys that a filter matches, such as "form.*". The error is ErrUnavailable.
func (s *Store) Keys(ctx context.Context, filter string) ([]string, error) {
	e, err := s.current()
	if err != nil {
		return nil, err
	}
	list, err := e.records.ListKeysFiltered(ctx, filter)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	var keys []string
	for key := range list.Keys() {
		keys = append(keys, key)
	}
	return keys, nil
}
