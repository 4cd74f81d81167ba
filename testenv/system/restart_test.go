package system

import (
	"os"
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
