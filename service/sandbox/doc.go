// Package sandbox is a pretend Tally: the 38 routes of its REST API over HTTP,
// with a small company's forms behind them and the quirks of the real one.
// It must not import or be imported by the rest of service/, and nothing
// there may be so because the sandbox does it: Tally is the reference.
//
// Keys. tly-sandbox belongs to the creator of the seeded organization,
// tly-sandbox-member to a colleague who is in one workspace only, and
// tly-sandbox-other to another organization, on the FREE plan, that never had
// a webhook. SEED.md lists the seeded ids.
//
// Routes below /_sandbox/ steer the sandbox itself: they need no key, are not
// counted and not limited. Behaviours lists what is documented, observed or
// merely assumed.
package sandbox
