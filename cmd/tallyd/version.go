package main

import (
	"fmt"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// version is set by the linker for a release.
var version = "dev"

type versionCmd struct{}

// versionFlag is the command as the flag that people try first.
type versionFlag bool

// BeforeReset prints the version and ends the program.
func (versionFlag) BeforeReset(app *kong.Kong, c console) error {
	err := versionCmd{}.Run(c)
	app.Exit(0)
	return err
}

// Run prints one line.
func (versionCmd) Run(c console) error {
	_, err := fmt.Fprintf(c.out, "tallyd %s %s (Tally API %s)\n", version, revision(), tallyVersion)
	return err
}

// revision returns what the binary was built from, when the build noted it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return "built with " + info.GoVersion
}
