package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"swerve/config"
	"swerve/control"
	"swerve/daemon"
)

func runCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run watches the uplinks, decides which of them carry traffic, and keeps the
kernel's routes, rules and nftables to that. It is the daemon that the packages
start with systemd, to which it reports its readiness and its state.

What an earlier run left in the kernel is adopted: starting moves no traffic.
Nor does ending: SIGTERM leaves everything in place, and traffic continues.
"swerve teardown" removes it. SIGHUP reloads the configuration.

Without a file, an interface that holds a default route becomes an uplink once a
target answers through it, in the order of their metrics.`,
		Example: `  swerve run
  swerve run -c ./test.yaml --socket /tmp/test.sock`,
		Args: cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// From the start, so that a reload meanwhile ends nothing and is not lost.
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			// Nobody who stops reading the log, or closes it, may end or delay failover.
			signal.Ignore(syscall.SIGPIPE)
			options := daemonOptions(cmd)
			options.Hangup = hangups
			cfg, found := options.Begin()
			if len(found) > 0 {
				return refuseConfig(cmd, found)
			}
			options.LogQueue, options.Log = newLogQueue(cmd.ErrOrStderr(), cfg.Log)
			defer options.LogQueue.Close()
			return explainStart(daemon.Run(cmd.Context(), options))
		},
	}
	configFlag(cmd)
	return cmd
}

// configFlag gives a command -c.
func configFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "",
		"the configuration, a `FILE` (default "+daemon.DefaultConfig+", where it exists)")
}

// daemonOptions are the daemon's options from the command line.
func daemonOptions(cmd *cobra.Command) daemon.Options {
	o := daemon.Options{Software: version}
	if f := cmd.Flags().Lookup("config"); f != nil {
		o.Config = f.Value.String()
	}
	if cmd.Flags().Changed("socket") {
		o.Socket = socketPath(cmd)
	}
	return o
}

// refuseConfig prints the problems of a configuration and nothing else, and ends
// the command.
func refuseConfig(cmd *cobra.Command, found []config.Problem) error {
	printProblems(cmd, found)
	return silent(exitUsage)
}

// printProblems prints the problems of a configuration, one a line.
func printProblems(cmd *cobra.Command, found []config.Problem) {
	for _, p := range found {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
}

// explainStart adds a remedy to the error of a daemon that did not start.
func explainStart(err error) error {
	var held *daemon.HeldError
	var explained *control.Error
	switch {
	case err == nil, errors.As(err, &explained):
		return err
	case errors.As(err, &held):
		return failure("start", "the daemon", err, "stop that one first, or look at it with swerve status")
	case errors.Is(err, os.ErrPermission):
		return failure("start", "the daemon", err, "run it as root, or give it CAP_NET_ADMIN and CAP_NET_RAW")
	}
	return failure("run", "the daemon", err, "see the log above; traffic continues with what is in the kernel")
}
