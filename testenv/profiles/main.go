package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

// list is an option that may be given several times.
type list []string

func (l *list) String() string     { return fmt.Sprint([]string(*l)) }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	pl := plan{}
	variants := list{""}
	flag.Float64Var(&pl.days, "days", 4, "how long to play each line for its verdicts, quiet and used each")
	flag.IntVar(&pl.outages, "outages", 100, "how many outages to play on each line, quiet and used each")
	flag.Uint64Var(&pl.seed, "seed", 1, "of all random choices")
	only := flag.String("only", "", "only the lines whose name matches this `PATTERN`")
	flag.Var(&variants, "with", "play also with these keys of the configuration, a YAML `MAPPING`; may be repeated")
	beside := flag.String("beside", "", "play also the engine (package failover) of this `COMMIT`")
	into := flag.String("write", "", "write the table into this `DOCUMENT`")
	asJSON := flag.Bool("json", false, "print the results as JSON")
	flag.Parse()
	// Little stays allocated for long here, and memory is plentiful: collect rarely.
	debug.SetGCPercent(1000)
	pattern, err := regexp.Compile(*only)
	exitOn(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	links := slices.DeleteFunc(slices.Clone(profiles), func(p profile) bool { return !pattern.MatchString(p.name) })
	begin := time.Now()
	results, err := playAll(ctx, links, variants, pl)
	exitOn(err)
	if *asJSON {
		exitOn(json.NewEncoder(os.Stdout).Encode(results))
		return
	}
	played := 0.0
	for _, r := range results {
		played += r.Days
	}
	took := time.Since(begin)
	fmt.Fprintf(os.Stderr, "%.0f days in %v on %d processors: %.1f a second and processor\n",
		played, took.Round(time.Second), runtime.GOMAXPROCS(0), played/took.Seconds()/float64(runtime.GOMAXPROCS(0)))
	if *beside != "" {
		others, err := playOther(ctx, *beside, *only, variants, pl)
		exitOn(err)
		results = mixed(results, others, len(variants))
	}
	fmt.Print(tableOf(results, pl))
	if *into != "" {
		exitOn(table.Write(*into, linesOf(links)+tableOf(results, pl)))
	}
}

// exitOn ends the program if there is an error.
func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiles:", err)
		os.Exit(1)
	}
}
