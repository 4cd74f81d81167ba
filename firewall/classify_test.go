package firewall

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	match "swerve/rule"
)

// worldOf are the values of random rules and packets: few, so that they meet.
var worldOf = struct {
	from, to [2][]netip.Addr
	nets     [2][]netip.Prefix
	devices  []string
	ports    []uint16
}{
	from: [2][]netip.Addr{addresses("192.168.1.10", "192.168.1.11", "192.168.1.130"), addresses("fd00:1::10", "fd00:1::11", "fd00:1::130")},
	to:   [2][]netip.Addr{addresses("192.0.2.2", "192.0.2.3", "192.0.2.130"), addresses("2001:db8:99::2", "2001:db8:99::3", "2001:db8:99:1::130")},
	nets: [2][]netip.Prefix{
		prefixes("0.0.0.0/0", "192.168.1.0/24", "192.168.1.128/25", "192.168.1.10/32", "192.168.1.11/32", "192.0.2.0/24", "192.0.2.2/32", "192.0.2.3/32", "192.0.2.128/25", "192.0.2.0/25"),
		prefixes("::/0", "fd00:1::/64", "fd00:1::100/120", "fd00:1::10/128", "fd00:1::11/128", "2001:db8:99::/48", "2001:db8:99::2/128", "2001:db8:99::3/128", "2001:db8:99:1::/64", "2001:db8:99::/64"),
	},
	devices: []string{"lan0", "lan1"},
	ports:   []uint16{53, 443, 444, 8000},
}

func randomRule(rng *rand.Rand, number int) Rule {
	r := Rule{Number: number, Policy: lane.Lane(64 + rng.IntN(3))}
	nets := func() (out []netip.Prefix) {
		for range rng.IntN(4) {
			list := worldOf.nets[rng.IntN(2)]
			out = append(out, list[rng.IntN(len(list))])
		}
		return out
	}
	if rng.IntN(2) == 0 {
		r.From = nets()
	}
	if rng.IntN(2) == 0 {
		r.To = nets()
	}
	if rng.IntN(5) == 0 {
		r.In = worldOf.devices[:1+rng.IntN(2)]
	}
	if rng.IntN(3) == 0 {
		r.Proto = []uint8{unix.IPPROTO_UDP, unix.IPPROTO_TCP}[rng.IntN(2)]
		r.Ports = [][]match.PortRange{nil, {{First: 443, Last: 443}}, {{First: 53, Last: 443}}, {{First: 53, Last: 53}, {First: 444, Last: 8000}}}[rng.IntN(4)]
	}
	if rng.IntN(6) == 0 {
		r.HasDSCP, r.DSCP = true, []uint8{0, 10, 46}[rng.IntN(3)]
	}
	if rng.IntN(6) == 0 {
		r.Mark = match.Mark{Value: uint32(rng.IntN(2)), Mask: 1}
	}
	return r
}

// randomRules are up to n rules, now and then several of the same shape in a row.
func randomRules(rng *rand.Rand, n int) []Rule {
	var out []Rule
	for len(out) < n {
		r := randomRule(rng, len(out))
		out = append(out, r)
		for rng.IntN(4) > 0 && len(out) < n {
			like := r
			like.Number, like.Policy = len(out), lane.Lane(64+rng.IntN(3))
			other := randomRule(rng, 0)
			switch what := rng.IntN(3); {
			case len(r.To) > 0 && what > 0:
				like.To = other.To
			case len(r.From) > 0 && what > 0:
				like.From = other.From
			case len(r.Ports) > 0:
				like.Ports = other.Ports
			}
			if len(like.Ports) > 0 && like.Proto == 0 {
				like.Ports = nil
			}
			out = append(out, like)
		}
	}
	return out
}

