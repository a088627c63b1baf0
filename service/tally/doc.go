// Package tally speaks Tally's REST API as the contract's descriptors describe it: it binds an RPC to a request, encodes, sends,
// decodes and says what happened. It must not import gRPC and must not name a resource of Tally's.
package tally
