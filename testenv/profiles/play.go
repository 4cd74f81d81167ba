package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"swerve/failover"
	"swerve/testenv/simulator"
)

const day = 24 * time.Hour

// plan is how much is played.
type plan struct {
	days    float64
	outages int
	seed    uint64
	// without are worlds that are left out.
	without []kind
}

// kind is a world of a link.
type kind int

const (
	quiet       kind = iota // nobody uses the link: probes alone tell
	used                    // flows use it all the time
	quietDies               // outages, and nobody uses it
	usedDies                // outages under 100 packets a second each way
	metered                 // the other uplink is a metered modem, which rests
	meteredDies             // outages beside that, and nobody uses the link
	kinds
)

// outageEvery is the mean time between two outages, rare enough for damping to forget.
const (
	outageEvery = 25 * time.Minute
	leastOutage = 20 * time.Second
	mostOutage  = time.Minute
	// busyBefore and busyAfter are how long a link is used before and after the onset.
	busyBefore, busyAfter = 5 * time.Second, 5 * time.Second
)

// result is what the engine made of a link.
type result struct {
	// Line is the link, Engine the variant that was played.
	Line, Engine  string
	Quiet, Used   verdicts
	Idle, Traffic departures
	// ToModem is as Idle, where the other uplink is a metered modem that rests.
	ToModem departures
	// Primary and Standby are what was probed, in bytes a day: of the link, and of a
	// metered standby.
	Primary, Standby float64
	// Days are all that was played.
	Days float64
}

// verdicts are counts a day, of the family that had more, and the shares of new flows that
// went elsewhere, in millionths: in all, and while the link worked.
type verdicts struct{ Shuns, Downs, Degradeds, Elsewhere, Needless float64 }

// departures are how soon outages were left, by new flows and by sessions.
type departures struct{ Flows, Sessions times }

// times is a distribution.
type times struct {
	N             int
	Median, Worst time.Duration
}

func timesOf(all []time.Duration) times {
	if len(all) == 0 {
		return times{}
	}
	slices.Sort(all)
	return times{len(all), all[len(all)/2], all[len(all)-1]}
}

// script writes a world of a link; overlay replaces keys of the configuration.
func (p *profile) script(k kind, pl plan, overlay string) (simulator.Script, []outage, error) {
	second := "eth1, metered: false"
	rest := ""
	if k == metered || k == meteredDies {
		// What a failback leaves is drained from a metered uplink: sessions, of which
		// nothing is counted there.
		second, rest = "wwan1", "sessions: {on_failback: keep}\n"
	}
	first := p.device
	if p.keys != "" {
		first += ", " + p.keys
	}
	cfg := fmt.Sprintf("uplinks:\n  - {name: %s, interface: %s}\n  - {name: %s, interface: %s}\n%s", primary, first, backup, second, rest)
	if overlay != "" {
		var err error
		if cfg, err = simulator.Overlaid(cfg, overlay); err != nil {
			return simulator.Script{}, nil, err
		}
	}
	s := simulator.Script{Config: cfg, Seed: pl.seed + uint64(k)}
	days := pl.days
	if k == metered {
		days = min(days, 1) // a volume hardly varies
	}
	w := &writer{rand: rand.New(rand.NewPCG(s.Seed, 21)), length: settling + time.Duration(days*float64(day))}
	outages := w.outages(k, pl.outages)
	p.write(w)
	switch k {
	case used:
		w.at(0, "flows=100ms")
	case metered, meteredDies:
		text := fmt.Sprintf("%s rtt=45ms jitter=20ms loss=0.001 promotion=%v", backup, cmp.Or(p.promotion, usualPromotion))
		w.lines = append(w.lines, simulator.Line{Text: text})
	case quiet, quietDies, usedDies, kinds:
	}
	slices.SortStableFunc(w.lines, func(a, b simulator.Line) int { return int(min(1, max(-1, a.At-b.At))) })
	s.Lines, s.End = w.lines, w.length
	return s, outages, nil
}

