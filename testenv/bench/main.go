package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// measurer is one run of the bench.
type measurer struct {
	report *Report
	binary string
	// runs is the number for each latency figure; the other parts scale with it.
	runs      int
	benchtime string
}

// The numbers of runs.
const (
	allRuns   = 100
	shortRuns = 6
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == bareFlag {
		exitOn(bare(os.Args[2:]))
	}
	binary := flag.String("swerve", "./bin/swerve", "the daemon's `BINARY`")
	software := flag.String("software", "dev", "its version, for the report")
	out := flag.String("out", "bench.json", "write the report to this `FILE`")
	short := flag.Bool("short", false, "few runs, in five minutes")
	runs := flag.Int("runs", 0, "runs of each latency figure; 0: 100, or 6 where short")
	seed := flag.Uint64("seed", 1, "of all random choices")
	only := flag.String("only", "", "only the parts whose name matches this `PATTERN`")
	goOn := flag.Bool("go-on", false, "measure only what the report FILE of the same bench does not have yet")
	tables := flag.String("tables", "", "measure nothing: update the tables in the documents from this report `FILE`")
	flag.Parse()
	if *tables != "" {
		exitOn(writeTables(*tables, documents))
		return
	}
	pattern, err := regexp.Compile(*only)
	exitOn(err)
	path, err := filepath.Abs(*binary)
	exitOn(err)
	m := &measurer{report: newReport(*software, *seed, *short), binary: path, runs: allRuns, benchtime: "1s"}
	if *short {
		m.runs, m.benchtime = shortRuns, "100ms"
	}
	if *runs > 0 {
		m.runs = *runs
	}
	if *goOn {
		exitOn(m.report.continues(*out))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(m.measure(ctx, pattern, *out))
	fmt.Println()
	fmt.Print(tableOf(m.report, everything))
	if missed := m.report.missed(); len(missed) > 0 {
		fmt.Fprintf(os.Stderr, "\nbench: %d figures miss their floors:\n", len(missed))
		for _, f := range missed {
			fmt.Fprintf(os.Stderr, "  %s, %s %s: %s; the floor is %s\n", f.Group, f.What, f.Family, f.text(), f.Floor)
		}
		os.Exit(1)
	}
}

// exitOn ends the program if there is an error.
func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// part is one part of the bench.
type part struct {
	name    string
	measure func(context.Context) error
}

func (m *measurer) parts() []part {
	var all []part
	for _, p := range faultParts {
		all = append(all, part{p.group, func(ctx context.Context) error { return m.faults(ctx, p) }})
	}
	return append(all,
		part{unusedGroup, m.unused}, part{"shared", m.shared}, part{"overflow", m.overflow}, part{"scale", m.scale}, part{"crowd", m.crowd}, part{"lives", m.lives}, part{"simulated", m.simulated}, part{"rest", m.rest}, part{"forwarding", m.forward}, part{"rules", m.rules},
		part{"size", m.sizes}, part{"micro", m.micro})
}

// measure runs the requested parts that the report does not have, and writes it after each:
// what ends the bench costs the part that it ended.
func (m *measurer) measure(ctx context.Context, only *regexp.Regexp, out string) error {
	took, _ := time.ParseDuration(m.report.Took) // of the parts before; none is 0
	for _, p := range m.parts() {
		if !only.MatchString(p.name) || slices.Contains(m.report.Parts, p.name) {
			continue
		}
		begin := time.Now()
		if err := p.measure(ctx); err != nil {
			return err
		}
		took += time.Since(begin)
		m.report.Parts, m.report.Took = append(m.report.Parts, p.name), took.Round(time.Second).String()
		if err := m.report.write(out); err != nil {
			return err
		}
	}
	return nil
}

// progress reports progress on standard error.
func (m *measurer) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
