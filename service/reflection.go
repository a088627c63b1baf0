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
// generated code does not carry. The contract's image is parsed when somebody asks first, since a server that nobody explores
// should not hold it.
func RegisterReflection(server reflection.GRPCServer) {
	options := reflection.ServerOptions{Services: server, DescriptorResolver: commented{}}
	reflectionv1.RegisterServerReflectionServer(server, reflection.NewServerV1(options))
	// Older clients know this version alone.
	reflectionv1alpha.RegisterServerReflectionServer(server, reflection.NewServer(options))
}

// commented finds descriptors of the contract with their comments, and what the contract does not import, such as health and the
// details of errors, among the generated ones.
type commented struct{}

// FindFileByPath returns the file, protoregistry.NotFound, or the error of a damaged image.
func (commented) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	files, err := contract.Files()
	if err != nil {
		return nil, err
	}
	file, err := files.FindFileByPath(path)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindFileByPath(path)
	}
	return file, err
}

// FindDescriptorByName returns what has the name, protoregistry.NotFound, or the error of a damaged image.
func (commented) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	files, err := contract.Files()
	if err != nil {
		return nil, err
	}
	found, err := files.FindDescriptorByName(name)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindDescriptorByName(name)
	}
	return found, err
}
