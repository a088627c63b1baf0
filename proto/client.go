package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/tallyd/tallyd/proto/protofiles"
)

// descriptorFile describes the standard options. protocs before 22 do not know debug_redact by themselves, and their generator of Java
// aborts on an option that is in no file that it is given.
const descriptorFile = "google/protobuf/descriptor.proto"

// dependencyTag is the tag of FileDescriptorProto.dependency, with which the paths of an import's comments begin.
const dependencyTag = 3

// ClientDescriptorSet returns a serialized google.protobuf.FileDescriptorSet of what a client needs: the contract with its
// comments, google/rpc's files to read the details of errors, gRPC's health protocol, and their imports. Options and imports that
// only the server reads are left out, so that a client needs no module of google.api or buf.validate; standard options stay. Files
// come after those that they import. It returns an error when the embedded image is damaged.
func ClientDescriptorSet() ([]byte, error) {
	set, err := clientSet()
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(set)
}

// ClientFiles returns the paths of the files in ClientDescriptorSet that a client is generated from: all but google/protobuf's, which
// every protobuf runtime brings. It returns an error when the embedded image is damaged.
func ClientFiles() ([]string, error) {
	set, err := clientSet()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, file := range set.GetFile() {
		if isForClients(file.GetName()) {
			paths = append(paths, file.GetName())
		}
	}
	return paths, nil
}

func clientSet() (*descriptorpb.FileDescriptorSet, error) {
	// Without a resolver every option beyond descriptor.proto's own is unknown, and so are buf's notes about the image.
	unmarshal := proto.UnmarshalOptions{DiscardUnknown: true, Resolver: new(protoregistry.Types)}
	image := new(descriptorpb.FileDescriptorSet)
	if err := unmarshal.Unmarshal(Image, image); err != nil {
		return nil, fmt.Errorf("parse the contract's image: %w", err)
	}
	client := clientFiles{byPath: map[string]*descriptorpb.FileDescriptorProto{}, set: new(descriptorpb.FileDescriptorSet)}
	for _, file := range image.GetFile() {
		stripImports(file)
		if redacts(file.GetMessageType()) {
			file.Dependency = append(file.Dependency, descriptorFile)
		}
		client.byPath[file.GetName()] = file
	}
	for _, file := range protofiles.ForClients() {
		client.offer(file)
	}
	for _, path := range slices.Sorted(maps.Keys(client.byPath)) {
		if isForClients(path) {
			client.add(path)
		}
	}
	return client.set, nil
}

// clientFiles collects the files of a client in the order in which they can be linked.
type clientFiles struct {
	byPath map[string]*descriptorpb.FileDescriptorProto
	set    *descriptorpb.FileDescriptorSet
}

// offer makes a linked file and its imports available, unless the image has them.
func (c *clientFiles) offer(file protoreflect.FileDescriptor) {
	if c.byPath[file.Path()] != nil {
		return
	}
	c.byPath[file.Path()] = protodesc.ToFileDescriptorProto(file)
	for i := range file.Imports().Len() {
		c.offer(file.Imports().Get(i).FileDescriptor)
	}
}

// add appends a file after its imports, each once.
func (c *clientFiles) add(path string) {
	file := c.byPath[path]
	if slices.Contains(c.set.GetFile(), file) {
		return
	}
	for _, dependency := range file.GetDependency() {
		c.add(dependency)
	}
	c.set.File = append(c.set.File, file)
}

// stripImports removes the imports that only server-side options need. Of the source locations it keeps those with a comment:
// the others point at what is gone, and no generator reads them.
func stripImports(file *descriptorpb.FileDescriptorProto) {
	file.Dependency = slices.DeleteFunc(file.GetDependency(), serverOnly)
	info := file.GetSourceCodeInfo()
	if info == nil {
		return
	}
	info.Location = slices.DeleteFunc(info.GetLocation(), func(at *descriptorpb.SourceCodeInfo_Location) bool {
		path := at.GetPath()
		uncommented := at.LeadingComments == nil && at.TrailingComments == nil && len(at.GetLeadingDetachedComments()) == 0
		return uncommented || len(path) > 0 && path[0] == dependencyTag
	})
}

// redacts tells whether a field of the messages is marked debug_redact.
func redacts(messages []*descriptorpb.DescriptorProto) bool {
	return slices.ContainsFunc(messages, func(message *descriptorpb.DescriptorProto) bool {
		return redacts(message.GetNestedType()) ||
			slices.ContainsFunc(message.GetField(), func(field *descriptorpb.FieldDescriptorProto) bool {
				return field.GetOptions().GetDebugRedact()
			})
	})
}

func serverOnly(path string) bool {
	return isBelow(path, "google/api/", "buf/validate/", "tallyd/options/")
}

func isForClients(path string) bool {
	return isBelow(path, "tallyd/v1/", "google/rpc/", "grpc/health/v1/")
}

func isBelow(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return strings.HasPrefix(path, folder) })
}
