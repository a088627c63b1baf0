// Package cache lets callers share reads: those that come together are one, and recent answers are handed out again.
//
// It knows neither what an answer says nor who may see it; whoever hands one out decides that for each caller.
package cache
