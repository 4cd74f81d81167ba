package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"swerve/daemon"
)

func teardownCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "teardown",
		Short: "Remove everything that Swerve added to the kernel",
		Long: `Teardown removes all routes and rules of protocol 83, the nftables table
inet swerve and the marks of flows, and restores the sysctls that the daemon
changed. From then on, traffic follows the default routes of other programs,
which the daemon never touches.

It refuses while a daemon runs in this network namespace. A configuration with
problems does not stop it: it reports them and uses the default marks and
socket; --socket names another, next to which the saved sysctls are stored.`,
		Example: `  systemctl stop swerve && swerve teardown`,
		Args:    cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options := daemonOptions(cmd)
			if _, _, found := options.Load(); len(found) > 0 {
				printProblems(cmd, found)
				fmt.Fprintln(cmd.ErrOrStderr(), "swerve: the configuration is not valid; "+
					"tearing down with the default marks and socket, or with --socket where it is given")
			}
			err := daemon.Teardown(options)
			var held *daemon.HeldError
			switch {
			case errors.As(err, &held):
				return failure("tear down", "the kernel's state", err, "stop the daemon first")
			case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
				return failure("tear down", "the kernel's state", errors.New("operation not permitted"), "run it as root")
			case err != nil:
				return failure("tear down", "the kernel's state", err, "the error names what is left; run it again as root")
			}
			return nil
		},
	}
	configFlag(cmd)
	return cmd
}
