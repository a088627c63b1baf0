// Package quota shares the requests that Tally grants a key among callers, and never takes more of them.
//
// It hands out slots and knows neither Tally nor what a slot is used for; it never repeats or sends anything.
//
// # Who waits how long
//
// A pace is the time of one slot when they are even: a minute and the quickest round trip of late, over the slots there are. People's
// calls, those at interactive priority, may have all free slots at once after quiet. While they wait, slots come a pace apart, at most
// two of a hundred at once, and callers share them by weight.
//
// Batch calls go a pace apart while no person's call waits. However
// many of those wait, one batch call gets its slot ten paces after the one before: when that time has come it has the next slot that is
// free. So batch calls that wait have a tenth of the slots, and the first of them waits eleven paces at most; or, behind a burst of
// people that took every slot before it came, until the first slot of that burst ends, a minute after its response. A pause that Tally
// asked for comes on top. At rates below ten there may be no slot to keep free, and it is the next to end.
//
// A person's call beside batch calls alone waits a pace at most; slots end as unevenly as responses come, so where round trips differ
// it may be about as much longer.
package quota
