package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"swerve/control"
	"swerve/control/say"
)

// eventsFlags are the flags of events.
type eventsFlags struct {
	follow, json bool
	since        string
	last         int
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

With --since the TIME is a span before now, such as 90s, 1h30m or 2d, or a time:
2026-01-31T08:00:00Z, or local time in the form that is printed, or shorter:
"2026-01-31 08:00", 2026-01-31, or 08:00, which is the last one before now.

Several policies that share a fate at one moment are one line, and -n counts
lines. With -f each event is shown as it is told, a switch once the kernel was
read back, so that their times may be in another order by some milliseconds.

With --json each event is one line of JSON, whose fields API.md describes
(/usr/share/doc/swerve).`,
		Example: `  swerve events --since 1h
  swerve events -f -n 20
  swerve events --since "2026-01-31 08:00:00"
  swerve events --json --since 2026-01-31T08:00:00Z | jq 'select(.type == "switch")'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runEvents(cmd, flags)
		},
	}
	cmd.Flags().BoolVarP(&flags.follow, "follow", "f", false, "keep running, and show new events as they happen")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print one line of JSON for each event")
	cmd.Flags().StringVar(&flags.since, "since", "", "only events from `TIME` on: a span such as 90s or 2d, or a time")
	cmd.Flags().IntVarP(&flags.last, "last", "n", 0, "only the last `N` events, and with -f those that follow")
	return cmd
}

func runEvents(cmd *cobra.Command, flags eventsFlags) error {
	var since time.Time
	if cmd.Flags().Changed("since") {
		var err error
		if since, err = parseSince(flags.since, time.Now()); err != nil {
			return usageError(cmd, err)
		}
	}
	if flags.last < 0 || flags.last == 0 && cmd.Flags().Changed("last") {
		return usageError(cmd, fmt.Errorf("-n is %d, not 1 or more", flags.last))
	}
	out := cmd.OutOrStdout()
	show := eventPrinter(out, flags.json)
	c := client(cmd)
	defer c.Close()
	print := func(line []byte) error {
		text, err := show(line)
		if err != nil {
			return failure("read an event from", socketPath(cmd), err, "use a client and a daemon of the same version")
		}
		return write(out, text+"\n")
	}
	if !flags.follow && !flags.json {
		kept, _, err := lastEvents(c.EventLines(cmd.Context(), since, false), control.MaxEvents)
		if err != nil {
			return err
		}
		text, err := eventList(kept, flags.last, isTerminal(out))
		if err != nil {
			return failure("read an event from", socketPath(cmd), err, "use a client and a daemon of the same version")
		}
		return write(out, text)
	}
	after := uint64(0)
	if flags.last > 0 {
		kept, newest, err := lastEvents(c.EventLines(cmd.Context(), since, false), flags.last)
		if err != nil {
			return err
		}
		for _, line := range kept {
			if err := print(line); err != nil {
				return err
			}
		}
		if !flags.follow {
			return nil
		}
		after = newest
	}
	for line, err := range c.EventLines(cmd.Context(), since, flags.follow) {
		if err != nil {
			return err
		}
		if n := seqOf(line); n > 0 && n <= after {
			continue
		}
		if err := print(line); err != nil {
			return err
		}
	}
	return nil
}

// lastEvents returns the last n lines, and the number of the newest.
func lastEvents(lines iter.Seq2[[]byte, error], n int) (kept [][]byte, newest uint64, err error) {
	for line, err := range lines {
		if err != nil {
			return nil, 0, err
		}
		kept = append(kept, bytes.Clone(line))
		kept = kept[max(0, len(kept)-n):]
	}
	if len(kept) > 0 {
		newest = seqOf(kept[len(kept)-1])
	}
	return kept, newest, nil
}

// seqOf returns the number of an event; 0 for one that has none.
func seqOf(line []byte) uint64 {
	var head struct {
		Seq uint64 `json:"seq"`
	}
	_ = json.Unmarshal(line, &head) // whoever shows it complains
	return head.Seq
}

// localTimes are the forms of a time without a zone, as events prints it or shorter.
var localTimes = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly}

// parseSince reads a time in a form that the daemon takes too, or in local time as events
// prints it: date and time, date, or time of the day, which is the last one before now.
func parseSince(s string, now time.Time) (time.Time, error) {
	since, err := control.ParseSince(s, now)
	if err == nil {
		return since, nil
	}
	for _, layout := range localTimes {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04", time.TimeOnly} {
		clock, wrong := time.Parse(layout, s)
		if wrong != nil {
			continue
		}
		year, month, day := now.Date()
		t := time.Date(year, month, day, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location())
		if t.After(now) {
			t = t.AddDate(0, 0, -1)
		}
		return t, nil
	}
	return time.Time{}, err
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
