package main

import (
	"github.com/spf13/cobra"

	"swerve/control/say"
)

func drainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain UPLINK [--for 1h]",
		Short: "Keep new flows off an uplink",
		Long: `Drain keeps new flows off UPLINK, so that it can be taken out of service: those
that it has stay until they end, and none is moved. A policy of which no other
uplink answers that is not drained goes on by it, and the answer names it. It
ends a switch to UPLINK.

It survives restarts of the daemon and of the machine, and ends by "swerve
resume UPLINK", or by itself after --for.`,
		Example: `  swerve drain fiber
  swerve drain fiber --for 2h`,
		Args: oneUplink,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeUplink,
	}
	length := forFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := order(cmd, args[0], *length)
		if err != nil {
			return err
		}
		c := client(cmd)
		defer c.Close()
		done, err := c.Drain(cmd.Context(), o)
		if err != nil {
			return err
		}
		return write(cmd.OutOrStdout(), orderedText("drained "+say.OneLine(done.Uplink), done))
	}
	return cmd
}
