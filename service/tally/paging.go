package tally

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// defaultAnswerLimit keeps an answer below the 4 MiB that gRPC clients accept by default, with room for framing.
const defaultAnswerLimit = 3_670_016

// listBinding is how a list RPC pages, at Tally and towards the caller.
type listBinding struct {
	items     *fieldPlan // the response's list
	itemsKey  string     // its key in the envelope; empty for a bare array
	hasMore   string     // empty where Tally sends everything at once
	maxLimit  int32      // 0 where the route knows no limit
	size      protoreflect.FieldDescriptor
	token     protoreflect.FieldDescriptor
	next      protoreflect.FieldDescriptor
	itemID    protoreflect.FieldDescriptor // may be nil
	anchorBy  protoreflect.FieldDescriptor // of an item; nil without an anchor
	anchorKey *fieldPlan                   // of the request
}

// newListBinding returns nil for an RPC that is no list.
func newListBinding(desc protoreflect.MethodDescriptor, m *method) (*listBinding, error) {
	option := listOption(desc)
	if option == nil {
		return nil, nil //nolint:nilnil // most RPCs are no lists, and nil says so everywhere
	}
	l := &listBinding{
		itemsKey: option.GetItems(),
		hasMore:  option.GetHasMore(),
		maxLimit: option.GetMaxLimit(),
		size:     m.request.desc.Fields().ByName("page_size"),
		token:    m.request.desc.Fields().ByName("page_token"),
		next:     m.response.desc.Fields().ByName("next_page_token"),
		items:    m.answer,
	}
	if l.items == nil {
		l.items = m.response.byKey[l.itemsKey]
	}
	if l.items == nil || !l.items.desc.IsList() || l.items.message == nil || l.size == nil || l.token == nil || l.next == nil {
		return nil, errors.New("a list needs page_size, page_token, next_page_token and a list of messages for its items")
	}
	l.itemID = l.items.message.desc.Fields().ByName("id")
	if option.GetAnchorItem() == "" {
		return l, nil
	}
	l.anchorBy = l.items.message.desc.Fields().ByName(protoreflect.Name(option.GetAnchorItem()))
	l.anchorKey = m.request.byName[protoreflect.Name(option.GetAnchorFilter())]
	if l.anchorBy == nil || l.anchorKey == nil {
		return nil, errors.New("the list's anchor names no field")
	}
	return l, nil
}

// cursor is where a list stands between two pages; it travels as the page token.
type cursor struct {
	Offset int    `json:"o"`           // items before the next page
	Limit  int    `json:"l,omitempty"` // size of Tally's pages, pinned by the first
	Filter uint64 `json:"f"`           // digest of the request's other fields
	Page   int    `json:"p,omitempty"` // number of Tally's page that was read last
	Digest uint64 `json:"d,omitempty"` // digest of that page's ids
	Last   string `json:"i,omitempty"` // id of the last item handed out
	Anchor string `json:"a,omitempty"` // value that pins a list which grows at its head
}

var errPageToken = errors.New("the page token is not one that this list handed out for this request")

// encode returns the cursor as an opaque token; the checksum tells a damaged token from a forged offset, which does no harm.
func (c cursor) encode() string {
	data, _ := json.Marshal(c)
	data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
	return base64.RawURLEncoding.EncodeToString(data)
}

func decodeCursor(token string) (cursor, error) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) < 4 {
		return cursor{}, errPageToken
	}
	data, sum := data[:len(data)-4], data[len(data)-4:]
	var c cursor
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(data) || json.Unmarshal(data, &c) != nil {
		return cursor{}, errPageToken
	}
	if c.Offset < 0 || c.Limit < 0 || c.Offset > 1<<40 {
		return cursor{}, errPageToken
	}
	return c, nil
}

// page is one page of a list on its way: what to ask Tally for, and what of its answer is the caller's.
type page struct {
	list   *listBinding
	cursor cursor
	number int // Tally's page, from 1
	want   int // most items to return; 0 for all
}

// newPage reads page_size and page_token. It returns errPageToken for a token of another request.
func newPage(l *listBinding, msg protoreflect.Message) (*page, error) {
	p := &page{list: l, want: int(msg.Get(l.size).Int()), number: 1}
	filter := filterDigest(l, msg)
	if token := msg.Get(l.token).String(); token != "" {
		c, err := decodeCursor(token)
		if err != nil || c.Filter != filter {
			return nil, errPageToken
		}
		p.cursor = c
	}
	p.cursor.Filter = filter
	if p.cursor.Limit == 0 && l.maxLimit > 0 && p.want > 0 {
		p.cursor.Limit = min(p.want, int(l.maxLimit))
	}
	if p.cursor.Limit > 0 && l.hasMore != "" {
		p.number = p.cursor.Offset/p.cursor.Limit + 1
	}
	return p, nil
}

// filterDigest pins the fields that must stay the same between pages: all but the size and the token.
func filterDigest(l *listBinding, msg protoreflect.Message) uint64 {
	rest := proto.Clone(msg.Interface())
	rest.ProtoReflect().Clear(l.size)
	rest.ProtoReflect().Clear(l.token)
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(rest)
	h := fnv.New64a()
	_, _ = h.Write([]byte(msg.Descriptor().FullName()))
	_, _ = h.Write(data)
	return h.Sum64()
}

