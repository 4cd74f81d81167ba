package routing

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// OtherRule is a routing rule of another program, wherever it stands. It says which
// numbers the program uses that may be ours as well.
type OtherRule struct {
	Family   failover.Family
	Priority uint32
	// Mark and Mask match packets whose mark under Mask is Mark; a Mask of 0 matches
	// all. Inverted: the rule is for what does not match.
	Mark, Mask uint32
	Inverted   bool
	// Table that is looked up, with Suppress as in [Rule]; 0 for another action. Goto
	// is the priority of the rule with which the lookup goes on; 0 for none.
	Table, Suppress int
	Goto            uint32
	// All: the rule is for all packets, or, where it is inverted, for all but those with
	// its mark: a VPN's, whose own packets have that.
	All bool
	// text is the rule in the syntax of ip(8), without its priority.
	text string
}

// String returns the rule as ip(8) lists it, with its priority.
func (r OtherRule) String() string { return fmt.Sprintf("%d: %s", r.Priority, r.text) }

// OtherRules returns the rules of other programs but the kernel's own, in the kernel's
// order.
func (k *Netlink) OtherRules() ([]OtherRule, error) {
	return rulesBy(k, func(b []byte, f failover.Family) (OtherRule, bool, error) {
		r, ok, err := decodeOtherRule(b)
		return r, ok && r.Family == f, err
	})
}

// Proxied reports whether a rule of another program selects IPv4 packets by their mark
// and looks up a table that delivers them to this machine, whatever their destination:
// that is how packets reach a transparent proxy. rules are those of [Netlink.OtherRules].
func (k *Netlink) Proxied(rules []OtherRule) (bool, error) {
	marked := slices.DeleteFunc(slices.Clone(rules), func(r OtherRule) bool {
		return r.Family != failover.IPv4 || r.Mask == 0 || r.Table == 0 || r.Table == unix.RT_TABLE_LOCAL
	})
	if len(marked) == 0 {
		return false, nil // and nothing has to be read
	}
	req := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Type: unix.RTN_LOCAL}}
	routes, err := k.someRoutes(failover.IPv4, req, func(r Route) bool {
		return r.Type == unix.RTN_LOCAL && slices.ContainsFunc(marked, func(m OtherRule) bool { return m.Table == r.Table })
	})
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.ENOENT) {
		return false, fmt.Errorf("routing: read the routes that deliver to this machine: %w", err)
	}
	return len(routes) > 0, nil
}

// rulesBy returns what decode makes of the rules that the kernel lists, by family and
// in the kernel's order; it is false for those that are left out.
func rulesBy[T any](k *Netlink, decode func([]byte, failover.Family) (T, bool, error)) (out []T, err error) {
	for _, f := range failover.Families {
		var some []T
		req := &nl.RtMsg{RtMsg: unix.RtMsg{Family: afOf(f)}}
		err := k.dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, req, func() { some = nil }, func(b []byte) error {
			r, ok, err := decode(b, f)
			if ok {
				some = append(some, r)
			}
			return err
		})
		if err != nil && err != unix.EAFNOSUPPORT {
			return nil, fmt.Errorf("routing: read the %s rules of others: %w", f, err)
		}
		out = append(out, some...)
	}
	return out, nil
}

// decodeOtherRule reads an RTM_NEWRULE of another program. ok is false for ours and
// for those that the kernel makes itself.
func decodeOtherRule(b []byte) (r OtherRule, ok bool, err error) {
	d, known, err := openRule(b)
	if err != nil || !known {
		return OtherRule{}, false, err
	}
	selector, err := selectorOf(b)
	if err != nil || d.protocol == lane.Protocol || d.protocol == unix.RTPROT_KERNEL {
		return OtherRule{}, false, err
	}
	r = OtherRule{
		Family: d.rule.Family, Priority: d.rule.Priority, Suppress: d.rule.Suppress, Inverted: selector.inverted(),
		All: selector.matchesAll(),
	}
	r.Mark, r.Mask = selector.mark()
	text := []string{strings.TrimSpace("from all" + selector.String())}
	if strings.Contains(text[0], " from ") {
		text[0] = strings.TrimPrefix(text[0], "from all ")
	}
	switch {
	case d.header.kind == nl.FR_ACT_TO_TBL:
		r.Table = d.rule.Table
		text = append(text, "lookup "+tableName(r.Table))
		if r.Suppress >= 0 {
			text = append(text, fmt.Sprintf("suppress_prefixlength %d", r.Suppress))
		}
	case d.header.kind == nl.FR_ACT_GOTO:
		r.Goto = d.rule.Goto
		text = append(text, fmt.Sprintf("goto %d", d.rule.Goto))
	}
	r.text = strings.Join(text, " ")
	return r, true, nil
}

