package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"swerve/tui"
)

func tuiCmd() *cobra.Command {
	var ascii bool
	cmd := &cobra.Command{
		Use:   "tui",
		Short: "Watch the gateway on a live page",
		Long: `Tui shows the current state on one live page: each uplink in each family with
its state and why, loss, latency, jitter, gateway and rates, with trends of
latency and loss; what is wrong and what to do about it; which uplink each
policy uses; the last switch with its evidence; and the events as they come.

It changes nothing, and needs no privilege except access to the daemon's socket.
When the daemon stops answering, the page says so and how old its data are, and
continues when the daemon is back.

  q, ctrl+c   quit               p   pause the page
  ?           help               t   trends over 1, 5 or 15 minutes
  tab         the next section   f   show doubts that came to nothing
  arrows, pgup, pgdown, g, G     scroll the section

NO_COLOR turns colours off; nothing is shown by colour alone. The exit code is 3
when no daemon ever answered.`,
		Example: `  swerve tui
  swerve tui --socket /run/swerve/other.sock
  ssh -t router swerve tui --ascii  for a terminal without line drawing`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runTUI(cmd, ascii)
		},
	}
	cmd.Flags().BoolVar(&ascii, "ascii", false, "draw with nothing but ASCII")
	return cmd
}

func runTUI(cmd *cobra.Command, ascii bool) error {
	out := cmd.OutOrStdout()
	const action, remedy = "show the dashboard on", "use `swerve status`, or `swerve events -f`"
	switch {
	case !isTerminal(out):
		return failure(action, "standard output", errors.New("it is not a terminal"), remedy)
	case !isTerminal(os.Stdin):
		return failure(action, "standard input", errors.New("it is not a terminal"), remedy)
	case os.Getenv("TERM") == "dumb":
		return failure(action, "this terminal", errors.New("its TERM is \"dumb\""), remedy)
	}
	return tui.Run(cmd.Context(), tui.Options{
		Socket: socketPath(cmd), Input: os.Stdin, Output: out, ASCII: ascii,
	})
}
