package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	binary := flag.String("swerve", "./bin/swerve", "the daemon's `BINARY`")
	software := flag.String("software", "dev", "its version, for the report")
	out := flag.String("out", "sessions.json", "write the report to this `FILE`")
	only := flag.String("only", "", "only the events whose name matches this `PATTERN`")
	rows := flag.String("protocols", "", "only the protocols whose name matches this `PATTERN`")
	report := flag.String("tables", "", "play nothing: update the tables in the document from this report `FILE`")
	flag.Parse()
	if *report != "" {
		exitOn(writeTables(*report, document))
		return
	}
	path, err := filepath.Abs(*binary)
	exitOn(err)
	events, err := matching(events(), *only, func(e event) string { return e.name })
	exitOn(err)
	protocols, err := matching(protocols(), *rows, func(p protocol) string { return p.name })
	exitOn(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := newReport(*software)
	exitOn(r.playAll(ctx, path, events, protocols))
	exitOn(r.write(*out))
	fmt.Print(tablesOf(r))
	if len(r.Wrong) > 0 {
		fmt.Fprintf(os.Stderr, "\nprotocols: %d sessions did not get what they were promised:\n", len(r.Wrong))
		for _, w := range r.Wrong {
			fmt.Fprintf(os.Stderr, "  %s\n", w)
		}
		os.Exit(1)
	}
}

// matching returns those of a list whose name matches a pattern.
func matching[T any](all []T, pattern string, name func(T) string) (kept []T, err error) {
	p, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if p.MatchString(name(one)) {
			kept = append(kept, one)
		}
	}
	return kept, nil
}

// exitOn ends the program if there is an error.
func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "protocols:", err)
		os.Exit(1)
	}
}

// playAll plays each event with Swerve and with the kernel alone.
func (r *Report) playAll(ctx context.Context, binary string, events []event, protocols []protocol) error {
	begin := time.Now()
	for _, e := range events {
		for _, binary := range []string{binary, ""} {
			result, err := playSound(ctx, binary, e, protocols)
			if err != nil {
				return err
			}
			r.Results = append(r.Results, result)
			if result.Swerve {
				r.Wrong = append(r.Wrong, result.wrong(e)...)
			}
			fmt.Fprintf(os.Stderr, "%s  %s, Swerve %v\n", time.Now().Format(time.TimeOnly), e.name, result.Swerve)
		}
	}
	r.Took = time.Since(begin).Round(time.Second).String()
	return nil
}

// playTries is how often an event is played at most, where the machine pauses.
const playTries = 4

// playSound plays an event until the machine has not paused for long.
func playSound(ctx context.Context, binary string, e event, protocols []protocol) (r *Result, err error) {
	for range playTries {
		r, err = play(ctx, binary, e, protocols, 0)
		if err != nil {
			return nil, err
		}
		if !r.void() {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s: this machine is too busy: it paused for %v s", e.name, r.Paused)
}