// MeetsMarks reports whether the rule is for packets that have bits of ours set.
func (r OtherRule) MeetsMarks(l lane.Layout) bool { return r.Mark&r.Mask&l.MarkMask != 0 }

// MeetsConnectionMarks reports whether the rule is for packets that have bits set which
// are ours in the marks of connections, though not in those of packets, and sends them by
// a table of its own: who does that often keeps the mark with the connection.
func (r OtherRule) MeetsConnectionMarks(l lane.Layout) bool {
	own := r.Table != 0 && r.Table != MainTable && r.Table != unix.RT_TABLE_DEFAULT
	return own && !r.MeetsMarks(l) && r.Mark&r.Mask&(l.CTMask|l.CTEstablished()) != 0
}

// TakesLane reports whether the rule may be used for packets of ours with a lane: it
// is met before ours, and what it says of our bits is true of the lane.
func (r OtherRule) TakesLane(l lane.Layout, n lane.Lane) bool {
	return r.MeetsMarks(l) && !r.Inverted && r.Priority <= uint32(l.MarkPriority(n)) && (r.Mark^l.Mark(n))&r.Mask&l.MarkMask == 0
}

// SparesLane reports whether an inverted rule may leave out packets of ours with a lane:
// what it says of our bits is true of the lane.
func (r OtherRule) SparesLane(l lane.Layout, n lane.Lane) bool {
	return r.Inverted && r.MeetsMarks(l) && (r.Mark^l.Mark(n))&r.Mask&l.MarkMask == 0
}

// LosesTo reports whether a rule of ours for a lane is used in place of this one.
func (r OtherRule) LosesTo(l lane.Layout, n lane.Lane) bool {
	return r.MeetsMarks(l) && !r.Inverted && r.Priority > uint32(l.MarkPriority(n)) && r.Mark&l.MarkMask == l.Mark(n)
}

// Preempts reports whether the rule is for all packets, or for all but those with its
// mark, and decides about them before rules of ours do: it looks up main, or another table with a default route, or leads
// past ours. foreign are the default routes of others.
func (r OtherRule) Preempts(l lane.Layout, foreign []Route) bool {
	last := uint32(l.FirstPriority + lane.PrioritySpan)
	switch {
	case !r.All || r.Priority > last:
		return false
	case r.Goto != 0 || r.Table == 0 || r.Suppress >= 0:
		return r.Goto > last
	case r.Table == MainTable:
		return true
	}
	return r.leads(foreign)
}

// Outranks reports whether the rule is for all packets, or for all but those with its
// mark, and leads them by a default route in a table of its own after our rules for marks
// and before our last one: what has no mark of ours goes by it.
func (r OtherRule) Outranks(l lane.Layout, foreign []Route) bool {
	return r.All && r.Priority > uint32(l.FirstPriority+lane.PrioritySpan) && r.Priority <= lane.LastResortPriority &&
		r.Table != MainTable && r.Suppress < 0 && r.leads(foreign)
}

// ExemptMark returns the mark, compared as a whole, without which packets are led
// elsewhere before our rules for marks: with a lane beside it a packet would have it no
// more.
func (r OtherRule) ExemptMark(l lane.Layout) (mark, mask uint32, ok bool) {
	ok = r.Inverted && r.Priority <= uint32(l.MarkPriority(lane.LastPolicy)) && r.Mask&l.MarkMask != 0 && r.Mark&l.MarkMask == 0 && r.Mark&r.Mask != 0
	return r.Mark & r.Mask, r.Mask, ok
}

// leads reports whether the table that the rule looks up has a default route.
func (r OtherRule) leads(foreign []Route) bool {
	for _, d := range foreign {
		if d.Family == r.Family && d.Table == r.Table && d.Dst == anywhere(r.Family) && d.Type != throw {
			return true
		}
	}
	return false
}

// UsesTable reports whether the rule looks up a table that is ours.
func (r OtherRule) UsesTable(l lane.Layout) bool { return r.Table != 0 && l.LaneOf(r.Table) != 0 }

// MarkBits returns the bits of a mark that the rule looks at: those of its mask, or of
// its mark if that is compared as a whole, as is usual for who thinks of no mask.
func (r OtherRule) MarkBits() uint32 {
	if bits.OnesCount32(r.Mask) == 32 {
		return r.Mark
	}
	return r.Mask
}

// FreeTables returns a first_table of which none of the rules uses a table.
func FreeTables(rules []OtherRule) int {
	for first := 5300; ; first += 1000 {
		l := lane.Layout{FirstTable: first}
		free := true
		for _, r := range rules {
			free = free && !r.UsesTable(l)
		}
		if free {
			return first
		}
	}
}
