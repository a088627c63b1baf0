package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	contract "github.com/tallyd/tallyd/proto"
)

// protoCmd is `tallyd proto`: it hands out the contract, from which other languages generate their client.
type protoCmd struct {
	Out           string `placeholder:"DIR" help:"Write the contract's .proto files and every file that they import below this folder, for protoc 22 or later."`
	DescriptorSet string `placeholder:"FILE" help:"Write the contract with comments as a FileDescriptorSet that needs no other module, for protoc --descriptor_set_in, buf generate and grpcurl -protoset; - for standard output."`
	List          bool   `help:"Print the names of the files that a client is generated from, for the command line of protoc."`
}

// Validate returns an error unless exactly one of the flags is set. Kong calls it while it parses the command line.
func (c *protoCmd) Validate() error {
	set := 0
	for _, isSet := range []bool{c.Out != "", c.DescriptorSet != "", c.List} {
		if isSet {
			set++
		}
	}
	if set != 1 {
		return errors.New("exactly one of --out=DIR, --descriptor-set=FILE and --list is needed")
	}
	return nil
}

// Run writes what was asked for. It returns the error of the first file that could not be written.
func (c *protoCmd) Run(ctx *kong.Context) error {
	if c.Out != "" {
		return contract.WriteSources(c.Out)
	}
	if c.List {
		return list(ctx.Stdout)
	}
	set, err := contract.ClientDescriptorSet()
	if err != nil {
		return err
	}
	if c.DescriptorSet == "-" {
		_, err = ctx.Stdout.Write(set)
	} else {
		err = os.WriteFile(c.DescriptorSet, set, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the descriptor set: %w", err)
	}
	return nil
}

func list(out io.Writer) error {
	files, err := contract.ClientFiles()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(files, "\n"))
	return err
}
