package service

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tallyd/tallyd/service/tally"
)

// silence is a Tally that fails every call.
type silence struct{}

func (silence) Call(context.Context, proto.Message, proto.Message, ...tally.Option) error {
	return errors.New("silence")
}
func (silence) Check(proto.Message) error { return nil }

// registrations collects what Register registers.
type registrations map[*grpc.ServiceDesc]any

func (r registrations) RegisterService(desc *grpc.ServiceDesc, handler any) { r[desc] = handler }

// TestEveryRPCHasAHandler calls each method of each service: the generated stand-in answers UNIMPLEMENTED, and only that.
func TestEveryRPCHasAHandler(t *testing.T) {
	registered := registrations{}
	Register(registered, silence{}, HandlerConfig{})
	for desc, handler := range registered {
		for _, method := range desc.Methods {
			_, err := method.Handler(handler, t.Context(), func(any) error { return nil }, nil)
			if status.Code(err) == codes.Unimplemented {
				t.Errorf("%s.%s has no handler: add it to the file of its resource in service/, beside its neighbours",
					strings.TrimPrefix(desc.ServiceName, "tallyd.v1."), method.MethodName)
			}
		}
	}
	if len(registered) == 0 {
		t.Error("Register() registered no service")
	}
}
