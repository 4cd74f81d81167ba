package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"swerve/control"
	"swerve/control/say"
)

// eventsFlags are the flags of events.
type eventsFlags struct {
	follow, json bool
	since        string
}

func eventsCmd() *cobra.Command {
	var flags eventsFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened, and why",
		Long: `Events shows what happened, the oldest first: changes of health, switches, what
was done to sessions, repairs, requests of the operator, configurations applied
or refused. Each comes with its evidence:
"decided after" is the time from the first sign, such as the sending of the
first probe without an answer, to the decision, "done in" from there until the
kernel was read back.

The daemon keeps the last 4096 events, also those of before its start. With -f
the command keeps running and shows new ones as they happen, until it is
interrupted or the daemon ends (exit code 3).

With --json each event is one line of JSON; API.md in the documentation
describes the fields.`,
		Example: `  swerve events --since 1h
  swerve events -f
  swerve events --json --since 2026-01-31T08:00:00Z | jq 'select(.type == "switch")'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runEvents(cmd, flags)
		},
	}
	cmd.Flags().BoolVarP(&flags.follow, "follow", "f", false, "keep running, and show new events as they happen")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print one line of JSON for each event")
	cmd.Flags().StringVar(&flags.since, "since", "", "only events from `TIME` on: a span such as 90s, 1h30m or 2d, or a time such as 2026-01-31T08:00:00Z")
	return cmd
}

func runEvents(cmd *cobra.Command, flags eventsFlags) error {
	var since time.Time
	if cmd.Flags().Changed("since") {
		var err error
		if since, err = control.ParseSince(flags.since, time.Now()); err != nil {
			return usageError(cmd, err)
		}
	}
	out := cmd.OutOrStdout()
	show := eventPrinter(out, flags.json)
	c := client(cmd)
	defer c.Close()
	for line, err := range c.EventLines(cmd.Context(), since, flags.follow) {
		if err != nil {
			return err
		}
		text, err := show(line)
		if err != nil {
			return failure("read an event from", socketPath(cmd), err, "use a client and a daemon of the same version")
		}
		if err := write(out, text+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// eventPrinter returns how a line from the daemon is shown: as it is; for people,
// within the width of a screen; or for people by way of a pipe, where one line for
// each event serves grep(1) better.
func eventPrinter(out io.Writer, asJSON bool) func([]byte) (string, error) {
	if asJSON {
		return func(line []byte) (string, error) { return string(line), nil }
	}
	narrow := isTerminal(out)
	return func(line []byte) (string, error) {
		var e control.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return "", err
		}
		return eventText(e, narrow), nil
	}
}

// phrases are the words for events and switches, with complete dates.
var phrases = say.Phrases{Arrow: "->"}

// eventText is an event for people, broken to fit the screen where it is narrow.
func eventText(e control.Event, narrow bool) string {
	prefix := fmt.Sprintf("%s  %-8s  ", e.Time.Local().Format("2006-01-02 15:04:05.000"), say.Clean(string(e.Type())))
	text := say.OneLine(phrases.Event(e))
	if !narrow {
		return prefix + text
	}
	return wrap(prefix, text, len(prefix))
}
