package rule

import (
	"math/bits"
	"net/netip"
	"slices"

	"swerve/failover"
)

// Index holds covers in the order in which they were added, and finds the first that
// covers another one without comparing it with all. The zero Index is empty.
//
// Each cover is filed under a key of what every match below it must have: the prefixes,
// ports, interface and so on that it asks for. Which of these a key has is its shape.
// A match has one key in each shape, so a search looks once into each shape, of which
// rules written by people have few, and compares with what it finds there.
type Index struct {
	covers []Cover
	shapes map[shape]map[key][]int
	// compared counts comparisons of two covers.
	compared int
}

// Bounds of an index. Beyond them covers are filed under coarser keys, down to the
// empty one, which is compared with everything.
const (
	maxShapes = 256
	maxKeys   = 16 // of one cover
)

// shape says which fields a key has. from, to and port are lengths of prefixes in
// bits, -1 for none.
type shape struct {
	proto, dscp, in bool
	mask            uint32
	port            int
	from, to        side
}

// side is the shape of a source or destination.
type side struct {
	bits int
	is6  bool
}

var noSide = side{bits: -1}

// key is what a cover asks for, as far as its shape has it.
type key struct {
	proto, dscp uint8
	in          string
	mark        uint32
	port        uint16
	from, to    netip.Prefix
}

// Add appends a cover.
func (x *Index) Add(c Cover) {
	if x.shapes == nil {
		x.shapes = map[shape]map[key][]int{}
	}
	n := len(x.covers)
	x.covers = append(x.covers, c)
	for _, f := range filings(c.match) {
		filed := x.shapes[f.shape]
		if filed == nil && len(x.shapes) >= maxShapes {
			f = filing{shape: coarsest}
			filed = x.shapes[f.shape]
		}
		if filed == nil {
			filed = map[key][]int{}
			x.shapes[f.shape] = filed
		}
		filed[f.key] = append(filed[f.key], n)
	}
}

// First returns the number, from 0, of the first cover that covers c.
func (x *Index) First(c Cover) (int, bool) {
	if len(c.from) == 0 || len(c.to) == 0 { // it matches nothing: anything may cover it
		n := slices.IndexFunc(x.covers, func(a Cover) bool { return a.Covers(c) })
		return max(n, 0), n >= 0
	}
	best := len(x.covers)
	for s, filed := range x.shapes {
		k, ok := s.keyOf(c)
		if !ok {
			continue
		}
		for _, n := range filed[k] { // ascending
			if n >= best {
				break
			}
			x.compared++
			if x.covers[n].Covers(c) {
				best = n
			}
		}
	}
	if best == len(x.covers) {
		return 0, false
	}
	return best, true
}

// coarsest has no field.
var coarsest = shape{port: -1, from: noSide, to: noSide}

// keyOf returns the key under which a cover of this shape is filed that covers c;
// false where none can.
func (s shape) keyOf(c Cover) (k key, ok bool) {
	m := c.match
	if s.proto && m.Proto == 0 || s.dscp && !m.HasDSCP || s.in && len(m.In) == 0 ||
		s.mask&^m.Mark.Mask != 0 || s.port >= 0 && len(m.Ports) == 0 {
		return k, false
	}
	if s.proto {
		k.proto = m.Proto
	}
	if s.dscp {
		k.dscp = m.DSCP
	}
	if s.in {
		k.in = m.In[0]
	}
	k.mark = m.Mark.Value & s.mask
	if s.port >= 0 {
		k.port = m.Ports[0].First &^ (1<<(16-s.port) - 1)
	}
	var okFrom, okTo bool
	k.from, okFrom = s.from.of(c.from[0].first)
	k.to, okTo = s.to.of(c.to[0].first)
	return k, okFrom && okTo
}

// of returns the prefix of an address that the side asks for.
func (s side) of(a netip.Addr) (netip.Prefix, bool) {
	if s.bits < 0 {
		return netip.Prefix{}, true
	}
	if a.Is6() != s.is6 {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(s.bits)
	return p, err == nil
}

// filing is a place in an index.
type filing struct {
	shape shape
	key   key
}

// filings are the places of a match. Where it has lists, a match below it has any one
// of their items, so that there is a place for each.
func filings(m Match) []filing {
	f := filing{shape: coarsest}
	if m.Proto != 0 {
		f.shape.proto, f.key.proto = true, m.Proto
	}
	if m.HasDSCP {
		f.shape.dscp, f.key.dscp = true, m.DSCP
	}
	f.shape.mask, f.key.mark = m.Mark.Mask, m.Mark.Value
	all := []filing{f}
	ports := portPrefixes(m.Ports)
	// The fewer items a list has the sooner it is used: what is beyond the bound is
	// not needed for finding, only for finding faster.
	type list struct {
		items int
		set   func(f *filing, i int)
	}
	lists := []list{
		{len(m.In), func(f *filing, i int) { f.shape.in, f.key.in = true, m.In[i] }},
		{len(ports), func(f *filing, i int) { f.shape.port, f.key.port = ports[i].bits, ports[i].first }},
		{len(m.From), func(f *filing, i int) { f.shape.from, f.key.from = sideOf(m.From[i]), m.From[i] }},
		{len(m.To), func(f *filing, i int) { f.shape.to, f.key.to = sideOf(m.To[i]), m.To[i] }},
	}
	slices.SortStableFunc(lists, func(a, b list) int { return a.items - b.items })
	for _, l := range lists {
		if l.items == 0 || len(all)*l.items > maxKeys {
			continue
		}
		if l.items == 1 {
			for i := range all {
				l.set(&all[i], 0)
			}
			continue
		}
		var next []filing
		for _, f := range all {
			for i := range l.items {
				l.set(&f, i)
				next = append(next, f)
			}
		}
		all = next
	}
	return distinct(all)
}

// distinct removes repetitions, which lists may have.
func distinct(all []filing) []filing {
	if len(all) == 1 {
		return all
	}
	seen := map[filing]bool{}
	return slices.DeleteFunc(all, func(f filing) bool {
		before := seen[f]
		seen[f] = true
		return before
	})
}

func sideOf(p netip.Prefix) side {
	return side{bits: p.Bits(), is6: failover.FamilyOf(p.Addr()) == failover.IPv6}
}

// portPrefix is a range of ports with a common prefix of so many bits.
type portPrefix struct {
	first uint16
	bits  int
}

// portPrefixes splits ranges into prefixes.
func portPrefixes(ranges []PortRange) []portPrefix {
	var out []portPrefix
	for _, r := range ranges {
		for first, last := uint32(r.First), uint32(r.Last); first <= last; {
			size := 16
			if first != 0 {
				size = bits.TrailingZeros32(first)
			}
			for first+1<<size-1 > last {
				size--
			}
			out = append(out, portPrefix{uint16(first), 16 - size})
			first += 1 << size
		}
	}
	return out
}
