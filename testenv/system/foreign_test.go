package system

import (
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/traffic"
)

// Other programs delete the daemon's objects, as some do by accident. They are
// restored and the repair is reported, and traffic continues.
func TestForeignDeletion(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"delete-rules", "delete-routes", "flush-ruleset"} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, twoUplinks)
				// Nothing translates addresses while there is no ruleset. And while rules are
				// deleted one by one there is a moment in which packets for the LAN match the
				// last of them, and leave by an uplink.
				g.leaks = spec != "delete-routes"
				p := g.clients(fiber)
				before := g.ours()
				for range 3 {
					g.deletedAndRepaired(spec, p, before)
				}
				if n := len(g.switches()); n > 0 {
					t.Errorf("traffic was moved: %+v", g.switches())
				}
			})
		})
	}
}

// deletedAndRepaired has another program delete the daemon's objects, and waits for the
// repair.
func (g *gateway) deletedAndRepaired(spec string, p *clients, before string) {
	g.Helper()
	repairs := len(g.repairs())
	f := g.Break(fiber, spec)
	g.Until("the kernel to be as it was", func() bool { return g.tryOurs() == before })
	g.Until("an event about the repair", func() bool { return len(g.repairs()) > repairs })
	g.Logf("%s: repaired after at most %v", spec, time.Since(f.Onset))
	g.goBy(fiber, p.all()...)
	awaitResults()
	for _, s := range p.all() {
		s.logEffect(spec, f.Onset)
		// Without a ruleset the kernel translates nothing, and a server's answer
		// reaches the gateway itself, which resets the server's connection.
		if spec != "flush-ruleset" || s.Kind != traffic.TCPStream {
			s.livedOn(spec)
		}
	}
}

// repairs returns the events about repairs so far.
func (g *gateway) repairs() []control.Event {
	g.Helper()
	return slices.DeleteFunc(g.Events(), func(e control.Event) bool { return e.Type() != control.EventRepair })
}

// A program that deletes repeatedly is countered, but at a bounded rate: two programs
// must not keep the machine busy with each other.
func TestRepairsAreBounded(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		const span = 4 * time.Second
		for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			g.Break(fiber, "delete-rules")
		}
		g.Until("plan to find nothing more to do", func() bool { return g.script() == "" })
		n := len(g.repairs())
		t.Logf("%d repairs in %v with a deletion every 10 ms", n, span)
		if n < 2 || n > 40 {
			t.Errorf("%d repairs in %v", n, span)
		}
	})
}

// A route that DHCP adds while the daemon runs stays as it is: it is input. The policy's
// order does not change by it.
func TestForeignRoutesStay(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks)
		p := g.clients(fiber)
		onset := time.Now()
		g.shell(`ip -4 route add default via 198.51.100.1 dev wan1 proto dhcp metric 0
ip -4 route add 10.9.0.0/16 via 198.51.100.1 dev wan1
ip -4 rule add pref 1000 from 10.8.0.0/16 lookup 100`)
		time.Sleep(time.Second)
		foreign := g.out("ip -4 route show table main") + g.out("ip -4 rule")
		for _, want := range []string{
			"default via 198.51.100.1 dev wan1 proto dhcp \n",
			"10.9.0.0/16 via 198.51.100.1 dev wan1",
			"1000:\tfrom 10.8.0.0/16 lookup 100",
		} {
			if !strings.Contains(foreign, want) {
				t.Errorf("%q is missing in\n%s", want, foreign)
			}
		}
		g.kernelGoesBy(fiber)
		g.goBy(fiber, p.all()...)
		for _, s := range p.all() {
			s.undisturbed("a default route of metric 0", onset)
		}
	})
}
