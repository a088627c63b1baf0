package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// prepare finds the stream and the records, or makes them.
func (e *engine) prepare(ctx context.Context) (err error) {
	if e.server == nil {
		if err := checkVersion(e.conn.ConnectedServerVersion()); err != nil {
			return err
		}
	}
	want := e.streamConfig()
	if e.stream, err = e.js.Stream(ctx, streamName); errors.Is(err, jetstream.ErrStreamNotFound) {
		e.stream, err = e.js.CreateStream(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", streamName, explain(err))
	}
	config := e.stream.CachedInfo().Config
	if found, ok := config.Metadata[formatKey]; ok && found != format {
		return fmt.Errorf("stream %s has format %q, which this version, of format %s, cannot read: use the version that wrote it, or a newer one", streamName, found, format)
	}
	if err := checkConfig(config, want); err != nil {
		return err
	}
	return e.prepareRecords(ctx)
}

// prepareRecords finds the records, or makes them.
func (e *engine) prepareRecords(ctx context.Context) (err error) {
	want := jetstream.KeyValueConfig{Bucket: bucketName, Storage: jetstream.FileStorage, Replicas: e.replicas()}
	if e.records, err = e.js.KeyValue(ctx, bucketName); errors.Is(err, jetstream.ErrBucketNotFound) {
		e.records, err = e.js.CreateKeyValue(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucketName, explain(err))
	}
	if e.leader, err = e.ask(ctx, streamName); err != nil {
		return err
	}
	if e.keeper, err = e.ask(ctx, recordStream); err != nil {
		return err
	}
	return checkRecords(e.keeper.CachedInfo().Config, want)
}

// ask returns a stream of which the server that leads it answers alone: others may be behind what it has acknowledged.
func (e *engine) ask(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := e.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, explain(err))
	}
	if e.server == nil {
		stream.CachedInfo().Config.AllowDirect = false // by which the library decides whom to ask
	}
	return stream, nil
}

func (e *engine) streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Subjects: []string{prefix + ">"}, Storage: jetstream.FileStorage, Replicas: e.replicas(),
		// What is taken away is taken by name: no limit may drop an entry that nobody accounts for.
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		AllowDirect: true, AllowAtomicPublish: true,
		Metadata: map[string]string{formatKey: format},
	}
}

// replicas is how many servers of a cluster hold each message.
func (e *engine) replicas() int {
	if e.server != nil {
		return 1
	}
	return 3
}
