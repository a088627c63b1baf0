package service_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service"
)

// reflectionServer serves one of the contract's services, health and reflection, and returns a connection to them.
func reflectionServer(t *testing.T) *grpc.ClientConn {
	t.Helper()
	server := grpc.NewServer()
	tallydv1.RegisterFormServiceServer(server, tallydv1.UnimplementedFormServiceServer{})
	healthv1.RegisterHealthServer(server, health.NewServer())
	service.RegisterReflection(server)
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
	})
	dial := func(context.Context, string) (net.Conn, error) { return listener.DialContext(t.Context()) }
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("grpc.NewClient(): %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends one request to reflection and returns the answer.
func ask(t *testing.T, conn *grpc.ClientConn, req *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
	t.Helper()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatalf("ServerReflectionInfo(): %v", err)
	}
	if err := stream.Send(req); err != nil {
		t.Fatalf("Send(%v): %v", req, err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatalf("Recv() after %v: %v", req, err)
	}
	return resp
}

func symbol(name string) *reflectionv1.ServerReflectionRequest {
	return &reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name},
	}
}

// served parses the first file of an answer, which is the one that was asked for.
func served(t *testing.T, files [][]byte) *descriptorpb.FileDescriptorProto {
	t.Helper()
	if len(files) == 0 {
		t.Fatal("reflection answered without a file")
	}
	file := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(files[0], file); err != nil {
		t.Fatalf("parse the served file: %v", err)
	}
	return file
}

// commentAt returns the comment on what has the path, in the numbers of descriptor.proto.
func commentAt(file *descriptorpb.FileDescriptorProto, path ...int32) string {
	for _, at := range file.GetSourceCodeInfo().GetLocation() {
		if slices.Equal(at.GetPath(), path) {
			return at.GetLeadingComments()
		}
	}
	return ""
}

func TestReflectionServesComments(t *testing.T) {
	conn := reflectionServer(t)
	tests := []struct {
		name     string
		symbol   string
		wantFile string
		path     []int32
		want     string
	}{
		{name: "service", symbol: "tallyd.v1.FormService", wantFile: "tallyd/v1/form_service.proto", path: []int32{6, 0}, want: " FormService reads and changes forms"},
		{name: "method", symbol: "tallyd.v1.FormService.ListForms", wantFile: "tallyd/v1/form_service.proto", path: []int32{6, 0, 2, 0}, want: " ListForms lists the forms"},
		{name: "field of an import", symbol: "tallyd.v1.Form", wantFile: "tallyd/v1/forms.proto", path: []int32{4, 0, 2, 0}, want: " Id of the form"},
		{name: "enum value of a file that no service imports", symbol: "tallyd.v1.ErrorReason", wantFile: "tallyd/v1/errors.proto", path: []int32{5, 0, 2, 0}, want: " Never sent."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := served(t, ask(t, conn, symbol(test.symbol)).GetFileDescriptorResponse().GetFileDescriptorProto())
			if file.GetName() != test.wantFile {
				t.Fatalf("file of %s = %q, want %q", test.symbol, file.GetName(), test.wantFile)
			}
			if got := commentAt(file, test.path...); !strings.HasPrefix(got, test.want) {
				t.Errorf("comment in %s at %v = %q, want it to begin with %q", test.wantFile, test.path, got, test.want)
			}
		})
	}
}

func TestReflectionServesOptions(t *testing.T) {
	file := served(t, ask(t, reflectionServer(t), symbol("tallyd.v1.FormService")).GetFileDescriptorResponse().GetFileDescriptorProto())
	for _, method := range file.GetService()[0].GetMethod() {
		if method.GetName() != "GetForm" {
			continue
		}
		rule := proto.GetExtension(method.GetOptions(), annotations.E_Http).(*annotations.HttpRule)
		if got, want := rule.GetGet(), "/forms/{form_id}"; got != want {
			t.Errorf("route of the served GetForm = %q, want %q", got, want)
		}
		return
	}
	t.Error("the served FormService has no GetForm")
}

// Clients ask reflection for the types of error details and of health, which the contract does not import.
func TestReflectionServesWhatTheContractDoesNotImport(t *testing.T) {
	conn := reflectionServer(t)
	for name, want := range map[string]string{
		"grpc.health.v1.Health": "grpc/health/v1/health.proto",
		"google.rpc.ErrorInfo":  "google/rpc/error_details.proto",
	} {
		got := served(t, ask(t, conn, symbol(name)).GetFileDescriptorResponse().GetFileDescriptorProto()).GetName()
		if got != want {
			t.Errorf("file of %s = %q, want %q", name, got, want)
		}
	}
}

func TestReflectionServesEachFileOfAnAnswerByPath(t *testing.T) {
	conn := reflectionServer(t)
	for _, path := range []string{"tallyd/v1/forms.proto", "google/api/annotations.proto", "grpc/health/v1/health.proto"} {
		resp := ask(t, conn, &reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{FileByFilename: path},
		})
		if got := served(t, resp.GetFileDescriptorResponse().GetFileDescriptorProto()).GetName(); got != path {
			t.Errorf("file by name %q = %q", path, got)
		}
	}
}

func TestReflectionRefusesUnknownNames(t *testing.T) {
	resp := ask(t, reflectionServer(t), symbol("tallyd.v1.Nothing"))
	if resp.GetErrorResponse().GetErrorMessage() == "" {
		t.Errorf("reflection on an unknown name = %v, want an error", resp)
	}
}

func TestReflectionListsServices(t *testing.T) {
	resp := ask(t, reflectionServer(t), &reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	})
	var got []string
	for _, service := range resp.GetListServicesResponse().GetService() {
		got = append(got, service.GetName())
	}
	want := []string{
		"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
		"tallyd.v1.FormService",
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed services = %q, want %q", got, want)
	}
}

func TestReflectionV1AlphaServesComments(t *testing.T) {
	stream, err := reflectionv1alpha.NewServerReflectionClient(reflectionServer(t)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatalf("ServerReflectionInfo(): %v", err)
	}
	req := &reflectionv1alpha.ServerReflectionRequest{
		MessageRequest: &reflectionv1alpha.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "tallyd.v1.FormService"},
	}
	if err := stream.Send(req); err != nil {
		t.Fatalf("Send(%v): %v", req, err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatalf("Recv() after %v: %v", req, err)
	}
	file := served(t, resp.GetFileDescriptorResponse().GetFileDescriptorProto())
	if got, want := commentAt(file, 6, 0), " FormService reads and changes forms"; !strings.HasPrefix(got, want) {
		t.Errorf("comment of FormService over v1alpha = %q, want it to begin with %q", got, want)
	}
}

// Every name of the linked contract must resolve to a commented descriptor, or `describe` would fall silent for some.
func TestReflectionServesEveryMessageOfTheContract(t *testing.T) {
	conn := reflectionServer(t)
	messages := tallydv1.File_tallyd_v1_form_service_proto.Messages()
	for i := range messages.Len() {
		name := messages.Get(i).FullName()
		file := served(t, ask(t, conn, symbol(string(name))).GetFileDescriptorResponse().GetFileDescriptorProto())
		if commentAt(file, 4, int32(i)) == "" {
			t.Errorf("%s is served without a comment", name)
		}
	}
}
