package routing

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"swerve/failover"
	"swerve/lane"
)

// Rule is one routing rule.
type Rule struct {
	Family   failover.Family
	Priority uint32
	// From is the source that the rule matches; invalid for any.
	From netip.Prefix
	// Mark and Mask match packets whose mark under Mask is Mark. A Mask of 0 matches
	// all; Mark 0 under a full mask matches packets without any mark.
	Mark, Mask uint32
	// OIF is the device that a socket is bound to; empty for any. It need not exist.
	OIF string
	// Selector, unless empty, is what the rule matches instead of the above.
	Selector Selector
	// Table is the table to look up; 0 if Unreachable, or with a Goto.
	Table int
	// Suppress discards a result of the table whose prefix has this length or a
	// shorter one; -1 for none.
	Suppress int
	// SuppressGroup discards routes by interfaces of a group as well: it is the group's
	// number plus 1; 0 for none.
	SuppressGroup uint32
	// Unreachable ends the lookup without a route.
	Unreachable bool
	// Goto is the priority of the rule with which the lookup goes on; 0 for none.
	Goto uint32
	// Other: the kernel's rule has a part that ours never have. It is never
	// wanted.
	Other bool
}

// fullMask covers the whole packet mark.
const fullMask = 0xffffffff

func compareRules(a, b Rule) int {
	if c := cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority)); c != 0 {
		return c // as almost always
	}
	return cmp.Or(
		cmp.Compare(a.rank(), b.rank()),
		a.From.Addr().Compare(b.From.Addr()),
		cmp.Compare(a.From.Bits(), b.From.Bits()),
		cmp.Compare(a.Mark, b.Mark),
		cmp.Compare(a.Mask, b.Mask),
		cmp.Compare(a.OIF, b.OIF),
		cmp.Compare(a.Selector, b.Selector),
		cmp.Compare(a.Goto, b.Goto),
		cmp.Compare(a.Table, b.Table),
		cmp.Compare(a.Suppress, b.Suppress),
		cmp.Compare(a.SuppressGroup, b.SuppressGroup),
		compareBools(a.Unreachable, b.Unreachable),
		compareBools(a.Other, b.Other),
	)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// String returns the rule in the syntax of ip(8), as after "ip rule add".
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pref %d", r.Priority)
	if r.From.IsValid() {
		from := r.From.String()
		if r.From.IsSingleIP() {
			from = r.From.Addr().String()
		}
		b.WriteString(" from " + from)
	}
	b.WriteString(markText(r.Mark, r.Mask))
	if r.OIF != "" {
		b.WriteString(" oif " + shellWord(r.OIF))
	}
	b.WriteString(r.Selector.String())
	if r.Table != 0 {
		b.WriteString(" lookup " + tableName(r.Table))
	}
	if r.Suppress >= 0 {
		fmt.Fprintf(&b, " suppress_prefixlength %d", r.Suppress)
	}
	if r.SuppressGroup != 0 {
		fmt.Fprintf(&b, " suppress_ifgroup %d", r.SuppressGroup-1)
	}
	fmt.Fprintf(&b, " protocol %d", lane.Protocol)
	if r.Unreachable {
		b.WriteString(" unreachable")
	}
	if r.Goto != 0 {
		fmt.Fprintf(&b, " goto %d", r.Goto)
	}
	return b.String()
}

// markText returns the words for a mark under a mask, with a leading space; empty for
// a mask of 0.
func markText(mark, mask uint32) string {
	switch {
	case mask == 0:
		return ""
	case mark == 0:
		return fmt.Sprintf(" fwmark 0/%#08x", mask)
	}
	return fmt.Sprintf(" fwmark 0x%08x/0x%08x", mark, mask)
}
