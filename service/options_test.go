package service

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/quota"
	"github.com/tallyd/tallyd/service/tally"
)

// blocksOf is a Tally that has the blocks and questions of one form, and counts who asks for them.
type blocksOf struct {
	blocks            []*tallydv1.Block
	questions         []*tallydv1.Question
	asked, lists      atomic.Int32
	silent, unwelcome atomic.Bool // answers nothing; was asked by somebody whom others wait for
}

func (b *blocksOf) Check(proto.Message) error { return nil }

func (b *blocksOf) Call(ctx context.Context, _, resp proto.Message, _ ...tally.Option) error {
	b.unwelcome.Store(b.unwelcome.Load() || !quota.CallerOf(ctx).Batch)
	switch resp := resp.(type) {
	case *tallydv1.ListBlocksResponse:
		b.asked.Add(1)
		resp.Blocks = b.blocks
	case *tallydv1.ListQuestionsResponse:
		b.lists.Add(1)
		resp.Questions = b.questions
	default:
		return errors.New("nobody has asked for that so far")
	}
	if b.silent.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(time.Second)
	return nil
}

func chose(question string, c *tallydv1.Choices) *tallydv1.Submission {
	r := chosen(c)
	r.QuestionId = question
	return &tallydv1.Submission{Responses: []*tallydv1.QuestionResponse{r}}
}

func upstreamOf(t *testing.T) (*Upstream, *blocksOf) {
	t.Helper()
	b := &blocksOf{}
	b.blocks, b.questions = formOf(t, 0)
	return NewUpstream(b, HandlerConfig{}), b
}

// Of many that word an event with a choice that nobody knows one asks, at most once a minute, and all fill in what it learns.
func TestUnknownChoiceIsLookedUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, b := upstreamOf(t)
		filled := func(question string, given, want *tallydv1.Choices) {
			t.Helper()
			got := chose(question, given)
			u.fill("f", got)
			if diff := cmp.Diff(chose(question, want), got, protocmp.Transform()); diff != "" {
				t.Errorf("fill(%v) (-want +got):\n%s", given, diff)
			}
		}
		var words sync.WaitGroup
		for range 100 {
			words.Go(func() { filled("drink", choices("", "Tea", "typed-1", "Cocoa"), choices("tea", "Tea", "", "Cocoa")) })
		}
		words.Wait()
		if b.asked.Load() != 1 || b.lists.Load() != 1 {
			t.Errorf("a form that nobody knew is asked for %d blocks and %d questions, want 1 of each", b.asked.Load(), b.lists.Load())
		}
		b.blocks = append(b.blocks, block(t, "berlin", "MULTIPLE_CHOICE_OPTION", "drinks", `{"text":"Berlin"}`))
		time.Sleep(askAgain)
		for range 100 {
			words.Go(func() { filled("drink", choices("berlin", "Berlin"), choices("berlin", "Berlin")) })
		}
		words.Wait()
		for range 100 {
			filled("drink", choices("", "Berlin", "typed-2", "Juice"), choices("berlin", "Berlin", "", "Juice"))
		}
		if b.asked.Load() != 2 || b.lists.Load() != 1 {
			t.Errorf("%d blocks and %d questions were asked for within a minute of an option more, want 2 and 1", b.asked.Load(), b.lists.Load())
		}
		time.Sleep(askAgain)
		filled("drink", choices("tea", "Tea"), choices("tea", "Tea"))
		u.fill("f", &tallydv1.Submission{Responses: []*tallydv1.QuestionResponse{textAs("x")}})
		if b.asked.Load() != 2 || b.unwelcome.Load() {
			t.Errorf("what is known was asked for, %d times in all, or not in the background", b.asked.Load())
		}
	})
}

// A Tally that does not answer holds events up for seconds, once a minute, and they are worded by what is known.
func TestUnknownChoiceWithoutTally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, b := upstreamOf(t)
		u.options.learn("f", optionsOf(b.blocks, b.questions))
		b.silent.Store(true)
		begun := time.Now()
		for range 100 {
			got := chose("drink", choices("tea", "", "typed", "Cocoa"))
			u.fill("f", got)
			if want := chose("drink", choices("tea", "Tea", "", "Cocoa")); !proto.Equal(got, want) {
				t.Errorf("fill() = %v, want %v", got, want)
			}
		}
		if waited := time.Since(begun); waited != askLimit || b.asked.Load() != 1 {
			t.Errorf("100 events waited %v for %d requests, want %v for 1", waited, b.asked.Load(), askLimit)
		}
	})
}
