package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"swerve/control/say"
)

func reloadCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon apply its changed configuration",
		Long: `Reload makes the running daemon read its configuration file again and apply it.
Uplinks that stay in it keep what is known about them, and traffic continues.

The file is validated first. If anything is wrong with it, every problem is
printed, one a line, nothing changes, and the exit code is 2.

SIGHUP to the daemon, or "systemctl reload swerve", does the same without an
answer.`,
		Example: `  swerve check && swerve reload`,
		Args:    cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := client(cmd)
			defer c.Close()
			done, err := c.Reload(cmd.Context())
			if err != nil {
				return err
			}
			config := done.Config
			if config == "" {
				config = "the configuration without a file"
			}
			return write(cmd.OutOrStdout(),
				fmt.Sprintf("reloaded %s, generation %d\n", say.Clean(config), done.Generation))
		},
	}
}
