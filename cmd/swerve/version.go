package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version of the software; the build sets it: -ldflags "-X main.version=1.2.3".
var version = "dev"

// commit is what the software was built from, for builds that do not record it
// themselves (-buildvcs=false); the build sets it as it does the version.
var commit string

func versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Long: `Version shows the version of this program, the commit it was built from, and
the Go version and platform it was built with and for. The version of the
running daemon, which may be older, is in "swerve status".`,
		Example: `  swerve version`,
		Args:    cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			return write(cmd.OutOrStdout(), versionText(info))
		},
	}
}

// versionText describes the build; info is nil where it recorded nothing.
func versionText(info *debug.BuildInfo) string {
	return fmt.Sprintf("swerve %s\ncommit %s\n%s %s/%s\n",
		version, commitOf(info), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commitOf returns the commit that the build recorded, or else the one that it was
// given.
func commitOf(info *debug.BuildInfo) string {
	settings := map[string]string{}
	if info != nil {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	text := cmp.Or(settings["vcs.revision"], commit, "unknown")
	if at := settings["vcs.time"]; at != "" {
		text += " of " + at
	}
	if settings["vcs.modified"] == "true" {
		text += ", with changes"
	}
	return text
}
