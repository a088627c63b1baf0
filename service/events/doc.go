// Package events takes in what Tally tells of submissions, keeps it in a log for each form and hands it out to those who watch. It does
// not ask Tally, and what an event says to a caller is for others to word.
package events
