package failover_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// overflowing returns a configuration of three uplinks with rates that overflows.
func overflowing(t *testing.T, settings ...string) Config {
	cfg := DefaultConfig()
	for _, line := range append([]string{
		"uplinks fiber cable lte", "rate fiber 100 20", "rate cable 50", "rate lte 20", "overflow default 85",
	}, settings...) {
		if err := configure(&cfg, strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// fullByDefinition is how full a line is, by the definition and nothing else: over the
// limit over 1 s for 2 s, until it is 15 points under it for 10 s. It is asked at each
// reading.
type fullByDefinition struct {
	at    []Instant
	bytes []float64
	full  bool
	since Instant
}

func (d *fullByDefinition) read(at Instant, bytes float64, rate, limit float64) {
	d.at, d.bytes = append(d.at, at), append(d.bytes, bytes)
	from := -1
	for i := range d.at {
		if d.at[i] <= at-time.Second {
			from = i
		}
	}
	if from < 0 {
		return
	}
	share := 8 * (bytes - d.bytes[from]) / (at - d.at[from]).Seconds() / rate
	against, wait := share >= limit, 2*time.Second
	if d.full {
		against, wait = share < limit-0.15, 10*time.Second
	}
	switch {
	case !against:
		d.since = -1
	case d.since < 0:
		d.since = at
	case at-d.since >= wait:
		d.full, d.since = !d.full, -1
	}
}

// TestOverflowIsByDefinition plays random loads of a first tier on good lines: new flows
// overflow exactly while it is full by the definition, and nothing is switched.
func TestOverflowIsByDefinition(t *testing.T) {
	begun := 0
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 8))
		w := &world{t: t, World: simulator.NewWorld(overflowing(t), seed, simulator.Options{
			Witness: func(_ *Engine, at Instant, _ Event, out Output) {
				for _, rec := range out.Records {
					if rec.Switch != nil {
						t.Fatalf("seed %d at %v: %s", seed, at, recordText(rec))
					}
					if rec.Overflow != nil && rec.Overflow.Phase == OverflowBegins {
						begun++
					}
				}
			},
		})}
		w.do("all report=0s")
		w.until(30 * time.Second)
		down, up := &fullByDefinition{since: -1}, 0.0
		var rx, tx, load float64
		last := w.Now()
		for w.Now() < 5*time.Minute {
			if r.IntN(12) == 0 {
				load = r.Float64() * 110e6
			}
			w.after(time.Duration(50+r.IntN(300)) * time.Millisecond)
			now := w.Now()
			rx, tx, last = rx+load/8*(now-last).Seconds(), tx+up, now
			w.step(Load{Counts: []Count{{Uplink: "fiber", Rx: uint64(rx), Tx: uint64(tx)}, {Uplink: "lte", Rx: 1, Tx: 1}}})
			down.read(now, float64(uint64(rx)), 100e6, 0.85)
			if got := len(w.Engine.View().Policies[0].Overflow[IPv4]) > 0; got != down.full {
				t.Fatalf("seed %d at %v: overflows %v, by definition %v", seed, now, got, down.full)
			}
		}
	}
	if begun < 60 {
		t.Errorf("%d overflows in all", begun)
	}
}

