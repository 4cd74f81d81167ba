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
names their interfaces as uplinks, the most preferred first. It changes nothing:
review it, save it, check it.`,
		Example: `  swerve init > ` + daemon.DefaultConfig + `
  swerve check`,
		Args: cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			routes, err := daemon.DefaultRoutes()
			if err != nil {
				return failure("read", "the machine's default routes", err, "run it where netlink is allowed")
			}
			return write(cmd.OutOrStdout(), string(config.Init(routes, daemon.IsModem)))
		},
	}
}
