package service

import (
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// sharingCodec is gRPC's own codec, but that an answer which is bytes already leaves as these bytes: an event that a thousand watch, or an
// answer from memory, is encoded once and copied for none.
type sharingCodec struct{ encoding.CodecV2 }

func newSharingCodec() sharingCodec { return sharingCodec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal returns a message's bytes, which nobody may change.
func (c sharingCodec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(proto.Message); ok {
		if bytes := m.ProtoReflect().GetUnknown(); len(bytes) > 0 && len(bytes) == proto.Size(m) {
			return mem.BufferSlice{mem.SliceBuffer(bytes)}, nil
		}
	}
	return c.CodecV2.Marshal(v)
}
