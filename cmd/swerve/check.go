package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"swerve/config"
	"swerve/daemon"
)

func checkCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Validate a configuration",
		Long: `Check reads a configuration and reports everything that is wrong with it, one
problem a line on standard error:

  FILE:LINE: path: what is wrong; what would be right

The exit code is 2 then. For a valid one it prints the order of preference, the
native prefixes, what the probes of each uplink cost in a month, and
warnings; the exit code is 0.

Without FILE it reads ` + daemon.DefaultConfig + `.`,
		Example: `  swerve check
  swerve check ./new.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := daemon.DefaultConfig
			if len(args) > 0 {
				path = args[0]
			}
			cfg, found := config.Load(path)
			if len(found) > 0 {
				return refuseConfig(cmd, found)
			}
			uplinks := cfg.Uplinks
			if cfg.AutoUplinks {
				// Without access to netlink none is listed; the file is valid all the same.
				routes, _ := daemon.DefaultRoutes()
				uplinks = cfg.Auto(routes)
			}
			for i, u := range uplinks {
				uplinks[i].Modem = daemon.IsModem(u.Interface)
			}
			own, _ := daemon.OwnAddresses() // likewise
			if err := cfg.Summary(cmd.OutOrStdout(), uplinks, own, daemon.Found(cfg)); err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), missingText(daemon.MissingInterfaces(uplinks)))
		},
	}
}

// missingText warns of uplinks whose interface this machine does not have now.
func missingText(missing []config.Uplink) string {
	var b strings.Builder
	for _, u := range missing {
		fmt.Fprintf(&b, "warning: uplink %s: this machine has no interface %s now: it is used once there is one\n", u.Name, u.Interface)
	}
	return b.String()
}
