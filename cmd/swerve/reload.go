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
	cmd := &cobra.Command{
		Use:   "reload [--confirm 2m]",
		Short: "Make the daemon apply its changed configuration",
		Long: `Reload makes the running daemon read its configuration file again and apply it.
Uplinks that stay in it keep what is known about them, and traffic continues.

The file is validated first. If anything is wrong with it, every problem is
printed, one a line, nothing changes, and the exit code is 2.

With --confirm the daemon goes back to the configuration before, unless "swerve
confirm" is typed in that time: for a change that may cut you off from this
machine. It goes back also where it was killed or the machine was restarted
meanwhile. The file is left as it is. A second reload in that time waits for the
same confirmation, or with --confirm for its own; what is gone back to is what
was in force before the first.

SIGHUP to the daemon, or "systemctl reload swerve", reloads without an answer.`,
		Example: `  swerve check && swerve reload
  swerve reload --confirm 2m`,
		Args: cobra.NoArgs,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
	}
	confirm := cmd.Flags().String("confirm", "", "go back after a `TIME` such as 2m, unless it is confirmed")
	_ = cmd.RegisterFlagCompletionFunc("confirm", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var within time.Duration
		if cmd.Flags().Changed("confirm") {
			var err error
			if within, err = control.ParseFor(*confirm, control.MinConfirm, control.MaxConfirm); err != nil {
				return usageError(cmd, flagError{"--confirm", err})
			}
		}
		c := client(cmd)
		defer c.Close()
		done, err := c.Reload(cmd.Context(), within)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("reloaded %s, generation %d\n", configName(say.Clean(done.Config)), done.Generation)
		if !done.ConfirmUntil.IsZero() {
			text += fmt.Sprintf("  it is undone at %s unless `swerve confirm` is typed until then\n",
				say.Moment(control.At(time.Now()), done.ConfirmUntil))
		}
		return write(cmd.OutOrStdout(), text+notInForce(cmd.Context(), c))
	}
	return cmd
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
