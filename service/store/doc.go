// Package store keeps what must outlive the process: a log of messages in one order, and small records. Both are NATS JetStream's, a
// server inside this process or a cluster elsewhere. It knows nothing of what messages and records say.
package store
