package store

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
)

const (
	// reserveName is a file that takes room from a log that fills its disk. It is emptied when the disk is full: to open the engine, which
	// writes its newest files anew, and to take away what is kept no longer, needs room as well.
	reserveName = "reserve"
	// reserveSize is more than the newest file of the log and that of the records.
	reserveSize = 16 << 20
	// reserveMargin is how much more must be free before it is made again: else it would be made of what it gave.
	reserveMargin = 1 << 20
)

// Room returns ErrFull while the disk has room for nothing but what makes room, else nil.
func (s *Store) Room() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.short {
		return ErrFull
	}
	return nil
}

func (s *Store) setShort(short bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.short = short
}

// spend gives the room of the reserve to the engine. It is false where there is none left.
func (s *Store) spend() bool {
	if s.clustered() {
		return false
	}
	path := s.reserve()
	if info, err := os.Stat(path); err != nil || info.Size() == 0 || os.Truncate(path, 0) != nil {
		return false
	}
	s.config.Log.Warn("the disk of the log of events is full: no more is taken before something is taken away")
	s.setShort(true)
	return true
}

// restore makes the reserve where there is none. While one that was spent cannot be made again the log takes nothing new; a disk that
// never had the room for one has none.
func (s *Store) restore() {
	if s.clustered() {
		return
	}
	path := s.reserve()
	info, err := os.Stat(path)
	spent := err == nil
	if spent && info.Size() >= reserveSize {
		s.setShort(false)
		return
	}
	err = makeReserve(path)
	if err != nil && (!spent || !isFull(err)) {
		s.config.Log.Info("the log of events has no reserve on its disk", slog.String("error", err.Error()))
		err = os.Remove(path)
	}
	s.setShort(err != nil && spent)
}

func (s *Store) reserve() string { return filepath.Join(s.config.Dir, "events", reserveName) }

// makeReserve makes a file that takes room. What fails leaves an empty one.
func makeReserve(path string) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the directory is the operator's
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := allocate(file, reserveSize+reserveMargin); err != nil {
		return errors.Join(err, file.Truncate(0))
	}
	return file.Truncate(reserveSize)
}
