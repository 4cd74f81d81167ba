package failover

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var days = flag.Float64("days", 0.1, "how long the long runs last, in simulated days")

// tallyOf counts the states entered over a long run of the default
// configuration, with a fault process on both uplinks.
func tallyOf(t *testing.T, seed uint64, fault func(*network, *rand.Rand)) map[State]int {
	cfg := testConfig()
	n := newNetwork(cfg, seed)
	count := map[State]int{}
	n.each = func(_ Instant, _ Event, out Output) {
		for _, r := range out.Records {
			if r.Health != nil {
				count[r.Health.To]++
			}
		}
	}
	for _, u := range cfg.Uplinks {
		n.step(LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)})
	}
	fault(n, rand.New(rand.NewPCG(seed, 6)))
	n.run(Instant(*days * 24 * float64(time.Hour)))
	t.Logf("%.2f days: %d suspicions, %d shunnings, %d downs, %d degraded", *days,
		count[Suspect], count[Shunned], count[Down], count[Degraded])
	return count
}

// TestIndependentLoss: 5 % of loss is nobody's fault.
func TestIndependentLoss(t *testing.T) {
	count := tallyOf(t, 1, func(n *network, _ *rand.Rand) {
		for _, w := range n.wire {
			w.loss = 0.05
		}
	})
	if count[Down]+count[Degraded] > 0 || count[Suspect] == 0 {
		t.Errorf("%v", count)
	}
}

// TestStalls: 0.1 % of loss in stalls of 200 ms breaks no session.
func TestStalls(t *testing.T) {
	count := tallyOf(t, 1, func(n *network, r *rand.Rand) {
		for _, u := range n.eng.uplinks {
			stalls(n, u.cfg.Name, r)
		}
	})
	if count[Down]+count[Degraded] > 0 || count[Shunned] == 0 {
		t.Errorf("%v", count)
	}
}

// stalls makes both families of an uplink lose all for 200 ms, each 200 s in
// the mean.
func stalls(n *network, uplink string, r *rand.Rand) {
	set := func(dead bool) {
		for _, f := range Families {
			n.wire[wireKey{uplink, f, ""}].dead = dead
		}
	}
	n.at(n.now+Instant(r.ExpFloat64()*float64(200*time.Second)), func() {
		set(true)
		n.at(n.now+200*time.Millisecond, func() {
			set(false)
			stalls(n, uplink, r)
		})
	})
}
