package routing

import (
	"cmp"
	"net/netip"
	"slices"

	"swerve/failover"
	"swerve/lane"
)

// A default route of IPv6 may be for one source (default from 2001:db8:1::/56 via …):
// routers with several delegated prefixes have one for each, so that packets leave by
// the provider whose addresses they have. In main the kernel prefers such a route
// to all defaults for any source, whatever the metrics, so it decides for its
// source before Swerve starts. It goes on to do so for the default policy: a rule
// just before that policy's leads packets with that source to main. The rule is
// absent while main's route uses an uplink that new flows avoid: they take the
// ladder, and are masqueraded where their source is foreign.
//
// A default route of IPv4 may be for one type of service (default tos 0x10 via …).
// It is treated in the same way.

// part is the packets that a default route is for: those of a source, or with a
// TOS.
type part struct {
	src netip.Prefix
	tos uint8
}

// rule returns a rule for the part, by which a table is looked up.
func (p part) rule(f failover.Family, priority, table int) Rule {
	r := Rule{From: p.src, Table: table, Suppress: -1}
	if p.tos != 0 {
		head := make([]byte, selectorHead)
		head[0] = p.tos
		r.Selector = Selector(head)
	}
	return rule(f, priority, r)
}

// MaxSources bounds the sources and TOS values that have a rule.
const MaxSources = 64

// sourced returns the best default route in main for each source or TOS value, in the
// order of these.
func (g Goal) sourced(f failover.Family) []Route {
	best := make(map[part]Route)
	for _, r := range g.Foreign {
		if r.Family != f || r.Table != MainTable || r.Dst != anywhere(f) || r.Protocol == lane.Protocol || r.Type == throw {
			continue
		}
		p := part{r.Src, r.TOS}
		if b, ok := best[p]; p != (part{}) && (!ok || r.Metric < b.Metric) {
			best[p] = r
		}
	}
	out := make([]Route, 0, len(best))
	for _, r := range best {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Route) int {
		return cmp.Or(a.Src.Addr().Compare(b.Src.Addr()), cmp.Compare(a.Src.Bits(), b.Src.Bits()), cmp.Compare(a.TOS, b.TOS))
	})
	return out
}

// stays reports whether main decides about a route's packets.
func (g Goal) stays(f failover.Family, r Route) bool {
	if !g.onUplink(r) {
		return g.KeepForeign
	}
	return !slices.ContainsFunc(r.Hops, func(h Hop) bool {
		return slices.Contains(g.Unused, h.Index) || slices.ContainsFunc(g.Uplinks, func(u Uplink) bool {
			return u.Index == h.Index && (u.Family[f].Lost || u.Family[f].Avoided)
		})
	})
}

// sourceRules lead the packets that main decides about to main. A source inside of one
// of these about which main does not decide is led to the ladder before.
func (g Goal) sourceRules(f failover.Family) []Rule {
	var out []Rule
	var left []netip.Prefix
	for _, r := range g.sourced(f) {
		switch {
		case !g.stays(f, r):
			left = append(left, r.Src)
		case len(out) < MaxSources:
			out = append(out, part{r.Src, r.TOS}.rule(f, g.mainAgain(f), MainTable))
		}
	}
	for _, p := range left {
		inside := slices.ContainsFunc(out, func(r Rule) bool {
			return r.Table == MainTable && r.From.IsValid() && r.From.Bits() < p.Bits() && r.From.Contains(p.Addr())
		})
		if inside && len(out) < 2*MaxSources {
			out = append(out, part{src: p}.rule(f, g.mainAgain(f), g.Layout.Table(lane.DefaultPolicy)))
		}
	}
	return out
}

// formerRules lead what has the address of a former uplink to main, where that leads to its
// device: nobody else would carry it.
func formerRules(g Goal, f failover.Family) []Rule {
	best, ok := g.bestMain(f)
	var out []Rule
	for _, a := range g.Former {
		there := ok && slices.ContainsFunc(best.Hops, func(h Hop) bool { return h.Index == a.Index })
		if there && failover.FamilyOf(a.Address) == f && len(best.Hops) == 1 {
			from := netip.PrefixFrom(a.Address, a.Address.BitLen())
			out = append(out, part{src: from}.rule(f, g.mainAgain(f), MainTable))
		}
	}
	return out
}

// ForeignSources returns the default routes for a source or a TOS value, by none of our
// uplinks, that stay in force for the default policy.
func (g Goal) ForeignSources(f failover.Family) []Route {
	return slices.DeleteFunc(g.sourced(f), func(r Route) bool { return g.onUplink(r) || !g.stays(f, r) })
}

// TooManySources reports whether main has default routes for more sources and TOS values
// than have a rule.
func (g Goal) TooManySources(f failover.Family) bool { return len(g.sourced(f)) > MaxSources }
