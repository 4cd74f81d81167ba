package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/testenv/section"
)

// document has the tables, relative to the repository's root.
const document = "docs/SESSIONS.md"

// tables is the section of the document in which they stand.
var tables = section.Section{
	Begin: "<!-- sessions: made by `make protocols`, do not edit -->\n",
	End:   "<!-- end of sessions -->\n",
}

// writeTables writes the tables of a report into a document.
func writeTables(report, into string) error {
	r, err := readReport(report)
	if err != nil {
		return err
	}
	return tables.Write(into, tablesOf(r))
}

// tablesOf formats a report as Markdown: a table for each event, with a row for each
// protocol, Swerve beside the kernel alone.
func tablesOf(r *Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nPlayed on %s with %s, Linux %s, %d processors.\n",
		r.Taken.Format(time.DateOnly), r.Software, r.Kernel, r.CPUs)
	for _, e := range events() {
		with, without := r.find(e.name, true), r.find(e.name, false)
		if with == nil || without == nil {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s. Watched for %.0f s.\n\n", e.title, e.what, with.Watched)
		b.WriteString("| protocol | Swerve: lost | broken | silent, s | kernel alone: lost | broken | silent, s |\n|---|---|---|---|---|---|---|\n")
		for _, name := range with.protocols() {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, with.cells(name), without.cells(name))
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

// protocols lists the names of the protocols of a result, in their order.
func (r *Result) protocols() (names []string) {
	for _, o := range r.Outcomes {
		if !slices.Contains(names, o.Protocol) {
			names = append(names, o.Protocol)
		}
	}
	return names
}

// cells formats what became of a protocol: three cells, each with IPv4's figure and
// IPv6's, or one where they agree.
func (r *Result) cells(protocol string) string {
	var lost, broken, silent []string
	for _, o := range r.Outcomes {
		if o.Protocol == protocol {
			lost, broken, silent = append(lost, o.lost()), append(broken, o.broken()), append(silent, o.silent())
		}
	}
	return strings.Join([]string{both(lost), both(broken), both(silent)}, " | ")
}

// both joins the figures of the families.
func both(figures []string) string {
	figures = slices.Compact(figures)
	if len(figures) == 0 {
		return "–"
	}
	return strings.Join(figures, "; ")
}

func (o *Outcome) lost() string {
	switch {
	case o.Sent == 0:
		return "–"
	case o.Lost == 0:
		return "0"
	}
	return fmt.Sprintf("%d of %d", o.Lost, o.Sent)
}

func (o *Outcome) broken() string {
	if o.Broken == 0 {
		return "0"
	}
	return fmt.Sprintf("%d at %.1f", o.Broken, *o.BrokenAfter)
}

func (o *Outcome) silent() string {
	if !o.Back {
		return "**to the end**"
	}
	return fmt.Sprintf("%.1f", o.Silence)
}
