package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"swerve/failover"
)

// table is what each act cost the clients.
type table struct{ rows []row }

type row struct {
	what string
	felt []felt
}

func (t *table) add(what string, f []felt) { t.rows = append(t.rows, row{what, f}) }

// print writes the closing table.
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
				fmt.Fprintf(out, "\t%s %s", f, r.felt[i*len(failover.Families)+int(f)].cell())
			}
			fmt.Fprintln(out)
		}
	}
	_ = out.Flush() // to the terminal; an error has no other place to go
	if slices.ContainsFunc(t.rows, row.void) {
		fmt.Fprint(w, "\n* This machine paused a client for more than 25 ms meanwhile: do not count the row.\n")
	}
}

func (r row) void() bool { return slices.ContainsFunc(r.felt, func(f felt) bool { return f.Void() }) }

// cell is one figure, such as "312 ms (31)".
func (f felt) cell() string {
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