func randomPacket(rng *rand.Rand) Packet {
	f := failover.Families[rng.IntN(2)]
	return Packet{
		Family: f, From: worldOf.from[f][rng.IntN(3)], To: worldOf.to[f][rng.IntN(3)],
		In: "lan0", Proto: unix.IPPROTO_UDP, FromPort: uint16(2000 + rng.IntN(2)), ToPort: worldOf.ports[rng.IntN(4)],
		DSCP: []uint8{0, 10, 46}[rng.IntN(3)],
	}
}

// firstOf is what the rules mean, said in the simplest possible way.
func firstOf(rules []Rule, p Packet) (lane.Lane, int) {
	in := func(list []netip.Prefix, a netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(x netip.Prefix) bool { return x.Contains(a) })
	}
	for _, r := range rules {
		if in(r.From, p.From) && in(r.To, p.To) && (len(r.In) == 0 || slices.Contains(r.In, p.In)) &&
			(r.Proto == 0 || r.Proto == p.Proto) && (!r.HasDSCP || r.DSCP == p.DSCP) && p.Mark&r.Mark.Mask == r.Mark.Value &&
			(len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(x match.PortRange) bool { return x.First <= p.ToPort && p.ToPort <= x.Last })) &&
			(r.Set == "" || p.InSet != nil && p.InSet(r.Set, p.To)) {
			return r.Policy, r.Number
		}
	}
	return lane.DefaultPolicy, -1
}

func ruledGoal(rules []Rule) Goal {
	g := threePolicies()
	g.Policies[2].Block = false
	g.Uplinks[0].SNATExcept, g.Uplinks[0].MarkArrivals, g.Kept = nil, false, nil
	g.Lost = [2][]Pair{}
	g.Rules = rules
	return g
}

// mapFrom makes maps of so many rules in a row, until the test ends.
func mapFrom(t *testing.T, n int) {
	t.Helper()
	mappedFrom = n
	t.Cleanup(func() { mappedFrom = leastMapped })
}

// The table classifies as the rules say: the first that matches wins.
func TestClassifyIsTheFirstMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	matched := 0
	for n := range 800 {
		mapFrom(t, []int{leastMapped, 2}[n%2])
		rules := randomRules(rng, rng.IntN(40))
		table := Ruleset(ruledGoal(rules))
		for range 50 {
			p := randomPacket(rng)
			p.Proto = []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, 50}[rng.IntN(3)]
			p.In = []string{"lan0", "lan1", "lan2", ""}[rng.IntN(4)]
			if p.In != "" {
				p.Mark = uint32(rng.IntN(4))
			}
			policy, number := firstOf(rules, p)
			got := table.Classify(p)
			if got.Policy != policy || got.Rule != number || got.Member != 0 || got.Refused {
				t.Fatalf("%+v is %+v, want policy %d by rule %d of\n%s", p, got, policy, number, table)
			}
			if number >= 0 {
				matched++
			}
		}
	}
	if matched < 5000 {
		t.Errorf("only %d packets matched a rule", matched)
	}
}

// A rule that names the default policy decides also where many are nested in a map, and its
// flows are distributed like the others of that policy.
func TestNestedDefaultPolicy(t *testing.T) {
	mapFrom(t, 2)
	var rules []Rule
	for i := range uint16(4) {
		r := Rule{Number: int(i), Policy: lane.DefaultPolicy, Match: match.Match{To: prefixes("192.0.2.0/24", "2001:db8:99::/48"), Proto: unix.IPPROTO_UDP}}
		r.Ports = []match.PortRange{{First: 50 + i, Last: 50 + i}}
		rules = append(rules, r)
	}
	g := ruledGoal(append(rules, Rule{Number: 4, Policy: 65}))
	g.Policies[0].Spread = Pairs
	for _, f := range failover.Families {
		g.Policies[0].Members[f] = []Member{{Uplink: 1, Weight: 1}, {Uplink: 2, Weight: 1}}
	}
	table := Ruleset(g)
	for _, f := range failover.Families {
		for port, want := range map[uint16]Class{52: {Policy: lane.DefaultPolicy, Rule: 2}, 80: {Policy: 65, Rule: 4}} {
			for _, in := range []string{"lan0", ""} {
				got := table.Classify(Packet{Family: f, In: in, From: worldOf.from[f][0], To: worldOf.to[f][0], Proto: unix.IPPROTO_UDP, ToPort: port})
				picked := got.Member != 0
				if got.Member = 0; got != want || picked != (in != "" && want.Policy == lane.DefaultPolicy) {
					t.Errorf("%s, in %q, port %d: %+v, picked %v; want %+v", f, in, port, got, picked, want)
				}
			}
		}
	}
}

