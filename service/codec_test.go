package service

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// The codec's bytes are those of protobuf, whatever of a message is encoded already, and what is encoded whole is not copied.
func TestSharingCodec(t *testing.T) {
	name := &tallydv1.GetFormResponse{Form: &tallydv1.Form{Id: "f1", Name: new(strings.Repeat("x", 2000))}}
	wire, err := proto.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	sealed, half := &tallydv1.GetFormResponse{}, &tallydv1.GetFormResponse{Form: &tallydv1.Form{Id: "f2"}}
	sealed.ProtoReflect().SetUnknown(wire)
	half.ProtoReflect().SetUnknown(wire)
	tests := []struct {
		name       string
		message    proto.Message
		wantShared bool
	}{
		{"typed", name, false},
		{"bytes", sealed, true},
		{"both", half, false},
		{"nothing", &tallydv1.GetFormResponse{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want, err := proto.Marshal(test.message)
			if err != nil {
				t.Fatal(err)
			}
			slice, err := newSharingCodec().Marshal(test.message)
			if err != nil {
				t.Fatal(err)
			}
			defer slice.Free()
			if got := slice.Materialize(); !bytes.Equal(got, want) {
				t.Errorf("Marshal() = %d bytes that are not the %d of protobuf", len(got), len(want))
			}
			if shared := len(slice) == 1 && len(want) > 0 && &slice[0].ReadOnlyData()[0] == &wire[0]; shared != test.wantShared {
				t.Errorf("Marshal() shares the bytes: %v, want %v", shared, test.wantShared)
			}
		})
	}
}
