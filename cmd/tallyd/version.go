package main

import (
	"fmt"
	"runtime/debug"
)

// version is set by the linker for a release.
var version = "dev"

type versionCmd struct{}

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
	return info.GoVersion
}
