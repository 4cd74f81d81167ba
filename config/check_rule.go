package config

import (
	"fmt"
	"net/netip"
	"slices"
	"swerve/rule"
)

// checkRules checks which policy each rule uses, and reports rules that can never
// match: by themselves, or because a single rule before them matches all that they
// do. A rule that only several earlier rules cover together is not reported.
func (d *decoder) checkRules(c *Config) {
	policies := policyNames(c)
	var before covers
	bySet := map[string]*covers{} // of what is in a set nothing is known but that it is the same
	for i := range c.Rules {
		r, path := &c.Rules[i], indexPath("rules", i)
		if r.Use != "" && !slices.Contains(policies, r.Use) && !d.unsure["policies"] {
			what, right := "there is no policy "+show(r.Use), orMeant(r.Use, policies)
			if slices.ContainsFunc(c.Uplinks, func(u Uplink) bool { return u.Name == r.Use }) {
				what = show(r.Use) + " is an uplink, not a policy"
				right = fmt.Sprintf("the name of a policy (%s), such as one of your own with tiers: [%s]", or(policies), r.Use)
			}
			d.wrongAt(keyPath(path, "use"), what, right)
		}
		d.checkSet(c, path, *r)
		if d.badRules[i] || d.limitMark(path, r, c.Kernel.MarkMask) || d.contradicts(c, path, r) {
			continue
		}
		m := rule.NewCover(r.Match)
		line, covered := before.first(m)
		if same := bySet[r.Set]; !covered && same != nil {
			line, covered = same.first(m)
		}
		switch {
		case covered:
			d.wrongAt(path, fmt.Sprintf("can never match: the rule on line %d matches all of it", line),
				"the narrower rule first, or only one of the two")
		case r.Set == "":
			before.add(m, r.Line)
		default:
			if bySet[r.Set] == nil {
				bySet[r.Set] = new(covers)
			}
			bySet[r.Set].add(m, r.Line)
		}
	}
}

// covers are earlier rules, with their lines.
type covers struct {
	index rule.Index
	lines []int
}

func (c *covers) add(m rule.Cover, line int) {
	c.index.Add(m)
	c.lines = append(c.lines, line)
}

// first returns the line of the first that matches all that another one does.
func (c *covers) first(m rule.Cover) (line int, covered bool) {
	n, covered := c.index.First(m)
	if covered {
		line = c.lines[n]
	}
	return line, covered
}

func policyNames(c *Config) []string {
	names := []string{DefaultPolicy}
	for _, p := range c.Policies {
		if p.Name != "" && p.Name != DefaultPolicy {
			names = append(names, p.Name)
		}
	}
	return names
}

// limitMark removes the bits that are ours from a rule's mask: a new flow has none
// of them set. It reports whether the rule can therefore never match, in which
// case it adds the problem.
func (d *decoder) limitMark(path string, r *Rule, ours uint32) bool {
	if set := r.Mark.Value & ours; set != 0 {
		d.wrongAt(keyPath(path, "mark"),
			fmt.Sprintf("can never match: the bits %#x belong to kernel.mark_mask", set), fmt.Sprintf("bits outside %#x", ours))
		return true
	}
	r.Mark.Mask &^= ours
	return false
}

// contradicts reports whether a rule can never match by itself, in which case it
// adds the problem.
func (d *decoder) contradicts(c *Config, path string, r *Rule) bool {
	switch {
	case len(r.Ports) > 0 && r.Proto == 0:
		d.wrongAt(keyPath(path, "ports"), "ports need a protocol", "proto: tcp or proto: udp beside them")
	case len(r.Ports) > 0 && !rule.HasPorts(r.Proto):
		d.wrongAt(keyPath(path, "ports"), "can never match: this protocol has no ports", "proto: tcp or udp, or no ports")
	case len(r.From) > 0 && len(r.To) > 0 && !shareFamily(r.From, r.To):
		d.wrongAt(path, "can never match: from and to are of different families", "both IPv4 or both IPv6")
	case r.Families() == [2]bool{}:
		d.wrongAt(keyPath(path, "proto"), "can never match: the protocol and the addresses are of different families",
			"icmp with IPv4, icmpv6 with IPv6")
	case len(r.In) > 0 && !slices.ContainsFunc(r.In, func(s string) bool { return !hasInterface(c.Uplinks, s) }):
		d.wrongAt(keyPath(path, "in"), "can never match: traffic that enters by an uplink is answered by it",
			"an interface that is not an uplink's")
	default:
		return false
	}
	return true
}

func hasInterface(uplinks []Uplink, name string) bool {
	return slices.ContainsFunc(uplinks, func(u Uplink) bool { return u.Interface == name })
}

// shareFamily reports whether both lists have a prefix of one family.
func shareFamily(a, b []netip.Prefix) bool {
	x, y := rule.FamiliesOf(a), rule.FamiliesOf(b)
	return x[0] && y[0] || x[1] && y[1]
}
