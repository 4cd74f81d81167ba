package system

import (
	"os"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// Without its state folder the daemon still knows which lane is whose: the
// kernel's own rules tell. The configuration's order is turned round meanwhile, so
// that numbers given anew would be others.
func TestLanesOutliveTheStateFolder(t *testing.T) {
	t.Parallel()
	g := startGateway(t, usual, twoUplinks)
	p := g.party(fiber)
	before := g.ours()
	g.stop()
	if err := os.RemoveAll(g.file("state")); err != nil {
		t.Fatal(err)
	}
	g.configure(`uplinks:
  - {name: lte, interface: wan1}
  - {name: fiber, interface: wan0}
policies: [{name: default, tiers: [fiber, lte]}]
`)
	g.start()
	g.await("all to be up", func(s *control.Status) bool { return carries(s, "fiber") && allUp(s) })
	g.differ("other lanes", before, g.ours())
	time.Sleep(300 * time.Millisecond)
	for _, f := range failover.Families {
		p.udp[f].livedOn("restart")
		p.tcp[f].livedOn("restart")
	}
	if rules := g.out("ip -4 rule"); !strings.Contains(rules, "5301:\tfrom all fwmark 0x1000000/0x7f000000 lookup 5301") {
		t.Errorf("no lane 1 in\n%s", rules)
	}
}

// A daemon that was killed while it had moved traffic away finds it there, and
// moves nothing until it knows better.
func TestRestartAwayFromTheFirstUplink(t *testing.T) {
	t.Parallel()
	g := startGateway(t, usual, twoUplinks)
	f := g.fault(fiber, "black-hole")
	g.await("lte to carry, and fiber to be down", func(s *control.Status) bool {
		return carries(s, "lte") && s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
	})
	p := g.party(lte)
	g.kill()
	restarted := time.Now()
	g.start()
	time.Sleep(3 * time.Second)
	if s := g.status(); !carries(s, "lte") {
		t.Errorf("it moved: %s", brief(s))
	}
	for _, s := range p.all() {
		if o := s.felt("restart", restarted); o.Unanswered > 0 {
			t.Errorf("the restart cost %s: %v", s, o)
		}
		s.livedOnOrFresh("restart")
	}
	g.mend(f)
	g.await("fiber to answer", func(s *control.Status) bool { return s.Uplinks[fiber].IPv4.State.Answering() })
}

// Two labs with a daemon each, in one machine: what happens in one is nothing to
// the other.
func TestTwoLabs(t *testing.T) {
	t.Parallel()
	here := startGateway(t, usual, forgiving)
	there := startGateway(t, usual, forgiving)
	mine, theirs := here.party(fiber), there.party(fiber)
	before := there.ours()
	f := here.fault(fiber, "carrier")
	here.leaves("carrier lost here", mine, f.Onset)
	there.differ("the other lab changed", before, there.ours())
	for _, s := range theirs.all() {
		if o := s.felt("carrier lost elsewhere", f.Onset); o.Unanswered > 0 {
			t.Errorf("the other lab's %s was disturbed: %v", s, o)
		}
		s.livedOnOrFresh("carrier lost elsewhere")
	}
	if a, b := here.status().Daemon.PID, there.status().Daemon.PID; a == b {
		t.Errorf("one process, %d, answers for both", a)
	}
	here.kill()
	if s := there.status(); !carries(s, "fiber") {
		t.Errorf("the other lab's daemon: %s", brief(s))
	}
}
