package main

import (
	"github.com/spf13/cobra"

	"swerve/config"
	"swerve/daemon"
)

func initCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Print a configuration for this machine",
		Long: `Init looks at the machine's default routes and prints a configuration that
names their interfaces as uplinks, the most preferred first. An interface
through which no target has answered, as a running daemon says or an earlier one
remembered, stands in a comment. It changes nothing: review it, save it, check
it.`,
		Example: `  swerve init > ` + daemon.DefaultConfig + `
  swerve check`,
		Args: cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, found := daemonOptions(cmd).Load()
			if len(found) > 0 {
				cfg = config.Default() // it only says where a state may be
			}
			taken, err := daemon.Taken(cmd.Context(), daemonOptions(cmd), cfg)
			if err != nil {
				return failure("read", "the machine's default routes", err, "run it where netlink is allowed")
			}
			return write(cmd.OutOrStdout(), string(config.Init(taken, daemon.IsModem)))
		},
	}
}
