// Command swerve keeps a gateway online over several uplinks.
//
// One binary is both the daemon (`swerve run`) and its command line. This folder
// has one file for each subcommand: it reads flags, calls a package that does the
// work, and prints. What a subcommand returns as an error becomes one line on
// standard error and an exit code, see errors.go.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"swerve/control"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what the first could not
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands are all subcommands, each from the file of its name. Cobra adds help
// and completion.
func commands() []*cobra.Command {
	return []*cobra.Command{
		runCmd(),
		checkCmd(),
		initCmd(),
		planCmd(),
		statusCmd(),
		eventsCmd(),
		tuiCmd(),
		switchCmd(),
		drainCmd(),
		resumeCmd(),
		explainCmd(),
		reloadCmd(),
		confirmCmd(),
		doctorCmd(),
		teardownCmd(),
		versionCmd(),
		manCmd(),
	}
}

// execute runs the command line args and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var begun bool
	root := newRoot(&begun)
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !begun {
		err = usageError(cmd, err)
	}
	return report(stderr, err)
}

// newRoot returns the command tree. It uses none of cobra's Set…Template: a single
// one links text/template, with which the binary is 3.4 MB larger.
//
// *begun is set once a subcommand's own work begins: errors before that are the
// command line's.
func newRoot(begun *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "swerve",
		Short: "Keep a gateway online over several uplinks",
		Long: `Swerve watches every uplink of a Linux gateway, decides which of them carry
traffic, and moves routes and sessions when one fails.

"swerve run" is the daemon, which the packages start by systemd. All other
commands query it, control it, or prepare its configuration.

Exit codes: 0 done, 1 it failed, 2 bad usage or configuration, 3 no daemon
answers. Errors are one line on standard error: what was tried on what, why it
failed, and what to do.`,
		Example: `  swerve status            the current state, on one screen
  swerve events -f         what happens, and why
  swerve check             is the configuration good?`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().String("socket", control.DefaultSocket, "the daemon's socket, a `PATH`")
	root.SetHelpCommand(helpCmd())
	for _, c := range commands() {
		markBegun(c, begun)
		root.AddCommand(c)
	}
	checkCompletion(root)
	return root
}

// markBegun makes the command, and those below it, set *begun when they run.
func markBegun(c *cobra.Command, begun *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*begun = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		markBegun(sub, begun)
	}
}

// checkCompletion makes `swerve completion` refuse a shell that it does not know:
// cobra checks the arguments only of commands that can be run.
func checkCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// helpCmd is cobra's, with an error where that prints one and exits with 0.
func helpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if err := cobra.NoArgs(topic, rest); err != nil {
				return err
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// client returns a client of the daemon that the command line names.
func client(cmd *cobra.Command) *control.Client { return control.Dial(socketPath(cmd)) }

// socketPath is what --socket says.
func socketPath(cmd *cobra.Command) string {
	path, err := cmd.Flags().GetString("socket")
	if err != nil {
		panic(err) // the root declares it for every command
	}
	return path
}
