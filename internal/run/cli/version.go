package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version and Built are set by the linker of a release build.
var (
	Version = "dev"
	Built   = ""
)

// codename is printed where other routers of the family print theirs.
const codename = "penstock"

// builtAt returns the time of the build, as far as the binary knows it.
func builtAt() string {
	if Built != "" {
		return Built
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				return s.Value
			}
		}
	}
	return "unknown"
}

func runVersion(p *Process, args []string) int {
	asJSON := false
	for _, a := range args {
		if a != "--json" {
			p.errorf("version: unknown argument %q", a)
			return exitUsage
		}
		asJSON = true
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if asJSON {
		out, err := json.Marshal(map[string]string{"version": Version, "codename": codename, "goVersion": runtime.Version(),
			"built": builtAt(), "platform": platform})
		if err != nil {
			p.errorf("version: %v", err)
			return exitFailed
		}
		fmt.Fprintf(p.Stdout, "%s\n", out)
		return exitFine
	}
	for _, row := range [][2]string{{"Version:", Version}, {"Codename:", codename}, {"Go version:", runtime.Version()},
		{"Built:", builtAt()}, {"OS/Arch:", platform}} {
		fmt.Fprintf(p.Stdout, "%-14s%s\n", row[0], row[1])
	}
	return exitFine
}
