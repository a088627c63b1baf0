// Package contract holds the contract as files: the .proto sources and an image of them with comments. It must not know the
// generated code, so that it builds before that is generated.
package contract

import "embed"

// Sources are the contract's .proto files, at their import paths.
//
//go:embed tallyd
var Sources embed.FS

// Image is a serialized google.protobuf.FileDescriptorSet of the contract and all its imports, with comments.
//
//go:embed image.binpb
var Image []byte
