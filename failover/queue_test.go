package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// fill has a queue on fiber that grows by so much a second up to a length, falls to
// 0.7 of it there, and so on, as TCP's streams do; loss is what it drops when full.
func fill(n *network, length time.Duration, growth, loss float64) {
	const every = 10 * time.Millisecond
	queued, full := time.Duration(0), 0
	var grow func()
	grow = func() {
		queued += time.Duration(growth * float64(every))
		dropping := 0.0
		if queued >= length {
			full++
			dropping = loss
			if full > 20 { // the senders notice after a round trip
				queued, full = length*7/10, 0
				growth = min(growth, 0.2) // no slow start any more
			} else {
				queued = length
			}
		}
		for _, f := range Families {
			w := n.wire[wireKey{"fiber", f, ""}]
			w.rtt, w.loss = 20*time.Millisecond+queued, dropping
		}
		n.at(n.now+every, grow)
	}
	n.at(n.now, grow)
}

// An uplink whose own user fills its queue is not down: any answer, however late, is
// proof of life, and no flow tells that anything is received. Nor is it suspected at
// each probe.
func TestFilledQueues(t *testing.T) {
	one := testConfig()
	if err := configure(&one, []string{"ipv4"}); err != nil {
		t.Fatal(err)
	}
	for what, cfg := range map[string]Config{"both families": testConfig(), "one family": one} {
		steepest := 1.5
		if what == "one family" {
			steepest = 1 // its probes are half as frequent
		}
		for _, length := range []time.Duration{200, 500, 1000, 1700, 2500, 4000} {
			length *= time.Millisecond
			for _, growth := range []float64{0.3, 1, steepest} {
				t.Run(fmt.Sprintf("%s %v %v", what, length, growth), func(t *testing.T) {
					for phase := range 20 {
						n := newNetwork(cfg, uint64(phase))
						suspicions := 0
						var shunned, since time.Duration
						n.each = func(at Instant, _ Event, out Output) {
							for _, r := range out.Records {
								h := r.Health
								switch {
								case h == nil || h.Uplink != "fiber" || h.Family != IPv4 || at < 20*time.Second:
								case h.To == Down:
									t.Errorf("phase %d at %v: %s", phase, at, recordText(r))
								case h.To == Suspect:
									suspicions++
								case h.To == Shunned:
									since = at
								case h.From == Shunned:
									shunned += at - since
								}
							}
						}
						for _, u := range cfg.Uplinks {
							n.step(LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)})
						}
						n.run(20*time.Second + time.Duration(phase)*17*time.Millisecond)
						fill(n, length, growth, 0.1)
						n.run(80 * time.Second)
						if shunned > time.Second || suspicions > 60 {
							t.Errorf("phase %d: shunned for %v, %d suspicions", phase, shunned, suspicions)
						}
					}
				})
			}
		}
	}
}

// What established flows receive holds a shunning off for six seconds and no longer.
func TestReceivingIsBounded(t *testing.T) {
	cfg := testConfig()
	n := newNetwork(cfg, 1)
	onset := 20 * time.Second
	moved := time.Duration(0)
	n.each = func(at Instant, _ Event, out Output) {
		for _, r := range out.Records {
			if r.Switch != nil && strings.Contains(recordText(r), "ipv4") && moved == 0 {
				moved = at - onset
			}
		}
	}
	for _, u := range cfg.Uplinks {
		n.step(LinkChanged{Uplink: u.Name, Link: testLink(u.Name, 1)})
	}
	n.run(onset)
	var receive func()
	receive = func() {
		for _, f := range Families {
			n.wire[wireKey{"fiber", f, ""}].dead = true
			n.step(Traffic{Uplink: "fiber", Family: f, Unanswered: -1, Received: n.now})
		}
		n.at(n.now+50*time.Millisecond, receive)
	}
	receive()
	n.run(onset + 12*time.Second)
	if moved < 5*time.Second || moved > 7*time.Second {
		t.Errorf("moved after %v, want about 6 s", moved)
	}
}
