package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"swerve/daemon"
)

func teardownCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "teardown",
		Short: "Remove everything of Swerve's from the kernel",
		Long: `Teardown removes all routes and rules of protocol 83, the nftables table
inet swerve and the marks of flows, and puts the sysctls back that the daemon
had changed. The default routes of others, which the daemon never touches,
carry traffic from then on.

It refuses while a daemon runs in this network namespace. A configuration with
problems does not stop it: it names them and goes by the default marks and
socket; --socket names another, beside which the old sysctls are kept.`,
		Example: `  systemctl stop swerve && swerve teardown`,
		Args:    cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options := daemonOptions(cmd)
			if _, _, found := options.Load(); len(found) > 0 {
				printProblems(cmd, found)
				fmt.Fprintln(cmd.ErrOrStderr(), "swerve: the configuration is broken; "+
					"tearing down by the default marks and socket, or by --socket where it is given")
			}
			err := daemon.Teardown(options)
			var held *daemon.HeldError
			switch {
			case errors.As(err, &held):
				return failure("tear down", "the kernel's state", err, "stop the daemon first")
			case err != nil:
				return failure("tear down", "the kernel's state", err, "what is left is named; run it again as root")
			}
			return nil
		},
	}
	configFlag(cmd)
	return cmd
}
