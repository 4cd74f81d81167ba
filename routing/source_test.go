package routing

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"swerve/failover"
	"swerve/lane"
)

const native, foreignNet = "2001:db8:1b00::/56", "2001:db8:bb00::/56"

// sourced returns a default route of another program in main for a source.
func sourced(source string, metric uint32, index int) Route {
	r := other(failover.IPv6, metric, index)
	r.Src = netip.MustParsePrefix(source)
	return r
}

func TestSourceRules(t *testing.T) {
	const f = failover.IPv6
	lost := func(g *Goal) { g.Uplinks[1].Family[f].Lost = true }
	for name, c := range map[string]struct {
		foreign []Route
		change  func(*Goal)
		want    string
	}{
		"of an uplink":         {[]Route{sourced(native, 512, 3)}, nil, native + " main"},
		"the uplink is lost":   {[]Route{sourced(native, 512, 3)}, lost, ""},
		"the uplink is shut":   {[]Route{sourced(native, 512, 7)}, nil, ""},
		"new flows avoid it":   {[]Route{sourced(native, 512, 3)}, func(g *Goal) { g.Uplinks[1].Family[f].Avoided = true }, ""},
		"another one is lost":  {[]Route{sourced(native, 512, 2)}, lost, native + " main"},
		"the better is lost":   {[]Route{sourced(native, 512, 3), sourced(native, 600, 2)}, lost, ""},
		"the worse is lost":    {[]Route{sourced(native, 600, 3), sourced(native, 512, 2)}, lost, native + " main"},
		"of a VPN":             {[]Route{sourced(native, 50, 9)}, nil, native + " main"},
		"of a VPN, overruled":  {[]Route{sourced(native, 50, 9)}, func(g *Goal) { g.KeepForeign = false }, ""},
		"ours":                 {[]Route{{Slot: sourced(native, 5, 3).Slot, Protocol: lane.Protocol}}, nil, ""},
		"in another table":     {[]Route{{Slot: Slot{Family: f, Table: 77, Dst: anywhere(f), Src: netip.MustParsePrefix(native)}}}, nil, ""},
		"a lost one in a kept": {[]Route{sourced("2001:db8:1b00::/48", 1, 2), sourced(native, 1, 3)}, lost, native + " 5364, 2001:db8:1b00::/48 main"},
		"a kept one in a lost": {[]Route{sourced("2001:db8:1b00::/48", 1, 3), sourced(native, 1, 2)}, lost, native + " main"},
	} {
		g := exampleGoal()
		g.KeepForeign, g.Unused, g.Foreign = true, []int{7}, append(c.foreign, other(f, 1024, 2))
		g.RecallMetrics(nil)
		if c.change != nil {
			c.change(&g)
		}
		var got []string
		rules := Desired(g).Rules
		for _, r := range rules {
			if r.From.IsValid() && r.Family == f && r.Priority >= lane.MainAgainPriority {
				got = append(got, r.From.String()+" "+tableName(r.Table))
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if _, kept := g.ForeignDefault(f); kept {
			t.Errorf("%s: it is kept as a default for all sources", name)
		}
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.Family == f && r.Priority == lane.LastResortPriority }) {
			t.Errorf("%s: no rule for the ladder", name)
		}
	}
}

// What has a former uplink's address is for main as long as main leads to its device.
func TestFormerRules(t *testing.T) {
	for _, f := range failover.Families {
		for name, c := range map[string]struct {
			first int // the device of main's best default
			want  int
		}{"by its device": {8, 1}, "by an uplink": {2, 0}, "by none": {0, 0}} {
			g := exampleGoal()
			address := [2]string{"192.0.2.8", "2001:db8:8::8"}[f]
			g.Former = []Former{{Address: netip.MustParseAddr(address), Index: 8}}
			g.Foreign = []Route{other(f, 2000, 3)}
			if c.first > 0 {
				g.Foreign = append(g.Foreign, other(f, 50, c.first))
			} else {
				g.Foreign = nil
			}
			n := 0
			for _, r := range Desired(g).Rules {
				if r.From.IsValid() && r.From.Addr() == g.Former[0].Address {
					n++
					if r.Family != f || r.Table != MainTable || r.From.IsSingleIP() != true || r.Priority != lane.MainAgainPriority {
						t.Errorf("%s %s: %+v", f, name, r)
					}
				}
			}
			if n != c.want {
				t.Errorf("%s %s: %d rules, want %d", f, name, n, c.want)
			}
		}
	}
}

func TestTooManySources(t *testing.T) {
	g := exampleGoal()
	for n := range MaxSources + 1 {
		a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(n)})
		g.Foreign = append(g.Foreign, sourced(netip.PrefixFrom(a, 48).String(), 1, 3))
	}
	if n := len(g.sourceRules(failover.IPv6)); n != MaxSources || !g.TooManySources(failover.IPv6) {
		t.Errorf("%d rules", n)
	}
}

// sourcesLab has a default route for a prefix of wan1's provider, and one for a VPN's.
type sourcesLab struct {
	*lab
	// ways has the device by which packets leave, by what is said of them.
	ways map[string]string
}