// TestRandomOverflows plays random loads beside faults, the operator's hand and other
// configurations; the rules after each step include those of an overflow (Engine.Check),
// and while nothing is wrong with the lines a load switches nothing.
func TestRandomOverflows(t *testing.T) {
	things := []string{
		"%s loss=1", "%s loss=0", "%s loss=0", "%s carrier=off", "%s carrier=on", "%s carrier=on", "%s rtt=600ms", "%s rtt=20ms",
		"%s hold=400ms", "%s hold=0s", "drain %s", "resume", "switch %s", "resume", "pause 700ms", "%s address=off", "%s address=on",
	}
	begun := 0
	for seed := range *worlds {
		r := rand.New(rand.NewPCG(seed, 9))
		settings := []string{}
		if r.IntN(2) == 0 {
			settings = append(settings, "policy default fiber*3+cable lte", "overflow default 85")
		}
		if r.IntN(2) == 0 {
			settings = append(settings, "metered lte")
		}
		cfg := overflowing(t, settings...)
		w := &world{t: t, World: simulator.NewWorld(cfg, seed, simulator.Options{
			Witness: func(_ *Engine, _ Instant, _ Event, out Output) {
				for _, rec := range out.Records {
					if rec.Overflow != nil && rec.Overflow.Phase != OverflowEnds {
						begun++
					}
				}
			},
		})}
		w.do("all report=0s")
		names := []string{"fiber", "cable", "lte"}
		var counts [3][2]float64
		var load [3][2]float64
		last := w.Now()
		for w.Now() < 4*time.Minute {
			if r.IntN(8) == 0 {
				load[r.IntN(3)] = [2]float64{r.Float64() * 120e6, r.Float64() * 25e6}
			}
			if r.IntN(15) == 0 {
				thing := things[r.IntN(len(things))]
				if strings.Contains(thing, "%s") {
					thing = fmt.Sprintf(thing, names[r.IntN(3)])
				}
				w.do(thing)
			}
			if r.IntN(200) == 0 {
				for i := range cfg.Policies {
					cfg.Policies[i].Overflow = []float64{0, 0.5, 0.85}[r.IntN(3)]
				}
				w.step(Configure{Config: cfg})
			}
			w.after(time.Duration(50+r.IntN(300)) * time.Millisecond)
			ev := Load{}
			for i, name := range names {
				for d := range counts[i] {
					counts[i][d] += load[i][d] / 8 * (w.Now() - last).Seconds()
				}
				if r.IntN(20) > 0 { // else it could not be read
					ev.Counts = append(ev.Counts, Count{Uplink: name, Rx: uint64(counts[i][0]), Tx: uint64(counts[i][1])})
				}
			}
			last = w.Now()
			w.step(ev)
		}
	}
	if begun < int(*worlds) {
		t.Errorf("%d overflows in all", begun)
	}
}

// TestOverflowProbesAMeteredUplink: a metered uplink is probed as often as any other while
// it takes what overflows, and rarely after that.
func TestOverflowProbesAMeteredUplink(t *testing.T) {
	p := &player{world: world{t: t}, cfg: DefaultConfig(), ladders: map[string]string{}}
	sent := 0
	for _, line := range []string{"ipv4", "metered lte", "rate fiber 100", "overflow default 85 metered"} {
		if err := configure(&p.cfg, strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
	}
	p.World = simulator.NewWorld(p.cfg, 1, simulator.Options{Witness: func(_ *Engine, _ Instant, _ Event, out Output) {
		for _, probe := range out.Probes {
			if probe.Uplink == "lte" {
				sent++
			}
		}
	}})
	count := func(lines ...string) int {
		t.Helper()
		before := sent
		for _, line := range lines {
			if err := p.line(strings.Fields(line)); err != nil {
				t.Fatal(err)
			}
		}
		return sent - before
	}
	count("0s link fiber", "0s link lte", "60s load fiber 50")
	if n := count("120s tick"); n > 9 {
		t.Errorf("%d probes of a standby in a minute", n)
	}
	count("120s load fiber 95", "130s tick")
	if n := count("190s tick"); n < 150 {
		t.Errorf("%d probes in a minute while it takes what overflows", n)
	}
	count("190s load fiber 5", "240s tick")
	if n := count("300s tick"); n > 9 {
		t.Errorf("%d probes of a standby in a minute after that", n)
	}
}

// What is said of the uplinks while a policy overflows: new flows go by what takes it.
func TestExplainOverflow(t *testing.T) {
	w := newWorld(t, overflowing(t), 1)
	w.do("all report=0s")
	w.until(30 * time.Second)
	rx := 0.0
	carry := func(share float64, length time.Duration) {
		for end := w.Now() + length; w.Now() < end; w.after(250 * ms) {
			rx += share * 100e6 / 8 / 4
			w.step(Load{Counts: []Count{{Uplink: "fiber", Rx: uint64(rx)}}})
		}
	}
	carry(0.95, 5*time.Second)
	w.wantWhy("full", "default", "is full, so that new flows go on to cable: fiber carries 95% of its rate down, limit 85%", "",
		"is in tier 3 of policy default, after cable in tier 2")
	w.step(Operator{Verb: Drain, Uplink: "cable"})
	carry(0.95, time.Second)
	w.wantWhy("cable is drained", "default", "is full, so that new flows go on to lte: fiber carries 95% of its rate down, limit 85%", "is drained by the operator", "")
	carry(0.1, 12*time.Second)
	w.wantWhy("space again", "default", "", "is drained by the operator", "is in tier 3 of policy default, after fiber in tier 1")
}
