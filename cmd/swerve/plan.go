package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"swerve/config"
	"swerve/daemon"
)

func planCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what the daemon would change in this kernel now",
		Long: `Plan compares the kernel with what "swerve run" would make of it at this
moment, and prints the difference as a shell script of sysctl(8), ip(8) and
nft(8) lines. It changes nothing. Where there is nothing to change, it prints
nothing. Under "uplinks: auto" it goes by what a running daemon has taken for
uplinks, or an earlier one, and names other interfaces with a default route in
comments; where nothing is known it assumes that a target answers through each.
Beside a daemon that has refused the file, or gone back from it unconfirmed, a
comment says so.`,
		Example: `  swerve plan
  swerve plan -c ./new.yaml --json`,
		Args: cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, found := previewOptions(cmd)
			if len(found) > 0 {
				return refuseConfig(cmd, found)
			}
			changes, err := daemon.Plan(options)
			if err != nil {
				return failure("plan", "the kernel's changes", err, "run it as root")
			}
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(changes)
			}
			return write(cmd.OutOrStdout(), changes.Script())
		},
	}
	configFlag(cmd)
	cmd.Flags().Bool("json", false, "print the changes as JSON")
	return cmd
}

// previewOptions returns the options of a command that looks at what a daemon would do,
// and what is wrong in the configuration. Of the engine's messages about the uplinks,
// which are not what is asked for, only errors are logged.
func previewOptions(cmd *cobra.Command) (options daemon.Options, found []config.Problem) {
	options = daemonOptions(cmd)
	cfg, _, found := options.Load()
	if len(found) > 0 {
		cfg = config.Default()
	}
	cfg.Log.Level = "error"
	options.Log = newLogger(cmd.ErrOrStderr(), cfg.Log)
	return options, found
}
