// Package service is the gRPC side of tallyd: the services of the contract, the chain every call passes, and the one map from
// errors to statuses. It must not speak HTTP to Tally; that is service/tally's.
package service
