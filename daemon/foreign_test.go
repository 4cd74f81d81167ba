package daemon

import (
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// device of the packet's way, as the kernel tells it.
func (g *gateway) way(what string) string {
	g.t.Helper()
	out, err := g.ns.Run("sh", "-c", "ip route get "+what)
	if err != nil {
		return "none"
	}
	words := strings.Fields(out)
	for i, w := range words[:len(words)-1] {
		if w == "dev" {
			return words[i+1]
		}
	}
	return out
}

func (g *gateway) wantWay(dev string, what ...string) {
	g.t.Helper()
	for _, w := range what {
		g.eventually(w+" goes by "+dev, func() bool { return g.way(w) == dev })
	}
}

func (g *gateway) eventually(what string, so func() bool) {
	g.t.Helper()
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if so() {
			return
		}
	}
	g.t.Fatalf("not within 30 s: %s\n%s", what, g.picture())
}

func foreignOf(s *control.Status) (v4, v6 string) {
	name := func(d *control.ForeignDefault) string {
		if d == nil {
			return ""
		}
		return d.Interface + " " + d.Destination
	}
	return name(s.Policies[0].ForeignDefault.IPv4), name(s.Policies[0].ForeignDefault.IPv6)
}

const (
	unmarked4, unmarked6 = "192.0.2.77", "2001:db8:77::1"
	guests4              = "192.0.2.77 mark 0x41000000"
	probe4               = "192.0.2.77 oif wan0 mark 0x01000000"
	probe6               = "2001:db8:77::1 oif wan0 mark 0x01000000 from 2001:db8:1::2"
)

// A VPN's default that is better than the uplinks' stays in force for the default
// policy, and for it alone; probes go by their uplinks.
func TestForeignDefaultIsKept(t *testing.T) {
	for name, routes := range map[string][2]string{
		"default": {"ip -4 route add default dev tun0 metric 50; ip -6 route add default dev tun0 metric 50", "default default"},
		"halves": {`for half in 0.0.0.0/1 128.0.0.0/1; do ip -4 route add $half dev tun0; done
			for half in ::/1 8000::/1; do ip -6 route add $half dev tun0; done`, "0.0.0.0/1 ::/1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.configure("policies:\n  - {name: guests, tiers: [lte]}\nrules: [{from: 192.0.2.99, use: guests}]\n")
			g.sh("ip tuntap add tun0 mode tun; ip link set tun0 up; " + routes[0])
			p := g.start()
			v4, v6, _ := strings.Cut(routes[1], " ")
			v4, v6 = "tun0 "+v4, "tun0 "+v6
			kept := func(s *control.Status) bool {
				a, b := foreignOf(s)
				return allUp(s) && a == v4 && b == v6 && hasCode(s, "foreign-default")
			}
			p.await("both defaults are kept", kept)
			g.wantWay("tun0", unmarked4, unmarked6)
			g.wantWay("wan1", guests4)
			g.wantWay("wan0", probe4, probe6)

			g.sh("ip link set tun0 down") // and its routes go
			p.await("nothing is kept", func(s *control.Status) bool {
				a, b := foreignOf(s)
				return a == "" && b == "" && !hasCode(s, "foreign-default")
			})
			g.wantWay("wan0", unmarked4, unmarked6)
			if name == "default" && !strings.Contains(g.sh("ip -4 rule; ip -6 rule"), "32765:\tfrom all lookup 5364") {
				t.Error("the rule for the default policy is not back")
			}
			g.sh("ip link set tun0 up; " + routes[0])
			p.await("both are kept again", kept)
			g.wantWay("tun0", unmarked4, unmarked6)
		})
	}
}

func hasCode(s *control.Status, code string) bool {
	for _, p := range s.Problems {
		if p.Code == code {
			return true
		}
	}
	return false
}

func TestForeignDefaultIsOverruled(t *testing.T) {
	g := newGateway(t)
	g.configure("kernel: {foreign_defaults: overrule}\n")
	g.sh(`ip tuntap add tun0 mode tun; ip link set tun0 up
		ip -4 route add default dev tun0 metric 50; ip -6 route add default dev tun0 metric 50`)
	p := g.start()
	p.await("the uplinks carry", func(s *control.Status) bool {
		a, b := foreignOf(s)
		return allUp(s) && a == "" && b == "" && !hasCode(s, "foreign-default")
	})
	g.wantWay("wan0", unmarked4, unmarked6)
}
