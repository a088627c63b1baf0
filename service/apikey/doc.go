// Package apikey keeps the one Tally key of this process: where it comes from, whether Tally still takes it, and
// when another replaces it.
//
// It must not speak HTTP or gRPC: whoever wires it supplies the check, and only the innermost round tripper reveals
// the key.
package apikey
