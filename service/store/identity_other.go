//go:build !unix

package store

// number is not known here.
func number(string) string { return "" }