func newSourcesLab(t *testing.T) sourcesLab {
	t.Helper()
	l := newLab(t)
	l.goal.Mirror, l.goal.KeepForeign = true, true
	l.goal.Policies[0].Family = both(order(1, 2))
	l.sh(`ip link add vpn type veth peer name far; ip link set vpn up; ip link set far up
		ip -6 addr add 2001:db8:1b00::1/64 dev lo; ip -6 addr add 2001:db8:bb00::1/64 dev lo
		ip -6 route add default from ` + native + ` via 2001:db8:2::1 dev wan1 proto ra metric 512 mtu 1400
		ip -6 route add default from ` + foreignNet + ` dev vpn metric 50`)
	return sourcesLab{l, map[string]string{
		"from 2001:db8:1b00::1": "wan1", "from 2001:db8:bb00::1": "vpn", "from 2001:db8:1::2": "wan0", "": "wan0",
	}}
}

// follow reads the routes of others, and applies the goal.
func (l sourcesLab) follow() {
	l.t.Helper()
	var err error
	l.goal.Foreign, err = foreignDefaults(l.kernel, l.goal.Layout)
	l.must(err)
	l.goal.Pins, _, err = l.kernel.Pins()
	l.must(err)
	l.goal.RecallMetrics(nil)
	l.apply(Desired(l.goal))
}

// want compares the ways with the kernel's; more has those that are others now.
func (l sourcesLab) want(when string, more ...string) {
	l.t.Helper()
	for from, dev := range l.ways {
		for n := 0; n < len(more); n += 2 {
			if more[n] == from {
				dev = more[n+1]
			}
		}
		if got := l.way(failover.IPv6, from); got != dev {
			l.t.Errorf("%s: %q goes by %s, want %s\n%s", when, from, got, dev, l.ours())
		}
	}
}

func (l sourcesLab) lose(lost bool) { l.goal.Uplinks[1].Family[failover.IPv6].Lost = lost }

// Defaults for one source are not taken for defaults for all of them, and decide for
// their sources as before, in the kernel.
func TestSourcesInTheKernel(t *testing.T) {
	l := newSourcesLab(t)
	l.want("before")
	l.follow()
	l.want("at the start")
	if out := l.sh("ip -6 route get 2001:db8:ffff::1 from 2001:db8:1b00::1"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("without its mtu: %s", out)
	}
	l.lose(true)
	l.follow()
	l.want("with wan1 lost", "from 2001:db8:1b00::1", "wan0")
	l.goal.KeepForeign = false
	l.follow()
	l.want("overruled", "from 2001:db8:1b00::1", "wan0", "from 2001:db8:bb00::1", "wan0")
	l.goal.KeepForeign = true
	l.lose(false)
	l.follow()
	l.want("afterwards")
	// The kernel alone: carrier is lost, and nobody acts.
	l.must(l.gw.SetSysctl("net/ipv6/conf/wan1/ignore_routes_with_linkdown", "1"))
	_, err := l.isp.Run("ip", "link", "set", "wan1", "down")
	l.must(err)
	l.eventually("the other uplink carries them", func() bool { return l.way(failover.IPv6, "from 2001:db8:1b00::1") == "wan0" })
}

// A route for one source in one of our tables is met before ours, whatever its metric,
// and a host route for one source binds no address.
func TestSourceIntruderAndPin(t *testing.T) {
	l := newSourcesLab(t)
	l.sh("ip -6 route add unreachable default from 2001:db8:1::/64 metric 900 table 5364\n" +
		"ip -6 route add 2001:db8:ffff::1/128 from " + native + " via 2001:db8:2::1 dev wan1 proto dhcp")
	l.follow()
	if len(l.goal.Pins) != 0 {
		t.Errorf("pins %v", l.goal.Pins)
	}
	intruders := slices.DeleteFunc(slices.Clone(l.goal.Foreign), func(r Route) bool { found, first := Intruder(r, l.goal.Layout); return !found || !first })
	if len(intruders) != 1 {
		t.Fatalf("routes of others that are met before ours: %v", intruders)
	}
	l.sh(Op{Action: DeleteRoute, Route: intruders[0]}.String()) // the command of the problem's remedy
	l.want("without it")
}

// A default for one TOS value decides for its packets as before.
func TestTOSInTheKernel(t *testing.T) {
	l := newSourcesLab(t)
	l.sh("ip -4 route add default tos 0x10 via 198.51.100.1 dev wan1")
	way := func(want string) {
		t.Helper()
		if got := l.way(failover.IPv4, "tos 0x10"); got != want {
			t.Errorf("it goes by %s, want %s\n%s", got, want, l.ours())
		}
		if got := l.way(failover.IPv4, ""); got != "wan0" {
			t.Errorf("without a TOS it goes by %s", got)
		}
	}
	way("wan1")
	l.follow()
	way("wan1")
	l.goal.Uplinks[1].Family[failover.IPv4].Lost = true
	l.follow()
	way("wan0")
	if left := Plan(Desired(l.goal), State{Routes: Desired(l.goal).Routes, Rules: Desired(l.goal).Rules}); len(left) != 0 {
		t.Error(lines(left))
	}
	if rule := (part{tos: 0x10}).rule(failover.IPv4, 32764, MainTable).String(); rule != "pref 32764 tos 0x10 lookup main protocol 83" {
		t.Errorf("rule %q", rule)
	}
}
