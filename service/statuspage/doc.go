// Package statuspage remembers who called and what failed lately, and shows it to a person on this machine. It must not keep what a
// call carried: no message, no id of anything at Tally.
package statuspage
