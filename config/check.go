package config

import (
	"fmt"
	mathbits "math/bits"

	"swerve/failover"
	"swerve/lane"
	"swerve/target"
)

// check applies the rules that involve more than one value. Values that could not
// be read have a problem already and are left out.
func (d *decoder) check(c *Config) {
	d.checkUplinks(c)
	d.checkQuorums(c)
	d.checkPolicies(c)
	d.checkRules(c)
	d.checkMasks(c.Kernel)
}

// checkUplinks finds names and interfaces that are used twice, and keys that
// contradict each other.
func (d *decoder) checkUplinks(c *Config) {
	names, interfaces, resolvers := map[string]int{}, map[string]int{}, map[string]int{}
	for i, u := range c.Uplinks {
		path := indexPath("uplinks", i)
		if u.SNAT == NoSNAT && len(u.SNATExcept) > 0 {
			d.wrongAt(keyPath(path, "snat_except"), "excepts addresses from masquerading, and snat: none masquerades none",
				"snat: masquerade, or no snat_except")
		}
		d.checkTranslations(u, path)
		for _, a := range u.DNS {
			if first, twice := firstUse(resolvers, a.String(), i); twice && first != i {
				d.wrongAt(keyPath(path, "dns"), fmt.Sprintf("%s is also a resolver of uplink %s", a, show(c.Uplinks[first].Name)),
					"each resolver at the one uplink that it is asked through")
			}
		}
		if first, twice := firstUse(names, u.Name, i); twice {
			d.wrongAt(keyPath(path, "name"), fmt.Sprintf("%s is also the name of uplinks[%d]", show(u.Name), first),
				"a unique name")
		}
		if first, twice := firstUse(interfaces, u.Interface, i); twice {
			d.wrongAt(keyPath(path, "interface"),
				fmt.Sprintf("%s is also the interface of uplink %s", show(u.Interface), show(c.Uplinks[first].Name)),
				"one uplink on each interface")
		}
	}
}

// firstUse records that a word is used at an index. It reports whether the word
// was used before, and the index of its first use. Empty words do not count.
func firstUse(seen map[string]int, word string, i int) (first int, twice bool) {
	if word == "" {
		return 0, false
	}
	if first, twice = seen[word]; !twice {
		seen[word] = i
	}
	return first, twice
}

// checkQuorums compares each quorum with the number of its targets: in the section
// for all uplinks, and in that of each uplink that overrides either of the two.
func (d *decoder) checkQuorums(c *Config) {
	d.checkQuorum("probe", c.Probe, failover.Families[:])
	for i, u := range c.Uplinks {
		own := keyPath(indexPath("uplinks", i), "probe")
		if d.given(keyPath(own, "quorum")) || d.given(keyPath(own, "targets")) {
			d.checkQuorum(own, u.Probe, u.families())
		}
	}
}

// checkQuorum checks one probe section. The problem is reported at the quorum, or,
// where the section does not give it, at the targets that are too few for it.
func (d *decoder) checkQuorum(path string, p Probe, families []failover.Family) {
	place := keyPath(path, "quorum")
	if !d.given(place) {
		place = keyPath(path, "targets")
	}
	for _, f := range families {
		if n := len(targetsIn(p.Targets, f)); n > 0 && p.Quorum > n {
			d.wrongAt(place, fmt.Sprintf("a quorum of %d exceeds the number of %s targets, %d", p.Quorum, familyName(f), n),
				fmt.Sprintf("a quorum of at most %d, or more targets", n))
			return
		}
	}
}

// families are the families that the uplink may carry.
func (u Uplink) families() []failover.Family {
	if u.IPv6 {
		return failover.Families[:]
	}
	return failover.Families[:1]
}

// targetsIn are the targets that can be probed in a family.
func targetsIn(list []target.Target, f failover.Family) []target.Target {
	var in []target.Target
	for _, t := range list {
		if t.In(f) {
			in = append(in, t)
		}
	}
	return in
}

