// Command deps prints the .proto files that the contract imports, from the descriptors of the Go modules that go.mod pins, so
// that buf needs neither a registry nor a copy in the repository. It does not print the contract itself.
package main

import (
	"fmt"
	"os"

	"github.com/tallyd/tallyd/proto/protofiles"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deps DIR")
		os.Exit(2)
	}
	if err := protofiles.WriteImports(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