// What comes in by an uplink is answered by it, and sockets with a mark of their own keep
// it, whatever the rules say.
func TestClassifyWhatRulesDoNotApplyTo(t *testing.T) {
	table := Ruleset(ruledGoal([]Rule{{Policy: 65}}))
	p := Packet{From: worldOf.from[0][0], To: worldOf.to[0][0], Proto: unix.IPPROTO_TCP}
	for _, c := range []struct {
		in   string
		mark uint32
		want Class
	}{
		{"lan0", 0, Class{Policy: 65, Rule: 0}},
		{"", 0, Class{Policy: 65, Rule: 0}},
		{"", 0x51820, Class{Policy: 64, Rule: -1}},
		{"lan0", 0x51820, Class{Policy: 65, Rule: 0}},
		{"wan1", 0, Class{Policy: lane.Nobody, Rule: -1, Member: 2}},
	} {
		p.In, p.Mark = c.in, c.mark
		if got := table.Classify(p); got != c.want {
			t.Errorf("in %q with mark %#x: %+v, want %+v", c.in, c.mark, got, c.want)
		}
	}
}

// What another program has marked on its way out is ruled as soon as a rule asks for that
// mark, and by the first one that matches; with any other mark it is left alone.
func TestRulesOfOwnMarks(t *testing.T) {
	l := blockLab(t)
	l.goal.Rules = []Rule{{Policy: 64, Number: 0}, {Policy: 66, Number: 1}}
	l.goal.Rules[0].Proto, l.goal.Rules[0].Ports = unix.IPPROTO_UDP, []match.PortRange{{First: 7002, Last: 7002}}
	l.goal.Rules[1].Mark = match.Mark{Value: 0x10, Mask: 0xff}
	loadText(t, l.gw, `table inet theirs { chain c {
		type route hook output priority mangle - 10;
		udp dport 7001-7002 meta mark set 0x110
		udp dport 7003 meta mark set 0x20
		tcp dport 7001 meta mark set 0x10
	}
}
`)
	l.apply()
	table := Ruleset(l.goal)
	for f, p := range plans {
		serveTCP(t, l.net, at(p.host, 7001))
		for port, want := range map[int]struct {
			mark uint32
			from string
			Class
		}{
			7001: {0x110, p.b, Class{Policy: 66, Rule: 1}},
			7002: {0x110, p.a, Class{Policy: 64, Rule: 0}},
			7003: {0x20, p.a, Class{Policy: 64, Rule: -1}},
			7004: {0, p.a, Class{Policy: 64, Rule: -1}},
		} {
			serveUDP(t, l.net, at(p.host, port))
			c := dialUDP(t, l.gw, at(p.host, port))
			for range 2 {
				if from := askUDP(t, c); from != want.from {
					t.Errorf("port %d: from %s, want %s", port, from, want.from)
				}
			}
			got := table.Classify(Packet{
				Family: failover.Family(f), From: netip.MustParseAddr(p.a), To: netip.MustParseAddr(p.host),
				Proto: unix.IPPROTO_UDP, ToPort: uint16(port), Mark: want.mark,
			})
			if got != want.Class {
				t.Errorf("port %d is %+v, want %+v", port, got, want.Class)
			}
		}
		if from, err := askTCP(dialTCP(t, l.gw, at(p.host, 7001))); from != p.b {
			t.Errorf("TCP from %s, %v; want %s", from, err, p.b)
		}
	}
}

