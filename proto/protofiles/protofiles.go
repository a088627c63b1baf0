// Package protofiles prints the .proto files of other projects that the contract needs. It must not know the contract, so that
// it builds before the contract is generated.
package protofiles

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// imports lists the files that the contract imports.
func imports() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		annotations.File_google_api_http_proto,
		annotations.File_google_api_annotations_proto,
		annotations.File_google_api_field_behavior_proto,
		validate.File_buf_validate_validate_proto,
	}
}

// ForClients returns the files that the contract does not import and that clients need all the same: google/rpc's to read the details
// of an error, and gRPC's health protocol.
func ForClients() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		code.File_google_rpc_code_proto,
		errdetails.File_google_rpc_error_details_proto,
		status.File_google_rpc_status_proto,
		grpc_health_v1.File_grpc_health_v1_health_proto,
	}
}

// WriteImports writes the contract's imports and the files for clients below dir, at their import paths. It returns the error of the
// first file that could not be printed or written.
func WriteImports(dir string) error {
	printer := protoprint.Printer{SortElements: false}
	for _, file := range append(imports(), ForClients()...) {
		var text bytes.Buffer
		if err := printer.PrintProtoFile(file, &text); err != nil {
			return fmt.Errorf("print %s: %w", file.Path(), err)
		}
		path := filepath.Join(dir, filepath.FromSlash(file.Path()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
