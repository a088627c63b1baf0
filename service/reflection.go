package service

import (
	"errors"

	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	contract "github.com/tallyd/tallyd/proto"
)

// RegisterReflection registers both versions of gRPC's reflection on server. They describe the contract with its comments, which
// generated code does not carry. It returns an error when the embedded image of the contract is damaged.
func RegisterReflection(server reflection.GRPCServer) error {
	files, err := contract.Files()
	if err != nil {
		return err
	}
	options := reflection.ServerOptions{Services: server, DescriptorResolver: commented{files}}
	reflectionv1.RegisterServerReflectionServer(server, reflection.NewServerV1(options))
	// Older clients know this version alone.
	reflectionv1alpha.RegisterServerReflectionServer(server, reflection.NewServer(options))
	return nil
}

// commented finds descriptors of the contract with their comments, and what the contract does not import, such as health and the
// details of errors, among the generated ones.
type commented struct {
	files *protoregistry.Files
}

// FindFileByPath returns the file, or protoregistry.NotFound.
func (c commented) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	file, err := c.files.FindFileByPath(path)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindFileByPath(path)
	}
	return file, err
}

// FindDescriptorByName returns what has the name, or protoregistry.NotFound.
func (c commented) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	found, err := c.files.FindDescriptorByName(name)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindDescriptorByName(name)
	}
	return found, err
}
