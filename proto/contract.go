// Package contract holds the contract as files: the .proto sources and an image of them with comments. It must not know the
// generated code, so that it builds before that is generated.
package contract

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/tallyd/tallyd/proto/protofiles"
)

// Sources are the contract's .proto files, at their import paths.
//
//go:embed tallyd
var Sources embed.FS

// Image is a serialized google.protobuf.FileDescriptorSet of the contract and all its imports, with comments.
//
//go:embed image.binpb
var Image []byte

var parse = sync.OnceValues(func() (*protoregistry.Files, error) {
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(Image, set); err != nil {
		return nil, fmt.Errorf("parse the contract's image: %w", err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("link the contract's image: %w", err)
	}
	return files, nil
})

// Files returns the contract and all its imports with comments, parsed once. An option is readable when the caller links the Go
// package that defines it. It returns an error when the embedded image is damaged.
func Files() (*protoregistry.Files, error) {
	return parse()
}

// WriteSources writes the contract's .proto files below dir, and beside them the files of other projects that they import and
// google/rpc's and health's, from which any protoc can generate a client. It returns the error of the first file that could not be
// written.
func WriteSources(dir string) error {
	err := fs.WalkDir(Sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := Sources.ReadFile(name)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	})
	if err != nil {
		return fmt.Errorf("write the contract: %w", err)
	}
	return protofiles.WriteImports(dir)
}
