package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version of the software; the build sets it: -ldflags "-X main.version=1.2.3".
var version = "dev"

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

func commitOf(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	if commit == "" {
		return "unknown"
	}
	if at := settings["vcs.time"]; at != "" {
		commit += " of " + at
	}
	if settings["vcs.modified"] == "true" {
		commit += ", with changes"
	}
	return commit
}
