// Package identity says who made a gRPC call, as far as that is proven: by a certificate, by a proxy's word, by a signed token. It must
// not know what anybody may do.
package identity
