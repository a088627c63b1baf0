package service

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tallyd/tallyd/service/tally"
)

// touches tells whether an update changes a field or a part of it: the mask names it or everything, or there is no mask and it is set.
func touches(mask *fieldmaskpb.FieldMask, field string, set bool) bool {
	if len(mask.GetPaths()) == 0 {
		return set
	}
	return slices.ContainsFunc(mask.GetPaths(), func(path string) bool {
		return path == "*" || path == field || strings.HasPrefix(path, field+".")
	})
}

// overlay copies the fields that an update changes from one message onto another of the same type; those it names and leaves unset
// are cleared.
func overlay(onto, from proto.Message, mask *fieldmaskpb.FieldMask, fields []string) {
	dst, src := onto.ProtoReflect(), from.ProtoReflect()
	for _, name := range fields {
		field := src.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case !touches(mask, name, src.Has(field)):
		case src.Has(field):
			dst.Set(field, src.Get(field))
		default:
			dst.Clear(field)
		}
	}
}

// checkUnchanged compares a resource's update_time with what the caller expects; Tally itself has no precondition.
func checkUnchanged(expected, have *timestamppb.Timestamp, resource, id string) error {
	if expected == nil || expected.AsTime().Equal(have.AsTime()) {
		return nil
	}
	return &tally.Error{
		Kind: tally.KindPrecondition, Effect: tally.Update, Outcome: tally.OutcomeNotSent,
		ResourceType: resource, ResourceID: id,
		Message: "update_time is " + have.AsTime().Format(time.RFC3339Nano),
	}
}
