package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// leastVersion is that of the first server that takes a batch whole or not at all.
const leastMajor, leastMinor = 2, 12

// The engine's codes for a cluster that cannot hold what is asked of it.
const (
	noPeers         jetstream.ErrorCode = 10005
	replicasOfOne   jetstream.ErrorCode = 10074
	notEnoughRoomOf jetstream.ErrorCode = 10047
)

// checkVersion refuses servers that lack what the log needs. A version that nobody can read is for the settings to judge.
func checkVersion(version string) error {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if known := errA == nil && errB == nil; !known || a > leastMajor || a == leastMajor && b >= leastMinor {
		return nil
	}
	return fmt.Errorf("the NATS server is of version %s, and the log needs %d.%d or newer", version, leastMajor, leastMinor)
}

// explain says in our words what the engine says in a code, where that helps whoever set it up.
func explain(err error) error {
	switch code(err) {
	case noPeers, replicasOfOne:
		return fmt.Errorf("the log needs a cluster of at least 3 servers with JetStream: %w", err)
	case notEnoughRoomOf:
		return fmt.Errorf("the servers have no room for it: %w", err)
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("JetStream must be on, for this account too: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the cluster does not answer, as one without a leader, or one that denies this account $JS.API.>: %w", err)
	}
	return err
}

// setting is one that a stream was made with and that the log needs otherwise.
type setting struct {
	name        string
	found, want any
	wrong       bool
}

// checkConfig refuses a stream that somebody made with settings under which entries would be lost or could not be written.
func checkConfig(found, want jetstream.StreamConfig) error {
	capped := found.MaxMsgs > 0 || found.MaxBytes > 0
	return refuse(streamName, append(safety(found, want),
		setting{"subjects", found.Subjects, want.Subjects, !slices.Equal(found.Subjects, want.Subjects)},
		setting{"retention", found.Retention, want.Retention, found.Retention != want.Retention},
		// A limit that refuses what is new drops nothing.
		setting{"discard", found.Discard, want.Discard, capped && found.Discard != want.Discard},
		setting{"max_msgs_per_subject", found.MaxMsgsPerSubject, "unlimited", found.MaxMsgsPerSubject > 0},
		setting{"max_msg_size", found.MaxMsgSize, "unlimited", found.MaxMsgSize > 0},
		setting{"allow_direct", found.AllowDirect, true, !found.AllowDirect},
		setting{"allow_atomic", found.AllowAtomicPublish, true, !found.AllowAtomicPublish},
		setting{"subject_transform", "set", "none", found.SubjectTransform != nil},
		setting{"mirror or sources", "set", "none", found.Mirror != nil || len(found.Sources) > 0},
		setting{"metadata " + formatKey, found.Metadata[formatKey], format, found.Metadata[formatKey] != format},
	))
}

// checkRecords refuses a bucket that somebody made with such settings.
func checkRecords(found jetstream.StreamConfig, want jetstream.KeyValueConfig) error {
	return refuse("of bucket "+bucketName, safety(found, jetstream.StreamConfig{Storage: want.Storage, Replicas: want.Replicas}))
}

// safety compares what must hold of all that is kept.
func safety(found, want jetstream.StreamConfig) []setting {
	return []setting{
		{"storage", found.Storage, want.Storage, found.Storage != want.Storage},
		{"num_replicas", found.Replicas, want.Replicas, found.Replicas < want.Replicas},
		{"max_age", found.MaxAge, "unlimited", found.MaxAge > 0},
		{"persist_mode", found.PersistMode, want.PersistMode, found.PersistMode != want.PersistMode},
		{"no_ack", found.NoAck, false, found.NoAck},
		{"sealed", found.Sealed, false, found.Sealed},
		{"deny_purge", found.DenyPurge, false, found.DenyPurge},
	}
}

// refuse says in one sentence what is wrong with a stream.
func refuse(name string, settings []setting) error {
	var wrong []string
	for _, s := range settings {
		if s.wrong {
			wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", s.name, s.found, s.want))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("stream %s was made with settings that lose events: %s: change them, or remove it and let tallyd make it", name, strings.Join(wrong, "; "))
}