// outages writes the outages of a world, which lasts as long as they take.
func (w *writer) outages(k kind, n int) (list []outage) {
	if k != quietDies && k != usedDies && k != meteredDies {
		return nil
	}
	w.length = time.Duration(1 << 62)
	at := time.Duration(0)
	for range n {
		at += outageEvery*4/5 + w.exp(outageEvery/5)
		o := outage{at, at + w.between(leastOutage, mostOutage)}
		if k == usedDies {
			w.at(o.from-busyBefore, "flows=10ms")
			w.at(o.from+busyAfter, "flows=off")
		}
		w.at(o.from, "dead")
		w.at(o.to, "alive")
		list = append(list, o)
		at = o.to
	}
	w.length = at + time.Minute
	return list
}

// play plays a world of a link.
func (p *profile) play(k kind, pl plan, overlay string) (*observer, time.Duration, error) {
	s, outages, err := p.script(k, pl, overlay)
	if err != nil {
		return nil, 0, err
	}
	o, err := newObserver(s, outages)
	if err != nil {
		return nil, 0, err
	}
	if o.world, err = simulator.Open(s, simulator.Options{CheckEach: 1000, Lean: true, Witness: o.see}); err != nil {
		return nil, 0, err
	}
	_, err = o.world.Play()
	return o, s.End - settling, named(err, p, k)
}

// named explains a broken rule: its script is too long to print.
func named(err error, p *profile, k kind) error {
	failure := new(simulator.Failure)
	if !errors.As(err, &failure) {
		return err
	}
	file, create := os.CreateTemp("", "profile-*.script")
	if create != nil {
		return errors.Join(err, create)
	}
	defer file.Close()
	if _, err := file.WriteString(failure.Script.String()); err != nil {
		return err
	}
	return fmt.Errorf("%s, world %d at %v: %w; its script is %s", p.name, k, failure.At, failure.Broken, file.Name())
}

// take adds a world's figures.
func (r *result) take(k kind, o *observer, length time.Duration) {
	days := length.Hours() / 24
	r.Days += days
	switch k {
	case quiet:
		r.Quiet, r.Primary = o.verdicts(days), float64(o.bytes[primary])/days
	case used:
		r.Used = o.verdicts(days)
	case quietDies:
		r.Idle = departures{timesOf(o.left), timesOf(o.released)}
	case usedDies:
		r.Traffic = departures{timesOf(o.left), timesOf(o.released)}
	case metered:
		r.Standby = float64(o.bytes[backup]) / days
	case meteredDies:
		r.ToModem = departures{timesOf(o.left), timesOf(o.released)}
	case kinds:
	}
}

func (o *observer) verdicts(days float64) verdicts {
	rate := func(s failover.State) float64 {
		return float64(max(o.entered[failover.IPv4][s], o.entered[failover.IPv6][s])) / days
	}
	share := func(d time.Duration) float64 { return 1e6 * d.Hours() / 24 / days / 2 } // of both families
	return verdicts{rate(failover.Shunned), rate(failover.Down), rate(failover.Degraded), share(o.elsewhere), share(o.needless)}
}

// playAll plays all worlds of some links by some variants, on all processors, and returns a
// result for each link and variant, in that order.
func playAll(ctx context.Context, links []profile, variants []string, pl plan) ([]result, error) {
	results := make([]result, len(links)*len(variants))
	done := make([][kinds]func(*result), len(results))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range results {
		p, overlay := &links[i/len(variants)], variants[i%len(variants)]
		results[i] = result{Line: p.name, Engine: strings.TrimSpace(overlay)}
		for k := range kinds {
			if slices.Contains(pl.without, k) {
				done[i][k] = func(*result) {}
				continue
			}
			g.Go(func() error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				o, length, err := p.play(k, pl, overlay)
				done[i][k] = func(r *result) { r.take(k, o, length) }
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range results {
		for _, take := range done[i] {
			take(&results[i])
		}
	}
	return results, nil
}
