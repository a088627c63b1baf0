package apikey

import (
	"context"
	"errors"
	"time"
)

const (
	reasonOrganization = "belongs to another organization"
	reasonRejected     = "tally rejects it"
	reasonUnchecked    = "could not be checked yet"
)

// consider looks at the source and decides on a key that is not the one in use, and reports whether Tally was asked
// about it. A key that was refused before is only asked about again if again is set.
func (c *custody) consider(ctx context.Context, again bool) bool {
	next, ok := c.read()
	if !ok {
		return false
	}
	if next.Equal(c.key) {
		c.forget()
		return false
	}
	if !again && next.Equal(c.refused.key) {
		return false
	}
	identity, err := c.ask(ctx, next)
	switch {
	case err == nil:
		c.admit(ctx, next, identity)
	case errors.Is(err, ErrRejected):
		c.turnDown(ctx, next, err)
	case ctx.Err() == nil:
		c.refuse(next, reasonUnchecked, true, "error", err)
	}
	c.publish()
	return true
}

// read keeps the last good key whatever the source holds now, and says each complaint once.
func (c *custody) read() (Key, bool) {
	key, err := c.source.Read()
	if err != nil {
		if c.badFile != err.Error() {
			c.badFile = err.Error()
			c.log.Error("new key cannot be read: the old one stays in use", "alias", c.key.Alias(), "error", err)
		}
		return Key{}, false
	}
	c.badFile = ""
	return key, true
}

// forget drops the key that waited, because the source holds the one in use again.
func (c *custody) forget() {
	if c.refused.key.IsZero() {
		return
	}
	c.refused = refusal{}
	c.publish()
}

// admit decides on a key that Tally accepts. One of another organization would show the callers of this process the
// forms of strangers, so it has to wait for as long as the old key works, and that is asked and not presumed.
func (c *custody) admit(ctx context.Context, next Key, identity Identity) {
	if !c.dead && !c.sameOrganization(identity) && !c.proven() {
		c.probe(ctx)
	}
	if !c.dead && c.known && !c.sameOrganization(identity) {
		c.refuse(next, reasonOrganization, false,
			"organization", c.identity.OrganizationID, "new_organization", identity.OrganizationID)
		return
	}
	c.replace(next, identity)
}

func (c *custody) sameOrganization(identity Identity) bool {
	return c.known && c.identity.OrganizationID == identity.OrganizationID
}

// turnDown decides on a key that Tally rejects: a dead key takes the place of a dead one only, because the source
// is right about which one to ask for from now on.
func (c *custody) turnDown(ctx context.Context, next Key, err error) {
	if !c.dead && !c.known {
		c.probe(ctx)
	}
	if !c.dead {
		c.refuse(next, reasonRejected, false)
		return
	}
	c.log.Error("new key is rejected like the old one", "alias", next.Alias(), "old_alias", c.key.Alias())
	c.key, c.refused = next, refusal{}
	c.identity, c.known = Identity{}, false
	c.checked = time.Now()
	c.last = outcome{verdict: VerdictRejected, err: err, at: c.checked}
}

// refuse keeps the old key in use. The log has one line for each new key and reason, however often it is retried.
func (c *custody) refuse(next Key, reason string, again bool, attrs ...any) {
	if !next.Equal(c.refused.key) || c.refused.reason != reason {
		attrs = append([]any{"alias", next.Alias(), "old_alias", c.key.Alias(), "reason", reason}, attrs...)
		c.log.Error("new key is refused: the old one stays in use", attrs...)
	}
	c.refused = refusal{key: next, reason: reason, again: again}
}

// replace puts the new key in use. Requests that are under way finish with the key that they took.
func (c *custody) replace(next Key, identity Identity) {
	attrs := []any{"alias", next.Alias(), "old_alias", c.key.Alias(), "organization", identity.OrganizationID}
	switch {
	case c.sameOrganization(identity):
		c.log.Info("key is replaced", attrs...)
	case c.known:
		c.log.Warn("key is replaced by one of another organization, because tally rejects the old one",
			append(attrs, "old_organization", c.identity.OrganizationID)...)
	default:
		c.log.Warn("key is replaced by one of an organization that cannot be compared: the old one was never confirmed", attrs...)
	}
	c.key, c.refused = next, refusal{}
	c.accept(identity, time.Now())
}

// proven reports whether Tally accepted the key in use so lately that it need not be asked.
func (c *custody) proven() bool {
	return c.last.verdict == VerdictGood && c.last.fresh(time.Now())
}
