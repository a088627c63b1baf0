// Package policy says what each caller may do and see. It must not know how calls travel: no transport, no status, no Tally; it reads
// the contract, a file, and what a Finder tells of where forms lie.
package policy
