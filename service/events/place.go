package events

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/tallyd/tallyd/service/store"
)

// Latest returns the place behind all that is logged.
func (l *Log) Latest(ctx context.Context) (Place, error) {
	state, err := l.store.State(ctx)
	return Place{Position: state.Last, Accepted: state.Last}, err
}

// Earliest returns the place before all that is left of these forms' logs.
func (l *Log) Earliest(ctx context.Context, forms []string) (Place, error) {
	floor, err := l.floorOf(ctx, forms)
	return Place{Accepted: floor}, err
}

// Since returns the place before what was logged at a time or later.
func (l *Log) Since(ctx context.Context, forms []string, since time.Time) (Place, error) {
	at, err := l.Earliest(ctx, forms)
	if err != nil {
		return at, err
	}
	first, _, err := l.store.Read(ctx, store.Query{Filter: allForms, Since: since, Most: 1})
	switch {
	case err != nil:
		return at, err
	case len(first) == 0:
		return l.Latest(ctx)
	}
	at.Position = first[0].Position - 1
	return at, nil
}

// Sequence returns the place before an entry of a form's log: behind the last one that comes before it, wherever it went itself.
func (l *Log) Sequence(ctx context.Context, form string, sequence uint64) (Place, error) {
	at, err := l.Earliest(ctx, []string{form})
	if err != nil || sequence <= 1 {
		return at, err
	}
	state, err := l.store.State(ctx)
	if err != nil {
		return at, err
	}
	// Sequences rise with positions: halve the range of positions between one that is too early and one that is not.
	early, late := at.Position, state.Last
	for early < late {
		middle := early + (late-early)/2
		next, _, err := l.store.Read(ctx, store.Query{Filter: formFilter(form), From: middle + 1, Most: 1})
		if err != nil {
			return at, err
		}
		if len(next) > 0 {
			e, err := l.decode(next[0])
			if unreadable(err) {
				break // from the early end on there is more than asked for, and nothing less
			}
			if e.GetSequence() < sequence {
				early = next[0].Position
				continue
			}
		}
		late = middle
	}
	at.Position = early
	accepted, err := l.positionOf(ctx, form, sequence, early)
	at.Accepted = max(at.Accepted, accepted)
	return at, err
}

// positionOf returns the position of an entry that lies behind a place; 0 where it is lost. Whoever asks for it asks for nothing before.
func (l *Log) positionOf(ctx context.Context, form string, sequence, behind uint64) (uint64, error) {
	for from := behind + 1; ; {
		next, _, err := l.store.Read(ctx, store.Query{Filter: formFilter(form), From: from, Most: 1})
		if err != nil || len(next) == 0 {
			return 0, err
		}
		e, err := l.decode(next[0])
		if err == nil && e.GetSequence() == sequence {
			return e.Position, nil
		}
		if err == nil && e.GetSequence() > sequence {
			return 0, nil
		}
		from = next[0].Position + 1
	}
}

// Left returns how to go on from a place with all that is left; it is the same place unless retention has taken entries behind it.
func (l *Log) Left(ctx context.Context, forms []string, at Place) (Place, error) {
	floor, err := l.floorOf(ctx, forms)
	if floor > at.Position {
		at.Accepted = max(at.Accepted, floor)
	}
	return at, err
}

// floorOf returns the position up to which retention has taken entries of any of these forms.
func (l *Log) floorOf(ctx context.Context, forms []string) (floor uint64, err error) {
	for _, form := range forms {
		f, err := l.Form(ctx, form)
		if err != nil {
			return 0, err
		}
		floor = max(floor, f.GetFloor().GetPosition())
	}
	return floor, nil
}

const (
	// tokenFormat is the first byte of a token.
	tokenFormat = 1
	macSize     = 12
	digestSize  = 8
	sealKey     = "seal"
	sealSize    = 32
)

// ErrToken is a token that this log never handed out, or not for this request.
var ErrToken = errors.New("the token is not one that this log handed out for this request")

// Seal makes places into tokens that nobody else can make, and back.
type Seal struct {
	log  *Log
	macs *sync.Pool // of hash.Hash: each token takes one, and making it costs more than using it
}

func newSeal(l *Log, secret []byte) *Seal {
	return &Seal{log: l, macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}
}

// Seal returns the log's own seal, which all replicas share. The error is that of the store.
func (l *Log) Seal(ctx context.Context) (*Seal, error) {
	if known := l.seal.Load(); known != nil {
		return known, nil
	}
	if _, err := l.settlePositions(ctx, 0); err != nil {
		return nil, err
	}
	for {
		r, err := l.store.Get(ctx, sealKey)
		if err != nil {
			return nil, err
		}
		if len(r.Value) == sealSize {
			l.seal.CompareAndSwap(nil, newSeal(l, r.Value))
			return l.seal.Load(), nil
		}
		r.Value = make([]byte, sealSize)
		if _, err := rand.Read(r.Value); err != nil {
			return nil, fmt.Errorf("no randomness for the seal: %w", err)
		}
		if _, err := l.store.Put(ctx, r); err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
	}
}

// Token returns a place as an opaque text that is bound to a request by its digest.
func (s *Seal) Token(at Place, digest uint64) string {
	data := binary.BigEndian.AppendUint64([]byte{tokenFormat}, digest)
	data = binary.AppendUvarint(data, s.log.epoch())
	data = binary.AppendUvarint(data, at.Position)
	data = binary.AppendUvarint(data, at.Accepted)
	return base64.RawURLEncoding.EncodeToString(append(data, s.mac(data)...))
}

// Place returns the place of a token. The error is ErrToken.
func (s *Seal) Place(token string, digest uint64) (Place, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(data) < 1+digestSize+macSize {
		return Place{}, ErrToken
	}
	data, mac := data[:len(data)-macSize], data[len(data)-macSize:]
	if !hmac.Equal(mac, s.mac(data)) || data[0] != tokenFormat || binary.BigEndian.Uint64(data[1:]) != digest {
		return Place{}, ErrToken
	}
	epoch, rest, ok := uvarint(data[1+digestSize:], true)
	var at Place
	at.Position, rest, ok = uvarint(rest, ok)
	at.Accepted, rest, ok = uvarint(rest, ok)
	if !ok || len(rest) > 0 {
		return Place{}, ErrToken
	}
	return s.log.translate(at, epoch), nil
}

// uvarint takes a number off the data, unless something before was wrong.
func uvarint(data []byte, ok bool) (uint64, []byte, bool) {
	value, n := binary.Uvarint(data)
	if !ok || n <= 0 {
		return 0, nil, false
	}
	return value, data[n:], true
}

func (s *Seal) mac(data []byte) []byte {
	mac := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	_, _ = mac.Write(data) // it never fails
	return mac.Sum(nil)[:macSize]
}
