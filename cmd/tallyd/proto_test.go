package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// parseProto parses a command line of `tallyd proto` alone and returns the context to run.
func parseProto(t *testing.T, args ...string) (*kong.Context, *bytes.Buffer, error) {
	t.Helper()
	var stdout bytes.Buffer
	var line struct {
		Proto protoCmd `cmd:""`
	}
	parser, err := kong.New(&line, kong.Writers(&stdout, &stdout))
	if err != nil {
		t.Fatalf("kong.New(): %v", err)
	}
	ctx, err := parser.Parse(append([]string{"proto"}, args...))
	return ctx, &stdout, err
}

func TestProtoWantsExactlyOneTarget(t *testing.T) {
	tests := []struct {
		name    string
		args    []string
		wantErr string
	}{
		{name: "neither", wantErr: "exactly one of --out=DIR, --descriptor-set=FILE and --list is needed"},
		{name: "both", args: []string{"--out=a", "--descriptor-set=b"}, wantErr: "exactly one of --out=DIR, --descriptor-set=FILE and --list is needed"},
		{name: "list of what", args: []string{"--list", "--out=a"}, wantErr: "exactly one of --out=DIR, --descriptor-set=FILE and --list is needed"},
		{name: "list", args: []string{"--list"}},
		{name: "folder", args: []string{"--out=a"}},
		{name: "descriptor set", args: []string{"--descriptor-set=-"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := parseProto(t, test.args...)
			if test.wantErr == "" && err != nil {
				t.Errorf("Parse(%q) = %v, want nil", test.args, err)
			}
			if test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)) {
				t.Errorf("Parse(%q) = %v, want %q in it", test.args, err, test.wantErr)
			}
		})
	}
}

func TestProtoWritesSources(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	ctx, _, err := parseProto(t, "--out="+dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := ctx.Run(); err != nil {
		t.Fatalf("Run(--out) = %v, want nil", err)
	}
	for _, path := range []string{"tallyd/v1/form_service.proto", "google/rpc/error_details.proto", "google/api/annotations.proto"} {
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
			t.Errorf("after Run(--out): %v", err)
		}
	}
}

func TestProtoListsFiles(t *testing.T) {
	ctx, stdout, err := parseProto(t, "--list")
	if err != nil {
		t.Fatal(err)
	}
	if err := ctx.Run(); err != nil {
		t.Fatalf("Run(--list) = %v, want nil", err)
	}
	if want := "tallyd/v1/form_service.proto\n"; !strings.Contains(stdout.String(), want) {
		t.Errorf("Run(--list) printed %q, want %q in it", stdout, want)
	}
}

func TestProtoWritesDescriptorSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tallyd.binpb")
	tests := []struct {
		name   string
		target string
		read   func(stdout *bytes.Buffer) ([]byte, error)
	}{
		{name: "file", target: file, read: func(*bytes.Buffer) ([]byte, error) { return os.ReadFile(file) }},
		{name: "standard output", target: "-", read: func(stdout *bytes.Buffer) ([]byte, error) { return stdout.Bytes(), nil }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, stdout, err := parseProto(t, "--descriptor-set="+test.target)
			if err != nil {
				t.Fatal(err)
			}
			if err := ctx.Run(); err != nil {
				t.Fatalf("Run(--descriptor-set=%s) = %v, want nil", test.target, err)
			}
			written, err := test.read(stdout)
			if err != nil {
				t.Fatal(err)
			}
			checkDescriptorSet(t, written)
		})
	}
}

func checkDescriptorSet(t *testing.T, written []byte) {
	t.Helper()
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(written, set); err != nil {
		t.Fatalf("parse what was written: %v", err)
	}
	linked, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatalf("link what was written: %v", err)
	}
	if _, err := linked.FindDescriptorByName("tallyd.v1.FormService.GetForm"); err != nil {
		t.Errorf("find GetForm in what was written: %v", err)
	}
}

func TestProtoNamesWhatItCannotWrite(t *testing.T) {
	target := filepath.Join(t.TempDir(), "missing", "tallyd.binpb")
	ctx, _, err := parseProto(t, "--descriptor-set="+target)
	if err != nil {
		t.Fatal(err)
	}
	err = ctx.Run()
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), target) {
		t.Errorf("Run(%q) = %v, want %v that names the file", target, err, fs.ErrNotExist)
	}
}
