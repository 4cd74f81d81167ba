// Command years plays years of link life to the real decision engine, and reports
// the results: verdicts and switches a year, how soon a dead uplink was left, and
// moves that were wrong. A broken rule ends it and prints a script that leads there,
// which -play plays again.
//
//	go run ./testenv/simulator/years -years 10 -what loss
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"swerve/failover"
	"swerve/testenv/simulator"
)

// chunk is how long one world lasts; long spans are played as several worlds, each
// with its own seed.
const chunk = 10 * 24 * time.Hour

// kinds are what can be played, by name.
var kinds = map[string]func(seed uint64, length time.Duration) simulator.Script{
	"loss":   steady("loss=0.05"),
	"stalls": steady("stalls every=199.8s for=200ms"),
	"hold":   steady("stalls every=199.8s for=200ms hold"),
	"holes": func(seed uint64, length time.Duration) simulator.Script {
		return simulator.BlackHoles(simulator.TwoUplinks, uplinks[0], seed, length)
	},
	"life":  life(1),
	"rough": life(300),
}

var uplinks = []string{"fiber", "lte"}

func steady(hardship string) func(uint64, time.Duration) simulator.Script {
	return func(seed uint64, length time.Duration) simulator.Script {
		return simulator.Steady(simulator.TwoUplinks, uplinks, seed, length, hardship)
	}
}

func life(rough float64) func(uint64, time.Duration) simulator.Script {
	return func(seed uint64, length time.Duration) simulator.Script {
		return simulator.Life{
			Config: simulator.TwoUplinks, Uplinks: uplinks, Targets: []string{"1.1.1.1", "8.8.8.8", "2620:fe::fe"},
			Seed: seed, Length: length, Rough: rough,
		}.Script()
	}
}

func main() {
	years := flag.Float64("years", 0.1, "how long to play, in simulated years of 365 days")
	what := flag.String("what", "life", "loss (5 % independent), stalls (0.1 % in stalls of 200 ms), hold (the same, nothing lost), holes (black-holes of the first uplink), life, rough")
	seed := flag.Uint64("seed", 1, "the first world's seed; each further world has the next one")
	check := flag.Int("check", 1000, "call Engine.Check once in so many steps without a decision, and after each decision")
	full := flag.Bool("full", false, "report every sending, as the daemon does; slower, and the same outcome")
	play := flag.String("play", "", "play the script in this `FILE` instead")
	profile := flag.String("profile", "", "write a CPU profile to this `FILE`")
	flag.Parse()
	// Little stays allocated for long here, and memory is plentiful: collect rarely.
	debug.SetGCPercent(1000)
	if err := withProfile(*profile, func() error {
		o := simulator.Options{CheckEach: *check, Lean: !*full}
		if *play != "" {
			return replay(*play, o)
		}
		return run(*what, *seed, *years, o)
	}); err != nil {
		fmt.Fprintln(os.Stderr, "years:", err)
		os.Exit(1)
	}
}

func withProfile(file string, do func() error) error {
	if file == "" {
		return do()
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return do()
}

func replay(file string, o simulator.Options) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	s, err := simulator.ParseScript(string(text))
	if err != nil {
		return err
	}
	stats, err := simulator.Play(s, o)
	fmt.Print(stats)
	return err
}

// run plays worlds on all processors and prints their sum.
func run(what string, seed uint64, years float64, o simulator.Options) error {
	script, ok := kinds[what]
	if !ok {
		return fmt.Errorf("unknown kind %q", what)
	}
	total := time.Duration(years * 365 * 24 * float64(time.Hour))
	worlds := int((total + chunk - 1) / chunk)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	begin := time.Now()
	var sum simulator.Stats // of those that were played, if it is stopped
	err := simulator.PlayAll(ctx, worlds, func(i int) simulator.Script {
		return script(seed+uint64(i), min(chunk, total-time.Duration(i)*chunk))
	}, o, func(s simulator.Stats) {
		sum.Join(s)
		fmt.Fprintf(os.Stderr, "\r%.3f years, %d shunned, %d downs, %d degraded ", sum.Years(),
			sum.Entered[failover.Shunned], sum.Entered[failover.Down], sum.Entered[failover.Degraded])
	})
	fmt.Fprintln(os.Stderr)
	took := time.Since(begin)
	fmt.Printf("%s, seeds from %d, one for each 10 days: %.1f simulated days a second\n%s",
		what, seed, sum.Length.Hours()/24/took.Seconds(), sum)
	var failure *simulator.Failure
	if errors.As(err, &failure) {
		return simulator.Shrink(failure, simulator.Playing(o), 200)
	}
	return err
}
