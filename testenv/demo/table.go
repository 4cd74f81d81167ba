package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"swerve/failover"
)

// table has the results of each act.
type table struct{ rows []row }

type row struct {
	what    string
	effects []effect
}

func (t *table) add(what string, f []effect) { t.rows = append(t.rows, row{what, f}) }

// print writes the final table.
func (t *table) print(w io.Writer) {
	fmt.Fprint(w, "\nInterruption as the client measured it, from the fault's onset to the sending of\n"+
		"the first request after which all were answered; in brackets, requests lost.\n\n")
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "fault")
	for _, k := range kinds {
		fmt.Fprint(out, "\t", k.name)
	}
	fmt.Fprintln(out)
	for _, r := range t.rows {
		for _, f := range failover.Families {
			name := ""
			if f == failover.IPv4 {
				name = r.what
			}
			fmt.Fprint(out, name)
			for i := range kinds {
				fmt.Fprintf(out, "\t%s %s", f, r.effects[i*len(failover.Families)+int(f)].cell())
			}
			fmt.Fprintln(out)
		}
	}
	_ = out.Flush() // there is nowhere else to report an error
	if slices.ContainsFunc(t.rows, row.void) {
		fmt.Fprint(w, "\n* This machine paused a client for more than 25 ms meanwhile: ignore the row.\n")
	}
}

func (r row) void() bool {
	return slices.ContainsFunc(r.effects, func(f effect) bool { return f.Void() })
}

// cell formats one result, such as "312 ms (31)".
func (f effect) cell() string {
	text := "none"
	switch {
	case !f.Over:
		text = fmt.Sprintf("over %s", millis(f.Interruption))
	case f.Unanswered > 0 || f.Interruption > 0:
		text = millis(f.Interruption)
	}
	if f.Unanswered > 0 {
		text += fmt.Sprintf(" (%d)", f.Unanswered)
	}
	if f.reset >= 0 {
		text += fmt.Sprintf(", reset in %s", millis(f.reset))
	}
	if f.Void() {
		text += " *"
	}
	return text
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
