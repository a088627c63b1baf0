package service

import (
	"context"
	"sync"
	"time"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

const (
	// optionsAge is how long a form's options are taken for what they were.
	optionsAge = time.Hour
	// askAgain is for how long no unknown choice has them read again: what respondents type for "Other" is unknown each time.
	askAgain = time.Minute
	// askLimit bounds how long an event waits for that.
	askLimit = 3 * time.Second
)

// optionCache remembers what can be chosen in each form. It is safe for concurrent use.
type optionCache struct {
	mu    sync.Mutex
	forms map[string]*knownOptions
}

type knownOptions struct {
	options formOptions
	until   time.Time
	asked   time.Time     // when an unknown choice had them read last
	done    chan struct{} // closed when that was over
}

// of returns what is known of a form's options, and whether that is fresh. What is not known fills nothing in.
func (c *optionCache) of(form string) (options formOptions, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.known(form)
	return known.options, time.Now().Before(known.until)
}

// known returns what is known of a form. The lock must be held.
func (c *optionCache) known(form string) *knownOptions {
	known := c.forms[form]
	if known != nil {
		return known
	}
	if c.forms == nil {
		c.forms = map[string]*knownOptions{}
	}
	known = &knownOptions{}
	c.forms[form] = known
	return known
}

func (c *optionCache) learn(form string, options formOptions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.known(form)
	known.options, known.until = options, time.Now().Add(optionsAge)
}

// ask tells whether an unknown choice is a reason to read a form's options. If so, the channel is to be closed when that is over, else it
// was, or will be, closed by somebody else.
func (c *optionCache) ask(form string) (done chan struct{}, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.known(form)
	if known.done == nil || time.Since(known.asked) >= askAgain {
		known.asked, known.done, mine = time.Now(), make(chan struct{}), true
	}
	return known.done, mine
}

// learnOptions reads a form's blocks, unless they are known. Without them choices stay as Tally words them, which is no reason to leave a
// submission out.
func (u *Upstream) learnOptions(ctx context.Context, form string, questions []*tallydv1.Question) {
	if _, fresh := u.options.of(form); fresh {
		return
	}
	resp, err := fetch[tallydv1.ListBlocksResponse](background(ctx), u.submissions.tally, &tallydv1.ListBlocksRequest{FormId: form})
	if err == nil {
		u.options.learn(form, optionsOf(resp.GetBlocks(), questions))
	}
}

// fill fills in the choices of a form's submission. A choice that nobody knows may be an option that the form has got since, and so the
// form is asked; it may as well have been typed, or Tally not answer: then it is worded by what is known.
func (u *Upstream) fill(form string, submission *tallydv1.Submission) {
	options, _ := u.options.of(form)
	if question, choice := options.lacks(submission); choice {
		u.renewOptions(form, question)
		options, _ = u.options.of(form)
	}
	fillChoices(submission, options)
}

// renewOptions reads a form's options anew, those of questions that it has got since too. All who want that at once wait for one.
func (u *Upstream) renewOptions(form string, questions bool) {
	done, mine := u.options.ask(form)
	if !mine {
		<-done
		return
	}
	defer close(done)
	// Of no caller: all who get the event share what it says, and it is not to depend on who comes first and leaves.
	ctx, cancel := context.WithTimeout(background(context.Background()), askLimit)
	defer cancel()
	blocks, err := fetch[tallydv1.ListBlocksResponse](ctx, u.submissions.tally, &tallydv1.ListBlocksRequest{FormId: form})
	if err != nil {
		return
	}
	groups := groupsOf(blocks.GetBlocks())
	if !questions {
		known, _ := u.options.of(form)
		u.options.learn(form, known.renewed(groups))
		return
	}
	list, err := fetch[tallydv1.ListQuestionsResponse](ctx, u.submissions.tally, &tallydv1.ListQuestionsRequest{FormId: form})
	if err == nil {
		u.options.learn(form, optionsIn(groups, list.GetQuestions()))
	}
}
