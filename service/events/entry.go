package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

// entryFormat is the first byte of a stored entry. A change that an older version would misread takes the next number.
const entryFormat = 1

// headSize is the format and the checksum before the message.
const headSize = 5

// castagnoli is the checksum that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errDamaged = errors.New("the entry is damaged")
	// errNewer is no damage: a newer version reads it, and this one must not go on behind it.
	errNewer = fmt.Errorf("%w: an entry is of a newer format than this version reads", store.ErrUnavailable)
)

// Entry is an entry of a form's log as it is stored.
type Entry struct {
	*logv1.Entry
	// Position is its place in the log of all forms.
	Position uint64
	// Checksum is by what the entry behind it names it.
	Checksum uint32
}

// encode returns the entry's bytes and its checksum.
func encode(e *logv1.Entry) ([]byte, uint32, error) {
	data, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, headSize, headSize+proto.Size(e)), e)
	if err != nil {
		return nil, 0, err
	}
	sum := crc32.Checksum(data[headSize:], castagnoli)
	data[0] = entryFormat
	binary.BigEndian.PutUint32(data[1:], sum)
	return data, sum, nil
}

// decode reads a stored entry. The error wraps errDamaged or errNewer.
func decode(m store.Message) (Entry, error) {
	if len(m.Data) < headSize {
		return Entry{}, fmt.Errorf("%w: it has %d bytes", errDamaged, len(m.Data))
	}
	if m.Data[0] > entryFormat {
		return Entry{}, fmt.Errorf("%w: format %d", errNewer, m.Data[0])
	}
	sum := crc32.Checksum(m.Data[headSize:], castagnoli)
	if stored := binary.BigEndian.Uint32(m.Data[1:]); m.Data[0] != entryFormat || stored != sum {
		return Entry{}, fmt.Errorf("%w: its checksum is %08x, not %08x", errDamaged, sum, stored)
	}
	e := &logv1.Entry{}
	if err := proto.Unmarshal(m.Data[headSize:], e); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return Entry{Entry: e, Position: m.Position, Checksum: sum}, nil
}
