package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"swerve/testenv/section"
)

// document is a file that has a table of the report, between two marks.
type document struct {
	path string
	kind tableKind
}

// documents are the documents with tables, relative to the repository's root.
var documents = []document{{"README.md", headlines}, {"docs/FIGURES.md", everything}}

// figures is the section of a document in which its table stands.
var figures = section.Section{
	Begin: "<!-- figures: made by `make bench`, do not edit -->\n",
	End:   "<!-- end of figures -->\n",
}

// tableKind selects how much of the report a table has.
type tableKind int

const (
	// headlines are the figures that have a floor, families together.
	headlines tableKind = iota
	// everything has all figures, and the packages' benchmarks.
	everything
)

// writeTables writes the tables of a report into documents.
func writeTables(report string, into []document) error {
	r, err := readReport(report)
	if err != nil {
		return err
	}
	for _, d := range into {
		if err := figures.Write(d.path, tableOf(r, d.kind)); err != nil {
			return err
		}
	}
	return nil
}

// tableOf formats a report as a Markdown table, with a line about its origin.
func tableOf(r *Report, kind tableKind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMeasured on %s with %s, Linux %s, %d processors, seed %d%s.\n\n",
		r.Taken.Format(time.DateOnly), r.Software, r.Kernel, r.CPUs, r.Seed, shortNote(r))
	b.WriteString("| what | unit | floor | least | median | worst | runs | void |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range r.Figures {
		if kind == headlines && f.Floor == (Floor{}) {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %d |\n", f.title(), f.Unit, f.Floor,
			number(f.Least), number(f.Median), emphasised(f), f.Runs, f.Void)
	}
	if kind == everything && len(r.Micro) > 0 {
		b.WriteString("\n| benchmark | time of one |\n|---|---|\n")
		for _, m := range r.Micro {
			fmt.Fprintf(&b, "| %s %s | %v |\n", m.Package, m.Name, time.Duration(m.NSPerOp).Round(time.Nanosecond))
		}
	}
	b.WriteByte('\n')
	return b.String()
}

func shortNote(r *Report) string {
	if r.Short {
		return " (a short run)"
	}
	return ""
}

func (f *Figure) title() string {
	title := f.Group + ": " + f.What
	if f.Family != "" {
		title += ", " + f.Family
	}
	return title
}

// emphasised formats the worst value, marked if the figure misses its floor.
func emphasised(f *Figure) string {
	if f.Met {
		return number(f.Worst)
	}
	return number(f.Worst) + " **missed**"
}

// String formats the floor; empty if there is none.
func (f Floor) String() string {
	sign := "≤ "
	if f.AtLeast {
		sign = "≥ "
	}
	switch {
	case f.Median != nil && f.Worst != nil:
		return fmt.Sprintf("median %s%s, worst %s%s", sign, number(f.Median), sign, number(f.Worst))
	case f.Median != nil:
		return "median " + sign + number(f.Median)
	case f.Worst != nil:
		return sign + number(f.Worst)
	}
	return ""
}

// text formats a figure in one line.
func (f *Figure) text() string {
	if f.Runs == 0 {
		return "nothing was measured"
	}
	return fmt.Sprintf("median %s, worst %s %s", number(f.Median), number(f.Worst), f.Unit)
}

// number formats a value with three significant digits, or more if it is whole.
func number(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v >= 100 || *v == float64(int64(*v)):
		return strconv.FormatFloat(*v, 'f', 0, 64)
	}
	return strconv.FormatFloat(*v, 'g', 3, 64)
}
