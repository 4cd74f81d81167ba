package rule

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// packet has the fields that a match compares.
type packet struct {
	from, to netip.Addr
	in       string
	proto    uint8
	port     uint16
	dscp     uint8
	mark     uint32
}

// matches applies the match to a packet, in the simplest possible way.
func (r Match) matches(p packet) bool {
	in := func(list []netip.Prefix, a netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(x netip.Prefix) bool { return x.Contains(a) })
	}
	return in(r.From, p.from) && in(r.To, p.to) &&
		(len(r.In) == 0 || slices.Contains(r.In, p.in)) &&
		(r.Proto == 0 || r.Proto == p.proto) &&
		(len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(x PortRange) bool { return x.First <= p.port && p.port <= x.Last })) &&
		(!r.HasDSCP || r.DSCP == p.dscp) && p.mark&r.Mark.Mask == r.Mark.Value
}

// The values of the property test, small enough that all packets can be listed.
var (
	worldAddrs = []string{"10.0.0.1", "10.0.0.129", "10.0.1.1", "192.0.2.1", "2001:db8::1", "2001:db8:0:1::1", "fd00::1"}
	worldNets  = []string{
		"0.0.0.0/0", "10.0.0.0/23", "10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/24", "192.0.2.0/24",
		"::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8:0:1::/64", "fd00::/8",
	}
	worldPorts  = []uint16{1, 2, 3, 4}
	worldProtos = []uint8{ICMP, 6, 17, ICMPv6}
)

// TestCovers checks Covers on random pairs of matches with all packets of a small
// set: if one rule covers another, no packet matches only the second. And it detects
// enough: a rule covers every copy of itself with restrictions added.
func TestCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	packets := world()
	covered := 0
	for range 20_000 {
		a, b := randomRule(rng), randomRule(rng)
		if rng.IntN(2) == 0 {
			b = narrower(rng, a)
			if !NewCover(a).Covers(NewCover(b)) {
				t.Fatalf("%+v does not cover the narrower %+v", a, b)
			}
		}
		if !NewCover(a).Covers(NewCover(b)) {
			continue
		}
		covered++
		for _, p := range packets {
			if b.matches(p) && !a.matches(p) {
				t.Fatalf("%+v is said to cover %+v, yet %+v matches only the second", a, b, p)
			}
		}
	}
	if covered < 10_000 {
		t.Errorf("only %d pairs covered", covered)
	}
}

// world returns packets of both families, none with a protocol of the other family.
func world() []packet {
	var list []packet
	for _, from := range worldAddrs {
		for _, to := range worldAddrs {
			f, d := netip.MustParseAddr(from), netip.MustParseAddr(to)
			for i := range 64 {
				p := packet{
					from: f, to: d, in: []string{"a", "b"}[i%2], proto: worldProtos[i/2%4], port: worldPorts[i/8%4],
					dscp: uint8(i / 32), mark: uint32(i * 7 % 4),
				}
				foreign := map[bool]uint8{true: ICMPv6, false: ICMP}[f.Is4()]
				if f.BitLen() == d.BitLen() && p.proto != foreign {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

func randomRule(rng *rand.Rand) Match {
	var r Match
	nets := func() []netip.Prefix {
		var list []netip.Prefix
		for range rng.IntN(4) {
			list = append(list, netip.MustParsePrefix(worldNets[rng.IntN(len(worldNets))]))
		}
		return list
	}
	r.From, r.To = nets(), nets()
	if rng.IntN(2) == 0 {
		r.In = [][]string{{"a"}, {"b"}, {"a", "b"}}[rng.IntN(3)]
	}
	if rng.IntN(2) == 0 {
		r.Proto = worldProtos[rng.IntN(len(worldProtos))]
	}
	if r.Proto == 6 || r.Proto == 17 {
		r.Ports = [][]PortRange{nil, {{1, 2}}, {{2, 4}}, {{1, 1}, {3, 4}}}[rng.IntN(4)]
	}
	if rng.IntN(4) == 0 {
		r.HasDSCP, r.DSCP = true, uint8(rng.IntN(2))
	}
	if rng.IntN(3) == 0 {
		r.Mark = []Mark{{1, 1}, {2, 3}, {0, 2}}[rng.IntN(3)]
	}
	return r
}

// narrower copies a rule and restricts it further.
func narrower(rng *rand.Rand, r Match) Match {
	switch rng.IntN(4) {
	case 0:
		if len(r.From) > 1 {
			r.From = r.From[1:]
		} else if len(r.From) == 0 {
			r.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/25")}
		}
	case 1:
		if len(r.In) == 0 {
			r.In = []string{"a"}
		}
	case 2:
		if !r.HasDSCP {
			r.HasDSCP, r.DSCP = true, 1
		}
	case 3:
		r.Mark = Mark{r.Mark.Value, r.Mark.Mask | 8}
	}
	return r
}