// ask adds the page's parameters to the query.
func (p *page) ask(query url.Values) {
	if p.list.hasMore == "" {
		return
	}
	query.Set("page", strconv.Itoa(p.number))
	if p.list.maxLimit > 0 && p.cursor.Limit > 0 {
		query.Set("limit", strconv.Itoa(p.cursor.Limit))
	}
	if p.cursor.Anchor != "" {
		// The caller's own end may lie in the future; the anchor is within it, since the list that it was taken from is.
		query.Set(p.list.anchorKey.key, p.cursor.Anchor)
	}
}

// cut leaves in the response what this page hands out and sets the token of the next one. It returns an error for a list that
// repeats itself and *itemSizeError for an item that no answer can hold.
func (p *page) cut(resp protoreflect.Message, from envelope, limit int) error {
	items := resp.Mutable(p.list.items.desc).List()
	got := items.Len()
	if err := p.checkProgress(items, from); err != nil {
		return err
	}
	p.pin(items, from)
	start := p.start(items)
	end := got
	if p.want > 0 {
		end = min(end, start+p.want)
	}
	keep(items, start, end)
	kept, err := p.fit(resp, items, limit)
	if err != nil {
		return err
	}
	end = start + kept
	if more := end < got || from.hasMore; more {
		next := p.cursor
		next.Offset = p.next(end, got)
		if items.Len() > 0 {
			next.Last = p.id(items.Get(items.Len() - 1))
		}
		resp.Set(p.list.next, protoreflect.ValueOfString(next.encode()))
	}
	return nil
}

// checkProgress notices a list that would never end.
func (p *page) checkProgress(items protoreflect.List, from envelope) error {
	if p.list.hasMore == "" {
		return nil
	}
	if items.Len() == 0 && from.hasMore {
		return errors.New("an empty page that says more follow")
	}
	digest := p.digest(items)
	if p.cursor.Page != 0 && p.cursor.Page != p.number && p.cursor.Digest == digest && items.Len() > 0 {
		return fmt.Errorf("page %d repeats page %d", p.number, p.cursor.Page)
	}
	p.cursor.Page, p.cursor.Digest = p.number, digest
	return nil
}

// pin keeps, from the first page on, the size of Tally's pages and the anchor.
func (p *page) pin(items protoreflect.List, from envelope) {
	if p.list.hasMore != "" && p.cursor.Limit == 0 {
		p.cursor.Limit = from.limit
		if p.cursor.Limit <= 0 {
			p.cursor.Limit = max(items.Len(), 1)
		}
	}
	if p.list.anchorBy == nil || p.cursor.Anchor != "" || items.Len() == 0 {
		return
	}
	if first := items.Get(0).Message(); first.Has(p.list.anchorBy) {
		ts, _ := first.Get(p.list.anchorBy).Message().Interface().(*timestamppb.Timestamp)
		// Tally's filter is inclusive and its times end in whole milliseconds.
		p.cursor.Anchor = ts.AsTime().Truncate(time.Millisecond).Format(timeLayout)
	}
}

// start returns the index of the first item that was not handed out yet. The last item's id decides where it is seen, since a
// list that grew or shrank has moved; else the offset does.
func (p *page) start(items protoreflect.List) int {
	if p.cursor.Last != "" {
		for i := range items.Len() {
			if p.id(items.Get(i)) == p.cursor.Last {
				return i + 1
			}
		}
	}
	skip := p.cursor.Offset
	if p.list.hasMore != "" {
		skip %= p.cursor.Limit
	}
	return min(skip, items.Len())
}

// next returns the offset behind the item at end. A page that was read to its end is left for the next one, however short it was.
func (p *page) next(end, got int) int {
	if p.list.hasMore == "" {
		return end
	}
	if end >= got {
		return p.number * p.cursor.Limit
	}
	return (p.number-1)*p.cursor.Limit + end
}

func (p *page) id(item protoreflect.Value) string {
	if p.list.itemID == nil {
		return ""
	}
	return item.Message().Get(p.list.itemID).String()
}

func (p *page) digest(items protoreflect.List) uint64 {
	h := fnv.New64a()
	for i := range items.Len() {
		_, _ = h.Write([]byte(p.id(items.Get(i))))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// itemSizeError is a single item that exceeds what an answer may hold.
type itemSizeError struct{ size, limit int64 }

func (e *itemSizeError) Error() string {
	return fmt.Sprintf("the answer needs %d bytes, an answer holds %d", e.size, e.limit)
}

// fit drops items from the end until the answer is within the limit, and returns how many are left.
func (p *page) fit(resp protoreflect.Message, items protoreflect.List, limit int) (int, error) {
	size := proto.Size(resp.Interface())
	for size > limit && items.Len() > 1 {
		last := proto.Size(items.Get(items.Len() - 1).Message().Interface())
		items.Truncate(items.Len() - 1)
		// A tag and a length frame each item; a few bytes too many dropped do no harm.
		size -= last + 6
		if size <= limit {
			size = proto.Size(resp.Interface())
		}
	}
	if size > limit {
		return 0, &itemSizeError{size: int64(size), limit: int64(limit)}
	}
	return items.Len(), nil
}

// keep leaves the items from start to end.
func keep(items protoreflect.List, start, end int) {
	if start > 0 {
		for i := start; i < end; i++ {
			items.Set(i-start, items.Get(i))
		}
	}
	items.Truncate(max(end-start, 0))
}
