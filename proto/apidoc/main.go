// Command apidoc prints docs/api.md, the reference of the contract, from the contract's descriptors and comments. It must not hold
// a fact of its own about an RPC: what the reference says of one is written in the contract.
package main

import (
	"fmt"
	"os"
)

func main() {
	text, err := reference()
	if err == nil {
		_, err = os.Stdout.WriteString(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
