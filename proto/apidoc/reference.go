package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	contract "github.com/tallyd/tallyd/proto"
)

const intro = `<!-- Generated from proto/ by make generate; do not edit. -->

# API reference

Everything that a caller can ask tallyd for, package ` + "`tallyd.v1`" + `. The contract itself is in [proto/tallyd/v1](../proto/tallyd/v1);
` + "`tallyd proto`" + ` writes it for code generators of any language.

**Route** is the request to Tally that a call becomes. **Effect** tells whether a call may be repeated: what reads only and an
idempotent write may; after another write that ended in UNKNOWN, look first. **Cost** is the number of requests that a call spends
of those that Tally grants the key in a minute. **Plan** is the plan of Tally that the key's account needs.

`

// page collects the reference.
type page struct {
	strings.Builder
}

// printf appends formatted text.
func (p *page) printf(format string, args ...any) { _, _ = fmt.Fprintf(p, format, args...) }

// reference returns the text of docs/api.md. It returns an error when the contract cannot be read.
func reference() (string, error) {
	files, err := contractFiles()
	if err != nil {
		return "", err
	}
	var p page
	p.WriteString(intro)
	services := collect(files, protoreflect.FileDescriptor.Services)
	p.contents(services)
	for _, service := range services {
		p.service(service)
	}
	enums := collect(files, protoreflect.FileDescriptor.Enums)
	// Generated code carries no comments, so the reasons are printed from the image's enum.
	isReason := func(enum protoreflect.EnumDescriptor) bool { return enum.Name() == "ErrorReason" }
	for _, enum := range enums {
		if isReason(enum) {
			p.errorReasons(enum)
		}
	}
	p.messages(collect(files, protoreflect.FileDescriptor.Messages), services)
	p.enums(slices.DeleteFunc(enums, isReason))
	return strings.TrimRight(p.String(), "\n") + "\n", nil
}

// contractFiles returns the files of package tallyd.v1 by path.
func contractFiles() ([]protoreflect.FileDescriptor, error) {
	all, err := contract.Files()
	if err != nil {
		return nil, err
	}
	var files []protoreflect.FileDescriptor
	all.RangeFilesByPackage("tallyd.v1", func(file protoreflect.FileDescriptor) bool {
		files = append(files, file)
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	return files, nil
}

// collect returns the services, messages or enums of all files in order.
func collect[D any, L interface {
	Len() int
	Get(i int) D
}](files []protoreflect.FileDescriptor, of func(protoreflect.FileDescriptor) L) []D {
	var found []D
	for _, file := range files {
		found = append(found, all(of(file))...)
	}
	return found
}

// all returns the elements of a descriptor's list.
func all[D any](list interface {
	Len() int
	Get(i int) D
},
) []D {
	found := make([]D, list.Len())
	for i := range found {
		found[i] = list.Get(i)
	}
	return found
}

func (p *page) contents(services []protoreflect.ServiceDescriptor) {
	for _, service := range services {
		p.printf("- %s: ", link(service.Name()))
		for i, method := range all(service.Methods()) {
			if i > 0 {
				p.WriteString(" · ")
			}
			p.WriteString(link(method.Name()))
		}
		p.WriteString("\n")
	}
	p.WriteString("- [Error reasons](#error-reasons) · [Messages](#messages) · [Enums](#enums)\n\n")
}

func (p *page) errorReasons(enum protoreflect.EnumDescriptor) {
	p.printf("## Error reasons\n\n%s\n\n", comment(enum))
	p.printf("Besides its own reasons every call can end in %s.\n\n", codes(everyCall()))
	p.WriteString("A status that Tally is not known to send for a call still gets its reason from this table.\n\n")
	p.WriteString("| Reason | Meaning |\n|---|---|\n")
	for _, value := range all(enum.Values()) {
		if value.Number() != 0 {
			p.printf("| `%s` | %s |\n", reasonName(tallydv1.ErrorReason(value.Number())), cell(comment(value)))
		}
	}
	p.WriteString("\n")
}

// messages prints the messages that are no RPC's own request or response.
func (p *page) messages(messages []protoreflect.MessageDescriptor, services []protoreflect.ServiceDescriptor) {
	own := map[protoreflect.FullName]bool{}
	for _, service := range services {
		for _, method := range all(service.Methods()) {
			own[method.Input().FullName()], own[method.Output().FullName()] = true, true
		}
	}
	p.WriteString("## Messages\n\n")
	for _, message := range messages {
		if !own[message.FullName()] {
			p.printf("### %s\n\n%s\n\n", message.Name(), comment(message))
			p.fields(message)
		}
	}
}

func (p *page) enums(enums []protoreflect.EnumDescriptor) {
	p.WriteString("## Enums\n\n")
	for _, enum := range enums {
		p.printf("### %s\n\n%s\n\n| Value | Meaning |\n|---|---|\n", enum.Name(), comment(enum))
		for _, value := range all(enum.Values()) {
			p.printf("| `%s` | %s |\n", value.Name(), cell(comment(value)))
		}
		p.WriteString("\n")
	}
}
