package rule

import (
	"net/netip"
	"slices"

	"swerve/failover"
)

// Cover is a match in a form that can be compared with others: the addresses of each
// side are ranges, also where the match does not restrict them, and only of families
// that the match can apply to.
type Cover struct {
	match    Match
	from, to []addrRange
}

// addrRange is a range of addresses of one family, both ends included.
type addrRange struct{ first, last netip.Addr }

// everything has all addresses of each family.
var everything = [2]netip.Prefix{
	failover.IPv4: netip.MustParsePrefix("0.0.0.0/0"),
	failover.IPv6: netip.MustParsePrefix("::/0"),
}

// NewCover prepares a match for comparison.
func NewCover(m Match) Cover {
	families := m.Families()
	return Cover{match: m, from: ranges(m.From, families), to: ranges(m.To, families)}
}

// ranges converts prefixes to sorted ranges that neither overlap nor touch.
func ranges(list []netip.Prefix, families [2]bool) []addrRange {
	if len(list) == 0 {
		list = everything[:]
	}
	var all []addrRange
	for _, p := range list {
		if families[failover.FamilyOf(p.Addr())] {
			all = append(all, addrRange{p.Addr(), lastOf(p)})
		}
	}
	slices.SortFunc(all, func(a, b addrRange) int { return a.first.Compare(b.first) })
	merged := all[:0]
	for _, r := range all {
		if n := len(merged); n > 0 && joins(merged[n-1], r) {
			if merged[n-1].last.Less(r.last) {
				merged[n-1].last = r.last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// joins reports whether b overlaps or touches a, before which it must not begin.
func joins(a, b addrRange) bool {
	return a.last.BitLen() == b.first.BitLen() && (!a.last.Less(b.first) || a.last.Next() == b.first)
}

// lastOf returns the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// Covers reports whether c matches every packet that o matches.
func (c Cover) Covers(o Cover) bool {
	a, b := c.match, o.match
	return (a.Proto == 0 || a.Proto == b.Proto) &&
		(!a.HasDSCP || b.HasDSCP && a.DSCP == b.DSCP) &&
		a.Mark.Mask&^b.Mark.Mask == 0 && b.Mark.Value&a.Mark.Mask == a.Mark.Value &&
		(len(a.In) == 0 || len(b.In) > 0 && !slices.ContainsFunc(b.In, func(s string) bool { return !slices.Contains(a.In, s) })) &&
		(len(a.Ports) == 0 || coversPorts(a.Ports, b.Ports)) &&
		coversRanges(c.from, o.from) && coversRanges(c.to, o.to)
}

// coversPorts reports whether b is restricted to ports, all of which are in a.
func coversPorts(a, b []PortRange) bool {
	for _, r := range b {
		in := func(w PortRange) bool { return w.First <= r.First && r.Last <= w.Last }
		if !slices.ContainsFunc(a, in) {
			return false
		}
	}
	return len(b) > 0
}

// coversRanges reports whether every range of b lies within one of a.
func coversRanges(a, b []addrRange) bool {
	for _, r := range b {
		i, exact := slices.BinarySearchFunc(a, r, func(x, y addrRange) int { return x.first.Compare(y.first) })
		if !exact {
			i--
		}
		if i < 0 || a[i].last.Less(r.last) || a[i].last.BitLen() != r.last.BitLen() {
			return false
		}
	}
	return true
}
