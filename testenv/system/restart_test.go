package system

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
)

// reversed has the same uplinks in reverse order, and the same preference.
const reversed = `uplinks:
  - {name: lte, interface: wan1}
  - {name: fiber, interface: wan0}
policies: [{name: default, tiers: [fiber, lte]}]
`

// Without its state folder the daemon still knows the lane of each uplink, from the
// kernel's rules. The configuration's order is reversed meanwhile, so lanes assigned
// anew would differ.
func TestLanesOutliveTheStateFolder(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		before, stopped := g.ours(), time.Now()
		g.Stop()
		if err := os.RemoveAll(g.daemon.File("state")); err != nil {
			t.Fatal(err)
		}
		g.Configure(reversed)
		g.Start()
		g.Await("all to be up", lab.Settled)
		g.differ("other lanes", before, g.ours())
		g.goBy(fiber, p.all()...)
		for _, s := range p.all() {
			s.undisturbed("restart", stopped)
		}
		if rules := g.out("ip -4 rule"); !strings.Contains(rules, "5301:\tfrom all fwmark 0x1000000/0x7f000000 lookup 5301") {
			t.Errorf("no lane 1 in\n%s", rules)
		}
	})
}

// A daemon that was killed while traffic was moved finds it there at the restart, and
// moves nothing before it has verdicts.
func TestRestartAwayFromTheFirstUplink(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		f := g.Break(fiber, "black-hole")
		g.Await("lte to carry, and fiber to be down", func(s *control.Status) bool {
			return lab.Carries(s, "lte") && s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
		})
		p := g.clients(lte)
		g.Kill()
		restarted := time.Now()
		g.Start()
		time.Sleep(3 * time.Second)
		if s := g.Status(); !lab.Carries(s, "lte") {
			t.Errorf("it moved: %s", lab.Brief(s))
		}
		for _, s := range p.all() {
			s.undisturbed("restart", restarted)
		}
		g.Mend(f)
		g.Await("fiber to answer", func(s *control.Status) bool { return s.Uplinks[fiber].IPv4.State.Answering() })
	})
}

// Two labs with a daemon each, on one machine: what happens in one does not affect the
// other.
func TestTwoLabs(t *testing.T) {
	scenario(t, func(t *trial) {
		here := startGateway(t, usual, quickRecovery)
		there := startGateway(t, usual, quickRecovery)
		mine, theirs := here.clients(fiber), there.clients(fiber)
		before := there.ours()
		f := here.Break(fiber, "carrier")
		here.leaves("carrier lost here", mine, f.Onset)
		there.differ("the other lab changed", before, there.ours())
		for _, s := range theirs.all() {
			s.undisturbed("carrier lost elsewhere", f.Onset)
		}
		if a, b := here.Status().Daemon.PID, there.Status().Daemon.PID; a == b {
			t.Errorf("one process, %d, answers for both", a)
		}
		here.Kill()
		if s := there.Status(); !lab.Carries(s, "fiber") {
			t.Errorf("the other lab's daemon: %s", lab.Brief(s))
		}
	})
}

// What happened before a kill is told after it: by the events, whose numbers go on,
// and as the last switch.
func TestEventsOutliveTheDaemon(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		g.Break(fiber, "black-hole")
		g.Await("fiber to be down", func(s *control.Status) bool {
			return lab.Carries(s, "lte") && s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
		})
		before := g.Events()
		last := g.Status().LastSwitch
		g.Until("the events to be in the file", func() bool {
			kept, _ := os.ReadFile(g.daemon.File("state/events.ndjson"))
			return strings.Count(string(kept), "\n") >= len(before)
		})
		g.Kill()
		g.Start()
		g.Until("the start to be told", func() bool { return len(g.Events()) > 0 }) // those since the start
		out, _, code := g.swerve("events", "--json", "--since", "1h")
		if code != 0 {
			t.Fatalf("swerve events: exit code %d", code)
		}
		var seq uint64
		var events []control.Event
		for line := range strings.Lines(out) {
			var e control.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Seq != seq+1 {
				t.Errorf("number %d follows %d", e.Seq, seq)
			}
			seq = e.Seq
			events = append(events, e)
		}
		if len(events) <= len(before) || !reflect.DeepEqual(events[:len(before)], before) {
			t.Errorf("%d events, of which %d happened before:\n%s", len(events), len(before), out)
		}
		now := g.Status().LastSwitch
		if last == nil || now == nil || now.Reason != last.Reason || now.Time.Sub(last.Time.Time).Abs() > time.Second {
			t.Errorf("the last switch is %+v, was %+v", now, last)
		}
	})
}

