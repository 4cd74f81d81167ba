package main

import (
	"time"

	"github.com/spf13/cobra"

	"swerve/control"
	"swerve/control/say"
)

func switchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "switch UPLINK [--policy P] [--for 1h]",
		Short: "Have an uplink carry new flows first",
		Long: `Switch puts UPLINK first: new flows go by it while it answers, whatever its
place in the order of preference is, and existing ones stay where they are.
While it is down or shunned, traffic goes as without the switch, and comes back
once it answers. It replaces an earlier switch, and ends a drain of UPLINK, for
all policies.

Without --policy it is of all policies that have UPLINK in tiers of their own,
and the others stay as they are. It survives restarts of the daemon and
of the machine, and ends by "swerve resume", or by itself after --for.`,
		Example: `  swerve switch lte
  swerve switch lte --policy guests --for 1h30m`,
		Args: oneUplink,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeUplink,
	}
	policy := cmd.Flags().String("policy", "", "only of one policy, a `NAME`")
	length := forFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("policy", completePolicy)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := order(cmd, args[0], *length)
		if err != nil {
			return err
		}
		if o.Policy = *policy; cmd.Flags().Changed("policy") && o.Policy == "" {
			return usageError(cmd, errNoPolicy)
		}
		c := client(cmd)
		defer c.Close()
		done, err := c.Switch(cmd.Context(), o)
		if err != nil {
			return err
		}
		what := "switched"
		if o.Policy != "" {
			what += " policy " + say.OneLine(o.Policy)
		}
		return write(cmd.OutOrStdout(), orderedText(what+" to "+say.OneLine(done.Uplink), done))
	}
	return cmd
}

// forFlag gives a command --for.
func forFlag(cmd *cobra.Command) *string {
	length := cmd.Flags().String("for", "", "end it by itself after a `TIME` such as 90s, 1h30m or 2d (default: never)")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.NoFileCompletions)
	return length
}

// order is what the command line asks of an uplink.
func order(cmd *cobra.Command, uplink, length string) (control.Order, error) {
	o := control.Order{Uplink: uplink}
	if uplink == "" {
		return o, usageError(cmd, errNoName)
	}
	if cmd.Flags().Changed("for") {
		var err error
		if o.For, err = control.ParseFor(length, control.MinFor, control.MaxFor); err != nil {
			return o, usageError(cmd, flagError{"--for", err})
		}
	}
	return o, nil
}

// flagError is an error of a flag's value.
type flagError struct {
	flag string
	err  error
}

func (e flagError) Error() string { return e.flag + ": " + e.err.Error() }

// orderedText says what an order did, in one line, or two where a restart forgets it.
func orderedText(what string, done control.Ordered) string {
	text := what
	if !done.Until.IsZero() {
		text += " until " + say.Moment(control.At(time.Now()), done.Until)
	}
	if done.Text != "" {
		text += ": " + say.OneLine(done.Text)
	}
	if done.Unkept != "" {
		text += "\n  a restart of the daemon forgets it: " + say.OneLine(done.Unkept)
	}
	return text + "\n"
}

// completePolicy completes the names of the running daemon's policies.
func completePolicy(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	c := client(cmd)
	defer c.Close()
	if status, err := c.Status(cmd.Context()); err == nil {
		for _, p := range status.Policies {
			names = append(names, p.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
