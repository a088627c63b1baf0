// Package quota shares the requests that Tally grants a key among callers, and never takes more of them.
//
// It hands out slots and knows neither Tally nor what a slot is used for; it never repeats or sends anything.
package quota
