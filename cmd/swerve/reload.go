package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"swerve/control"
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
				fmt.Sprintf("reloaded %s, generation %d\n", say.Clean(config), done.Generation)+notInForce(cmd.Context(), c))
		},
	}
}

// The links of new uplinks are read a moment after a reload.
const (
	linksReadTries = 5
	linksReadPause = 100 * time.Millisecond
)

// notInForce returns, a line each, what of a configuration is not in force after a
// reload: uplinks without an interface, and what a reload does not take over. It is
// empty if the status cannot be had.
func notInForce(ctx context.Context, c *control.Client) string {
	var b strings.Builder
	for try := range linksReadTries {
		s, err := c.Status(ctx)
		if err != nil {
			return ""
		}
		b.Reset()
		pending := false
		for _, u := range s.Uplinks {
			missing := strings.HasSuffix(u.IPv4.Reason, " is missing") || strings.HasSuffix(u.IPv6.Reason, " is missing")
			switch {
			case !u.Enabled || u.Carrier != nil:
			case missing:
				fmt.Fprintf(&b, "  %s: interface %s is missing; the uplink is used once it is there\n", say.Clean(u.Name), say.Clean(u.Interface))
			default:
				pending = true
			}
		}
		for _, p := range s.Problems {
			if p.Code == "restart-needed" {
				fmt.Fprintf(&b, "  %s: %s\n    -> %s\n", say.Clean(p.Object), say.Clean(p.Text), say.Clean(p.Remedy))
			}
		}
		if !pending || try == linksReadTries-1 {
			break
		}
		time.Sleep(linksReadPause)
	}
	return b.String()
}