const (
	// noAdverts has fiber ignore router advertisements: the next one would bring back what a
	// test takes away.
	noAdverts = "echo 0 >/proc/sys/net/ipv6/conf/wan0/accept_ra; "
	// withdrawals take both default routes of fiber away, for good.
	withdrawals = noAdverts + "ip route del default dev wan0 proto dhcp; ip -6 route del default dev wan0"
)

// A daemon that starts while a default route is withdrawn goes on by the gateway that
// it finds in its own routes, as it does while it runs: no switch and no session moved,
// also where no other uplink is there to go to.
func TestRestartWhileTheGatewayIsWithdrawn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		withdraw, back string
		alone          bool
		end            func(g *gateway)
	}{
		"killed": {
			withdraw: withdrawals,
			back:     "ip route add default via 203.0.113.1 dev wan0 proto dhcp",
			end:      func(g *gateway) { g.Kill() },
		},
		"stopped, alone": {
			withdraw: withdrawals,
			back:     "ip route add default via 203.0.113.1 dev wan0 proto dhcp",
			alone:    true,
			end:      func(g *gateway) { g.Stop() },
		},
		"while it is ended": {
			withdraw: "true",
			back:     "true",
			end: func(g *gateway) {
				g.Stop()
				g.shell(withdrawals)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				p := g.clients(fiber)
				if c.alone {
					g.Break(lte, "black-hole")
					g.Await("lte to be down", func(s *control.Status) bool {
						return s.Uplinks[lte].IPv4.State == control.Down && s.Uplinks[lte].IPv6.State == control.Down
					})
				}
				began := time.Now()
				g.shell(c.withdraw)
				if c.alone { // main's best default is that of the dead lte now
					g.Until("main to lead by fiber again", func() bool {
						held := g.ours()
						return strings.Contains(held, "wan0 src 203.0.113.2 metric 199 ") && strings.Contains(held, "wan0 metric 1123 ")
					})
				}
				c.end(g)
				before := g.ours()
				g.Start()
				g.Await("fiber to be up, and to carry", func(s *control.Status) bool {
					return lab.Carries(s, "fiber") && s.Uplinks[fiber].IPv4.State == control.Up && s.Uplinks[fiber].IPv6.State == control.Up
				})
				g.becomes("another kernel", before)
				g.goBy(fiber, p.all()...)
				g.shell(c.back)
				g.goBy(fiber, p.all()...)
				awaitResults()
				for _, s := range p.all() {
					s.undisturbed("restart", began)
				}
				g.unmoved()
			})
		})
	}
}

// Nothing of the kind is taken on trust: a gateway that is silent after the restart is
// left as any other, and one whose network the device has left is not used.
func TestRestartWithADeadGateway(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"silent":          withdrawals,
		"another network": noAdverts + "ip addr flush dev wan0 scope global; ip -6 route del default dev wan0; ip addr add 10.99.0.2/24 dev wan0; ip addr add 2001:db8:99::2/64 dev wan0 nodad",
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				g.leaks = name == "another network" // whose addresses the provider does not know
				p := g.clients(fiber)
				g.Kill()
				g.shell(change)
				if name == "silent" {
					g.Break(fiber, "black-hole")
				}
				g.Start()
				g.Await("lte to carry", func(s *control.Status) bool { return lab.Carries(s, "lte") })
				g.goBy(lte, p.fresh[:]...)
				if name == "another network" {
					for _, family := range []string{"-4", "-6"} {
						if rung := g.out("ip " + family + " route show table 5301"); rung != "" {
							t.Errorf("a route by a gateway that is no neighbour: %s", rung)
						}
					}
				}
			})
		})
	}
}

// The file has other masks at a restart. What was marked under the former ones is
// removed, so that no session is led by a mark that is read wrongly: all go on, or begin
// anew, and the other way round.
func TestRestartWithOtherMasks(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		g.leaks = true // for the moment in which nothing of ours is there
		p := g.clients(fiber)
		for _, masks := range []string{"kernel: {mark_mask: 0x00007f00, ct_mask: 0x00007fff}\n", "kernel: {mark_mask: 0x007f0000, ct_mask: 0x007fff00}\n", ""} {
			g.Stop()
			g.Configure(twoUplinks + masks)
			g.Start()
			g.Await("all to be up", lab.Settled)
			g.goBy(fiber, p.all()...)
			if old := g.shell("ip rule show protocol 83; ip -6 rule show protocol 83"); masks != "" && strings.Contains(old, "/0x7f000000") {
				t.Errorf("with %s\n%s", masks, old)
			}
		}
		f := g.Break(fiber, "black-hole")
		g.goBy(lte, p.all()...)
		g.Mend(f)
	})
}
