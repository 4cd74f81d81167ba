package rule

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// The index finds exactly what comparing with all in turn finds.
func TestIndexFindsTheFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	found := 0
	for range 300 {
		var x Index
		var all []Cover
		for range 60 {
			m := randomRule(rng)
			if rng.IntN(3) == 0 && len(all) > 0 {
				m = narrower(rng, all[rng.IntN(len(all))].match)
			}
			c := NewCover(m)
			want := slices.IndexFunc(all, func(b Cover) bool { return b.Covers(c) })
			n, ok := x.First(c)
			if ok != (want >= 0) || ok && n != want {
				t.Fatalf("%+v is covered by %d, %t; want %d of\n%+v", m, n, ok, want, all)
			}
			if ok {
				found++
			}
			if !ok || rng.IntN(2) == 0 {
				all = append(all, c)
				x.Add(c)
			}
		}
	}
	if found < 3000 {
		t.Errorf("only %d were covered", found)
	}
}

// Ten thousand rules as people and scripts write them are compared a few times each,
// not with all others.
func TestIndexIsNearLinear(t *testing.T) {
	const n = 10_000
	addr := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	for name, nth := range map[string]func(i int) Match{
		"sources":      func(i int) Match { return Match{From: []netip.Prefix{addr(i)}} },
		"destinations": func(i int) Match { return Match{To: []netip.Prefix{addr(i)}} },
		"one side the same": func(i int) Match {
			return Match{From: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}, To: []netip.Prefix{addr(i)}}
		},
		"ports":  func(i int) Match { return Match{Proto: 6, Ports: []PortRange{{uint16(i + 1), uint16(i + 1)}}} },
		"ranges": func(i int) Match { return Match{Proto: 6, Ports: []PortRange{{uint16(5*i + 1), uint16(5*i + 4)}}} },
		"in":     func(i int) Match { return Match{In: []string{fmt.Sprintf("vlan%d", i)}} },
		"marks":  func(i int) Match { return Match{Mark: Mark{uint32(i), 0xffff}} },
		"lists": func(i int) Match {
			return Match{To: []netip.Prefix{addr(2 * i), addr(2*i + 1)}, In: []string{"lan0", "lan1"}, Proto: 17}
		},
		"mixed": func(i int) Match {
			p := addr(i)
			switch i % 3 {
			case 0:
				return Match{From: []netip.Prefix{p}, Proto: 6, Ports: []PortRange{{443, 443}}}
			case 1:
				return Match{To: []netip.Prefix{p}, HasDSCP: true, DSCP: 46}
			}
			return Match{From: []netip.Prefix{netip.PrefixFrom(p.Addr(), 31).Masked()}, Proto: 17}
		},
	} {
		var x Index
		for i := range n {
			c := NewCover(nth(i))
			x.First(c)
			x.Add(c)
		}
		if x.compared > 4*n {
			t.Errorf("%s: %d comparisons", name, x.compared)
		}
	}
}
