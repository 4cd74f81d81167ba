package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
)

// document has the tables, relative to the repository's root.
const document = "docs/SESSIONS.md"

// The marks between which the tables stand.
const (
	beginMark = "<!-- sessions: made by `make protocols`, do not edit -->\n"
	endMark   = "<!-- end of sessions -->\n"
)

// writeTables writes the tables of a report into a document.
func writeTables(report, into string) error {
	r, err := readReport(report)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(into)
	if err == nil {
		text, err = replaceTables(text, tablesOf(r))
	}
	if err == nil {
		err = os.WriteFile(into, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the tables in %s: %w", into, err)
	}
	return nil
}

// replaceTables replaces what is between the marks of a text.
func replaceTables(text []byte, tables string) ([]byte, error) {
	head, rest, begins := bytes.Cut(text, []byte(beginMark))
	_, tail, ends := bytes.Cut(rest, []byte(endMark))
	if !begins || !ends {
		return nil, fmt.Errorf("the marks %q and %q are missing", beginMark, endMark)
	}
	return bytes.Join([][]byte{head, []byte(beginMark), []byte(tables), []byte(endMark), tail}, nil), nil
}

// tablesOf formats a report as Markdown: a table for each event, with a row for each
// protocol and family, Swerve beside the kernel alone.
func tablesOf(r *Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nPlayed on %s with %s, Linux %s, %d processors.\n",
		r.Taken.Format(time.DateOnly), r.Software, r.Kernel, r.CPUs)
	for _, e := range events() {
		with, without := r.find(e.name, true), r.find(e.name, false)
		if with == nil || without == nil {
			continue
		}
		fmt.Fprintf(&b, "\n### %s: %s\n\nWatched for %.0f s.\n\n", e.name, e.what, with.Watched)
		b.WriteString("| | | Swerve | | | | kernel alone | | | |\n|---|---|---|---|---|---|---|---|---|---|\n")
		b.WriteString("| protocol | family | lost | broken | silent, s | back | lost | broken | silent, s | back |\n")
		for _, o := range with.Outcomes {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.Protocol, o.Family, cells(&o), cells(without.of(o.Protocol, o.Family)))
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// find returns the result of an event; nil for none.
func (r *Report) find(event string, swerve bool) *Result {
	for _, result := range r.Results {
		if result.Event == event && result.Swerve == swerve {
			return result
		}
	}
	return nil
}

// of returns the outcome of a protocol in a family; nil for none.
func (r *Result) of(protocol, family string) *Outcome {
	for i, o := range r.Outcomes {
		if o.Protocol == protocol && o.Family == family {
			return &r.Outcomes[i]
		}
	}
	return nil
}

// cells formats an outcome: what was lost, what broke and when, the silence, and whether
// it is back.
func cells(o *Outcome) string {
	if o == nil {
		return "– | – | – | –"
	}
	lost, broken, back := "–", "0", "yes"
	if o.Sent > 0 {
		lost = fmt.Sprintf("%d of %d", o.Lost, o.Sent)
	}
	if o.Broken > 0 {
		broken = fmt.Sprintf("%d, after %.1f s", o.Broken, *o.BrokenAfter)
	}
	if !o.Back {
		back = "**no**"
	}
	return fmt.Sprintf("%s | %s | %.1f | %s", lost, broken, o.Silence, back)
}
