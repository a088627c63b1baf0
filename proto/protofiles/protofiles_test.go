package protofiles

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
)

// What is printed and parsed again must be what was printed: a lost option of validate.proto would be a rule that buf never sees.
func TestWriteImportsParsesToTheSame(t *testing.T) {
	dir := t.TempDir()
	if err := WriteImports(dir); err != nil {
		t.Fatalf("WriteImports() = %v, want nil", err)
	}
	for _, want := range append(imports(), ForClients()...) {
		t.Run(want.Path(), func(t *testing.T) {
			got := compile(t, dir, want.Path())
			if diff := cmp.Diff(descriptor(t, want), descriptor(t, got), protocmp.Transform()); diff != "" {
				t.Errorf("%s, printed and parsed, differs (-want +got):\n%s", want.Path(), diff)
			}
		})
	}
}

func TestWriteImportsReportsWhatItCannotWrite(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteImports(taken); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("WriteImports(a file) = %v, want %v", err, syscall.ENOTDIR)
	}
}

func compile(t *testing.T, dir, path string) protoreflect.FileDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
	}
	files, err := compiler.Compile(t.Context(), path)
	if err != nil {
		t.Fatalf("compile the printed %s: %v", path, err)
	}
	return files[0]
}

// descriptor goes through bytes, so that options of both sides are parsed with the same types.
func descriptor(t *testing.T, file protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	t.Helper()
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(file))
	if err != nil {
		t.Fatal(err)
	}
	parsed := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(bytes, parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}