// send sends one UDP packet.
func send(from, to netip.AddrPort, tos int) error {
	dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(from), Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, tos)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos)
		})
	}}
	c, err := dialer.DialContext(context.Background(), "udp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("x"))
	return err
}

// lanesOf returns the lanes that the gateway's entries have, by their original tuple.
func (l *lab) lanesOf(of ...string) map[string][2]lane.Lane {
	l.t.Helper()
	out := map[string][2]lane.Lane{}
	for line := range strings.Lines(l.flows(of...)) {
		var tuple []string
		mark := uint64(0)
		for _, word := range strings.Fields(line) {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "src", "dst", "sport", "dport":
				if len(tuple) < 4 {
					tuple = append(tuple, value)
				}
			case "mark":
				mark, _ = strconv.ParseUint(value, 10, 32)
			}
		}
		uplink, policy := l.goal.Layout.CTLanes(uint32(mark))
		out[strings.Join(tuple, " ")] = [2]lane.Lane{uplink, policy}
	}
	return out
}

func tupleOf(p Packet) string {
	return fmt.Sprintf("%s %s %d %d", p.From, p.To, p.FromPort, p.ToPort)
}

// rulesLab is a lab whose client and internet have the addresses of random packets.
func rulesLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	for f, p := range plans {
		for i := 1; i < 3; i++ {
			l.address(l.client, "eth0", worldOf.from[f][i].String(), p.bits)
			l.address(l.net, "lo", worldOf.to[f][i].String(), worldOf.to[f][i].BitLen())
		}
	}
	return l
}

// The kernel makes of packets what Classify says, by rules of every kind, those of the
// LAN and the gateway's own; the text for nft(8) means the same.
func TestKernelClassifiesAlike(t *testing.T) {
	const configs = 25
	l := rulesLab(t)
	rng := rand.New(rand.NewPCG(7, 8))
	// Packets from the second port have a mark of another program's.
	loadText(t, l.gw, "table inet theirs {\nchain c {\ntype filter hook prerouting priority mangle;\nudp sport 2001 meta mark set 1\n}\n}\n")
	for n := range configs {
		mapFrom(t, []int{leastMapped, 2, 2}[n%3])
		l.goal = ruledGoal(randomRules(rng, rng.IntN(30)))
		table := Ruleset(l.goal)
		if n%2 == 0 {
			l.apply()
		} else {
			loadText(t, l.gw, table.Replacement())
		}
		run(t, l.gw, "conntrack", "-F")
		sent := map[string]Packet{}
		for range 60 {
			p := randomPacket(rng)
			ns := l.client
			if rng.IntN(3) == 0 { // one of the gateway's own
				p.In, p.From, ns = "", netip.MustParseAddr([2]string{"203.0.113.2", "2001:db8:1::2"}[p.Family]), l.gw
			}
			if _, again := sent[tupleOf(p)]; again {
				continue
			}
			inside(t, ns, func() error {
				return send(netip.AddrPortFrom(p.From, p.FromPort), netip.AddrPortFrom(p.To, p.ToPort), int(p.DSCP)<<2)
			})
			if p.FromPort == 2001 && p.In != "" {
				p.Mark = 1
			}
			sent[tupleOf(p)] = p
		}
		var lanes map[string][2]lane.Lane
		until(t, "all entries", func() bool {
			lanes = l.lanesOf("-p", "udp")
			return len(lanes) >= len(sent)
		})
		for tuple, p := range sent {
			got := table.Classify(p)
			if lanes[tuple][1] != got.Policy {
				t.Fatalf("%+v has the lanes %v in the kernel, and is %+v of\n%s", p, lanes[tuple], got, table)
			}
		}
	}
}
