package contract_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/tallyd/tallyd/gen/tallyd/config/v1"
	_ "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	_ "github.com/tallyd/tallyd/gen/tallyd/v1" // Without it no option could be read and no generated file compared.
	contract "github.com/tallyd/tallyd/proto"
)

func TestFilesKeepsComments(t *testing.T) {
	got := method(t, files(t), "tallyd.v1.FormService.GetForm")
	if comment := leadingComment(got); !strings.HasPrefix(comment, " GetForm returns one form") {
		t.Errorf("comment of GetForm in Files() = %q, want the one of form_service.proto", comment)
	}
}

// The image, the sources and the generated code are three forms of one contract; `make generate` renews them together.
func TestImageSourcesAndGeneratedCodeAgree(t *testing.T) {
	dir := writeSources(t)
	for _, want := range contractFiles(t) {
		t.Run(want.Path(), func(t *testing.T) {
			generated, err := protoregistry.GlobalFiles.FindFileByPath(want.Path())
			if err != nil {
				t.Fatalf("generated code of %s: %v; run make generate", want.Path(), err)
			}
			if diff := cmp.Diff(bare(t, want), bare(t, generated), protocmp.Transform()); diff != "" {
				t.Errorf("%s: image and generated code differ; run make generate (-image +generated):\n%s", want.Path(), diff)
			}
			if diff := cmp.Diff(bare(t, want), bare(t, compile(t, dir, want.Path())), protocmp.Transform()); diff != "" {
				t.Errorf("%s: image and sources differ; run make generate (-image +sources):\n%s", want.Path(), diff)
			}
		})
	}
}

func TestWriteSourcesCompilesWithNothingElse(t *testing.T) {
	dir := writeSources(t)
	for _, path := range []string{
		"google/rpc/status.proto", "google/rpc/code.proto", "google/rpc/error_details.proto", "grpc/health/v1/health.proto",
	} {
		if compile(t, dir, path).Path() != path {
			t.Errorf("compile(%q) gave another file", path)
		}
	}
	info := compile(t, dir, "google/rpc/error_details.proto").Messages().ByName("ErrorInfo")
	if info == nil || info.Fields().ByName("reason") == nil {
		t.Errorf("google.rpc.ErrorInfo in the written sources = %v, want a message with a reason", info)
	}
}

func TestWriteSourcesReportsWhatItCannotWrite(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := contract.WriteSources(taken); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("WriteSources(a file) = %v, want %v", err, syscall.ENOTDIR)
	}
}

func TestClientDescriptorSetNeedsNoOtherModule(t *testing.T) {
	client := clientSet(t)
	var got []string
	for _, file := range client.GetFile() {
		got = append(got, file.GetName())
	}
	for _, folder := range []string{"google/api/", "buf/validate/", "tallyd/options/"} {
		if slices.ContainsFunc(got, func(path string) bool { return strings.HasPrefix(path, folder) }) {
			t.Errorf("ClientDescriptorSet() holds %q, want nothing below %s", got, folder)
		}
	}
	for _, path := range []string{
		"google/rpc/status.proto", "google/rpc/code.proto", "google/rpc/error_details.proto", "grpc/health/v1/health.proto",
	} {
		if !slices.Contains(got, path) {
			t.Errorf("ClientDescriptorSet() holds %q, want %s among them", got, path)
		}
	}
}

// Older protocs, Debian's among them, do not know debug_redact; their generator of Java aborts on what it does not know, unless the
// file imports the descriptor.proto that explains it.
func TestClientDescriptorSetExplainsRedactionToOlderGenerators(t *testing.T) {
	explained := 0
	for _, file := range clientSet(t).GetFile() {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		// What a protoc without debug_redact leaves unknown: the field's options with tag 16 set to true.
		redacts := bytes.Contains(text, []byte("\x42\x03\x80\x01\x01"))
		imports := slices.Contains(file.GetDependency(), "google/protobuf/descriptor.proto")
		if redacts != imports {
			t.Errorf("%s: has debug_redact: %v, imports descriptor.proto: %v, want both or neither", file.GetName(), redacts, imports)
		}
		if redacts {
			explained++
		}
	}
	if explained == 0 {
		t.Error("no file of ClientDescriptorSet() has debug_redact, want some: this test looks for the wrong bytes")
	}
}

// A client is generated from the listed files and its runtime's own, and needs no others.
func TestClientFilesAreAllThatAClientIsGeneratedFrom(t *testing.T) {
	listed, err := contract.ClientFiles()
	if err != nil {
		t.Fatalf("ClientFiles(): %v", err)
	}
	for _, file := range clientSet(t).GetFile() {
		if name := file.GetName(); slices.Contains(listed, name) == strings.HasPrefix(name, "google/protobuf/") {
			t.Errorf("ClientFiles() = %q, want all files of ClientDescriptorSet() but google/protobuf's; it is wrong about %s", listed, name)
		}
	}
	if !slices.Contains(listed, "tallyd/v1/form_service.proto") {
		t.Errorf("ClientFiles() = %q, want tallyd/v1/form_service.proto among them", listed)
	}
}

