package service

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"hash/fnv"

	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// exportCursor is where an export stands; it travels as the resume token. Times are in milliseconds since 1970, 0 for none.
type exportCursor struct {
	Digest uint64 `json:"d"`           // of the request's fields
	End    int64  `json:"e,omitempty"` // end of the range that Tally was asked for
	Page   string `json:"p,omitempty"` // page token within that range
	Paged  bool   `json:"g,omitempty"` // a submission had no time: from now on by page tokens alone
	Edge   int64  `json:"t,omitempty"` // when the last submission handed out was sent off
	Ties   int    `json:"n,omitempty"` // submissions handed out that were sent off then
	Ended  bool   `json:"z,omitempty"` // all are handed out
	Done   int64  `json:"c,omitempty"` // submissions handed out in all
	Total  *int64 `json:"a,omitempty"`
	// Last are the ids of the last ones handed out at that time, or whenever it was when paged. The order of an instant is nowhere
	// promised and each of them may be deleted, so that neither one id nor a count tells what the caller has.
	Last []string `json:"l,omitempty"`
}

// maxLast is how many ids a token holds: hardly ever are more sent off in a millisecond, and a token stays below its limit.
const maxLast = 16

// knowsEdge tells whether the token names all that was handed out at its time.
func (c *exportCursor) knowsEdge() bool { return c.Done == 0 || !c.Paged && c.Ties <= len(c.Last) }

// add notes an id.
func (c *exportCursor) add(id string) {
	if len(c.Last) == maxLast {
		c.Last = c.Last[:copy(c.Last, c.Last[1:])]
	}
	c.Last = append(c.Last, id)
}

// encode returns the cursor as an opaque token. The checksum tells a damaged one; a forged one does no harm, since the policy
// decides about the form anew.
func (c exportCursor) encode() string {
	data, _ := json.Marshal(c)
	data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
	return base64.RawURLEncoding.EncodeToString(data)
}

func decodeExportCursor(token string) (c exportCursor, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) < 4 {
		return c, false
	}
	data, sum := data[:len(data)-4], data[len(data)-4:]
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(data) || json.Unmarshal(data, &c) != nil {
		return c, false
	}
	return c, c.Ties >= 0 && c.Done >= 0 && len(c.Last) <= maxLast
}

// exportDigest pins the fields that must stay the same from one stream to the next: all but the token.
func exportDigest(req *tallydv1.ExportSubmissionsRequest) uint64 {
	rest := proto.CloneOf(req)
	rest.ResumeToken = ""
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(rest)
	h := fnv.New64a()
	_, _ = h.Write(data)
	return h.Sum64()
}
