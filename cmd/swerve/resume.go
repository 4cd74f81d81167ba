package main

import (
	"strings"

	"github.com/spf13/cobra"

	"swerve/control"
	"swerve/control/say"
)

func resumeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "resume [UPLINK]",
		Short: "Give an uplink back its place",
		Long: `Resume ends what the operator asked of an uplink (switch, drain), and the hold
of one that is held back for repeated downs (health.damping), whose penalty is
forgotten. If it has been good for failback.after, it is used again in its place
at once, whatever failback.min_interval and failback.mode say. Without UPLINK it
does so for all. With failback.mode: manual it is the way back, also of one that
is not up yet: that is returned to once it is, unless a switch or a drain of it
comes before.

Mend first what took the uplink down, which "swerve events" tells: each further
down counts anew.`,
		Example: `  swerve resume fiber
  swerve resume`,
		Args: cobra.MaximumNArgs(1),

		ValidArgsFunction: completeUplink,
		RunE: func(cmd *cobra.Command, args []string) error {
			var uplink string
			if len(args) > 0 {
				if uplink = args[0]; uplink == "" {
					return usageError(cmd, errNoName)
				}
			}
			c := client(cmd)
			defer c.Close()
			done, err := c.Resume(cmd.Context(), uplink)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), resumedText(done))
		},
	}
}

// resumedText says what a resume did.
func resumedText(done control.Resumed) string {
	text := "resumed all uplinks"
	if done.Uplink != "" {
		text = "resumed " + say.OneLine(done.Uplink)
	}
	var parts []string
	if len(done.Ended) > 0 {
		parts = append(parts, "no longer drained or switched to: "+say.OneLine(strings.Join(done.Ended, ", ")))
	}
	if len(done.Released) > 0 {
		parts = append(parts, "no longer held back: "+say.OneLine(strings.Join(done.Released, ", ")))
	}
	if len(done.Returned) > 0 {
		parts = append(parts, "back to what they prefer: "+say.OneLine(strings.Join(done.Returned, ", ")))
	}
	if parts == nil {
		parts = []string{"nothing was asked of it, and damping held nothing back"}
		if done.Uplink == "" {
			parts[0] = "nothing was asked of any, and damping held nothing back"
		}
	}
	text += "; " + strings.Join(parts, "; ") + "\n"
	if len(done.Waiting) > 0 {
		text += "  not up yet: " + say.OneLine(strings.Join(done.Waiting, ", ")) + "; returned to once it is (failback.mode: manual), unless you switch or drain before\n"
	}
	return text
}

// completeUplink completes the names of the running daemon's uplinks.
func completeUplink(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	c := client(cmd)
	defer c.Close()
	if status, err := c.Status(cmd.Context()); err == nil && len(args) == 0 {
		for _, u := range status.Uplinks {
			names = append(names, u.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