// Readers such as protoc link file by file, so that each must come after what it imports.
func TestClientDescriptorSetIsInOrder(t *testing.T) {
	linked := new(protoregistry.Files)
	for _, file := range clientSet(t).GetFile() {
		descriptor, err := protodesc.NewFile(file, linked)
		if err != nil {
			t.Fatalf("link %s after %d others: %v", file.GetName(), linked.NumFiles(), err)
		}
		if err := linked.RegisterFile(descriptor); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := linked.FindDescriptorByName("tallyd.v1.SubmissionService.ListSubmissions"); err != nil {
		t.Errorf("find ListSubmissions in ClientDescriptorSet(): %v", err)
	}
}

func TestClientDescriptorSetKeepsTypesCommentsAndStandardOptions(t *testing.T) {
	client, err := protodesc.NewFiles(clientSet(t))
	if err != nil {
		t.Fatalf("link ClientDescriptorSet(): %v", err)
	}
	for _, full := range contractFiles(t) {
		if !strings.HasPrefix(full.Path(), "tallyd/v1/") {
			continue
		}
		got, err := client.FindFileByPath(full.Path())
		if err != nil {
			t.Errorf("ClientDescriptorSet() lacks %s: %v", full.Path(), err)
			continue
		}
		if diff := cmp.Diff(comments(full), comments(got)); diff != "" {
			t.Errorf("comments of %s differ (-full +client):\n%s", full.Path(), diff)
		}
		want := bare(t, full)
		want.Dependency = bare(t, got).GetDependency()
		dropExtensions(want.ProtoReflect())
		if diff := cmp.Diff(want, bare(t, got), protocmp.Transform()); diff != "" {
			t.Errorf("%s differs in more than server-side options (-full +client):\n%s", full.Path(), diff)
		}
	}
}

func TestClientDescriptorSetKeepsRedaction(t *testing.T) {
	client, err := protodesc.NewFiles(clientSet(t))
	if err != nil {
		t.Fatalf("link ClientDescriptorSet(): %v", err)
	}
	file, err := client.FindDescriptorByName("tallyd.v1.File.url")
	if err != nil {
		t.Fatal(err)
	}
	if !file.Options().(*descriptorpb.FieldOptions).GetDebugRedact() {
		t.Error("File.url in ClientDescriptorSet() has no debug_redact, want it kept")
	}
	getForm := method(t, client, "tallyd.v1.FormService.GetForm")
	options := getForm.Options().(*descriptorpb.MethodOptions)
	if got, want := options.GetIdempotencyLevel(), descriptorpb.MethodOptions_NO_SIDE_EFFECTS; got != want {
		t.Errorf("idempotency level of GetForm in ClientDescriptorSet() = %v, want %v", got, want)
	}
	if rest := options.ProtoReflect().GetUnknown(); len(rest) != 0 {
		t.Errorf("GetForm in ClientDescriptorSet() keeps %d bytes of options that a client cannot read", len(rest))
	}
}

func TestClientDescriptorSetIsDeterministic(t *testing.T) {
	first, err := contract.ClientDescriptorSet()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		again, err := contract.ClientDescriptorSet()
		if err != nil || !slices.Equal(first, again) {
			t.Fatalf("ClientDescriptorSet() = %d bytes, %v; want the same %d bytes as before", len(again), err, len(first))
		}
	}
}

func clientSet(t *testing.T) *descriptorpb.FileDescriptorSet {
	t.Helper()
	bytes, err := contract.ClientDescriptorSet()
	if err != nil {
		t.Fatalf("ClientDescriptorSet(): %v", err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(bytes, set); err != nil {
		t.Fatalf("parse ClientDescriptorSet(): %v", err)
	}
	return set
}

func writeSources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := contract.WriteSources(dir); err != nil {
		t.Fatalf("WriteSources(): %v", err)
	}
	return dir
}

func compile(t *testing.T, dir, path string) protoreflect.FileDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
	}
	files, err := compiler.Compile(t.Context(), path)
	if err != nil {
		t.Fatalf("compile the written %s: %v", path, err)
	}
	return files[0]
}

// bare returns the file without comments, through bytes so that both sides' options are parsed with the same types.
func bare(t *testing.T, file protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	t.Helper()
	bytes, err := proto.Marshal(protodesc.ToFileDescriptorProto(file))
	if err != nil {
		t.Fatal(err)
	}
	parsed := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(bytes, parsed); err != nil {
		t.Fatal(err)
	}
	parsed.SourceCodeInfo = nil
	return parsed
}

// comments maps each path of the file to its comment, dependencies left out.
func comments(file protoreflect.FileDescriptor) map[string]string {
	found := map[string]string{}
	for i := range file.SourceLocations().Len() {
		at := file.SourceLocations().Get(i)
		text := strings.Join(at.LeadingDetachedComments, "\n") + at.LeadingComments + at.TrailingComments
		if text != "" && at.Path[0] != 3 {
			found[at.Path.String()] = text
		}
	}
	return found
}

// dropExtensions clears every custom option, and options that held nothing else.
func dropExtensions(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsExtension():
			m.Clear(field)
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				dropExtensions(value.List().Get(i).Message())
			}
		case field.Message() != nil && !field.IsMap():
			dropExtensions(value.Message())
		}
		return true
	})
}

func leadingComment(d protoreflect.Descriptor) string {
	return d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments
}

func files(t *testing.T) *protoregistry.Files {
	t.Helper()
	files, err := contract.Files()
	if err != nil {
		t.Fatalf("Files(): %v", err)
	}
	return files
}

// contractFiles returns the contract's own files, without their imports.
func contractFiles(t *testing.T) []protoreflect.FileDescriptor {
	t.Helper()
	var own []protoreflect.FileDescriptor
	files(t).RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(file.Path(), "tallyd/") {
			own = append(own, file)
		}
		return true
	})
	slices.SortFunc(own, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	if len(own) == 0 {
		t.Fatal("the image holds no file of the contract")
	}
	return own
}

func method(t *testing.T, files *protoregistry.Files, name protoreflect.FullName) protoreflect.MethodDescriptor {
	t.Helper()
	found, err := files.FindDescriptorByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return found.(protoreflect.MethodDescriptor)
}
