package tally

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Keep decides which items of a list a call hands out.
type Keep func(item proto.Message) (bool, error)

type keepContext struct{}

// WithKeep returns a context in which a list is read to its end and handed out, paged and counted, as if there were no items but those
// that keep keeps. With nil lists are what they are again.
func WithKeep(ctx context.Context, keep Keep) context.Context {
	return context.WithValue(ctx, keepContext{}, keep)
}

func keepFrom(ctx context.Context) Keep {
	keep, _ := ctx.Value(keepContext{}).(Keep)
	return keep
}

// maxGathered bounds the pages of a list that is read to its end; a list without an end is no list.
const maxGathered = 200

// gather reads all of Tally's pages and hands out one page of what is kept. It returns nil, an *Error, or the error of keep.
func (c *Client) gather(ctx context.Context, x *exchange, resp proto.Message, keep Keep) error {
	list := x.page.list
	whole := proto.Clone(x.msg.Interface())
	msg := whole.ProtoReflect()
	msg.Clear(list.token)
	msg.Set(list.size, protoreflect.ValueOfInt32(list.maxLimit))
	kept := resp.ProtoReflect().NewField(list.items.desc).List()
	seen := map[string]bool{}
	for range maxGathered {
		part := resp.ProtoReflect().New()
		if err := c.Call(WithKeep(ctx, nil), whole, part.Interface()); err != nil {
			return err
		}
		if err := x.page.sift(part.Get(list.items.desc).List(), kept, seen, keep); err != nil {
			return err
		}
		token := part.Get(list.next).String()
		if token == "" {
			return x.handOut(resp.ProtoReflect(), part, kept)
		}
		msg.Set(list.token, protoreflect.ValueOfString(token))
	}
	e := x.newError(KindProtocol, OutcomeUnknown)
	e.Err = errors.New("the list does not end")
	return e
}

// sift appends the items that are kept, each once: a list moves while it is read.
func (p *page) sift(items, kept protoreflect.List, seen map[string]bool, keep Keep) error {
	for i := range items.Len() {
		item := items.Get(i)
		if id := p.id(item); id != "" && seen[id] {
			continue
		} else if id != "" {
			seen[id] = true
		}
		mine, err := keep(item.Message().Interface())
		if err != nil {
			return err
		}
		if mine {
			kept.Append(item)
		}
	}
	return nil
}

// handOut fills the response with a page of what is kept, cut as a list that Tally sends whole.
func (x *exchange) handOut(resp, last protoreflect.Message, kept protoreflect.List) error {
	list := *x.page.list
	list.hasMore = ""
	x.page.list = &list
	last.Clear(list.items.desc)
	last.Clear(list.next)
	proto.Merge(resp.Interface(), last.Interface())
	if total := resp.Descriptor().Fields().ByName("total_size"); total != nil {
		resp.Set(total, protoreflect.ValueOfInt32(int32(kept.Len()))) //nolint:gosec // pages times their size is far less
	}
	resp.Set(list.items.desc, protoreflect.ValueOfList(kept))
	limit := x.client.config.Limits.Answer
	err := x.page.cut(resp, envelope{}, limit)
	if size, ok := errors.AsType[*itemSizeError](err); ok {
		e := x.newError(KindItemTooLarge, x.appliedOutcome())
		e.Size, e.Limit = size.size, size.limit
		return e
	}
	return err
}
