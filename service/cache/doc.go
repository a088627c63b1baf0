// Package cache shares reads: it keeps answers for a while, and gives one fetch to all who ask the same at the same time. It must not
// know what it keeps: no RPC, no Tally, no quota, no rights; whoever may not read must be turned away before or in Ask.Join.
package cache