// dampingRule checks the points of flap damping against one another.
func dampingRule(d *decoder, n node, h *failover.Health) {
	p := h.Damping
	switch {
	case p.Reuse >= p.Suppress:
		d.wrongAt(d.firstGiven(n.path, "reuse", "suppress"),
			fmt.Sprintf("reuse %g is not below suppress %g", p.Reuse, p.Suppress), "reuse below suppress")
	case p.Suppress > p.Max:
		d.wrongAt(d.firstGiven(n.path, "suppress", "max"),
			fmt.Sprintf("suppress %g is above max %g and is never reached", p.Suppress, p.Max), "a max of at least suppress")
	}
}

// firstGiven is the path of the first of the keys that the file has, or path itself
// if it has none of them.
func (d *decoder) firstGiven(path string, keys ...string) string {
	for _, k := range keys {
		if p := keyPath(path, k); d.given(p) {
			return p
		}
	}
	return path
}

// Bits of the masks: a lane has seven; a flow has two lanes and one bit more.
const (
	laneBits = 7
	flowBits = 2*laneBits + 1
)

// checkMasks checks that the masks can hold the lanes.
func (d *decoder) checkMasks(k Kernel) {
	const markPath, ctPath = "kernel.mark_mask", "kernel.ct_mask"
	if !contiguous(k.MarkMask, laneBits) {
		d.wrongAt(markPath, fmt.Sprintf("%#x cannot hold the lanes", k.MarkMask), "seven contiguous bits, such as 0x7f000000")
		return
	}
	upper := mathbits.TrailingZeros32(k.MarkMask)
	want := "the seven bits of mark_mask and the eight directly below them"
	if upper >= flowBits-laneBits {
		want += fmt.Sprintf(", %#x", uint32(1<<flowBits-1)<<(upper-(flowBits-laneBits)))
	}
	switch {
	case upper < flowBits-laneBits:
		d.wrongAt(markPath, fmt.Sprintf("%#x leaves no room below it in the conntrack mark", k.MarkMask),
			"seven contiguous bits with eight below them, 0x7f00 or higher")
	case !contiguous(k.CTMask, flowBits):
		d.wrongAt(ctPath, fmt.Sprintf("%#x cannot hold two lanes and a bit", k.CTMask), "fifteen contiguous bits: "+want)
	case k.CTMask&k.MarkMask != k.MarkMask || k.CTMask>>upper != k.MarkMask>>upper:
		d.wrongAt(d.firstGiven("kernel", "ct_mask", "mark_mask"),
			fmt.Sprintf("the upper seven bits of ct_mask %#x are not mark_mask %#x", k.CTMask, k.MarkMask), "a ct_mask of "+want)
	}
}

// contiguous reports whether a mask consists of n contiguous bits.
func contiguous(mask uint32, n int) bool {
	return mathbits.OnesCount32(mask) == n && mask>>mathbits.TrailingZeros32(mask) == 1<<n-1
}

// The highest first_priority: the 413 priorities after it have to come before the
// rules at 32764 and 32765 and the kernel's own at 32766.
const (
	prioritySpan     = lane.PrioritySpan
	maxFirstPriority = lane.MainAgainPriority - 1 - prioritySpan
)

// firstTable reads the base of our tables, which begin one above it. None of them
// may be one of the kernel's: default (253), main (254), local (255).
func firstTable(d *decoder, n node) (int, bool) {
	const (
		tableSpan  = int(lane.LastPolicy)
		firstFixed = 253
		lastFixed  = 255
	)
	v, ok := integer(0, 1<<31-1-tableSpan)(d, n)
	if ok && v+tableSpan >= firstFixed && v < lastFixed {
		d.wrong(n, fmt.Sprintf("%d would take the tables %d to %d, and %d to %d are the kernel's", v, v+1, v+tableSpan, firstFixed, lastFixed),
			fmt.Sprintf("at most %d or at least %d", firstFixed-tableSpan-1, lastFixed))
		return 0, false
	}
	return v, ok
}
