package routing

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Rules of other programs with priorities between our first rule and the kernel's
// own rule for main would come after our first rule: the narrower routes of main
// would be used where such a rule was used before. So copies of them, with the
// priority of our first rule, precede it; [rank] tells the order.
//
// What looks up a table with a default route, or has another action, decides: the
// copy leads past our first rule, to our next one, and another past the rules for
// sources. A flow that has an uplink's lane is led there as well, since it began by
// that rule; one that has a policy's lane is not, since a policy of ours decides
// about it. What looks up a table without a default route is copied as it is.
//
// A mark without a mask, or with one that covers our bits as well, is no longer found
// on a packet that has a lane. The copies look at the other bits, or expect ours.

// Those copies and our rules for lanes go before the marks: as long as packets have lanes
// and the rules are missing, a rule of another program that looks at our bits as well
// takes what it did not take, or leaves what it took. Rules that lead what has no mark,
// by its source or at last all of it, follow the marks.

// ForeignRule is a routing rule of another program that is used after our first
// rule, and does not look up main.
type ForeignRule struct {
	Family   failover.Family
	Priority uint32
	// Table that is looked up; 0 for a rule that has another action.
	Table int
	// Suppress and SuppressGroup are as in [Rule].
	Suppress      int
	SuppressGroup uint32
	// Selector is what the rule matches.
	Selector Selector
}

// Selector is what a rule matches: the bits of the header that say so, then the
// attributes in the order of their numbers, as in a message of the kernel. The zero
// value is no selector.
type Selector string

// selectorHead is the length of a selector's header: TOS, inversion, and the lengths
// of destination and source.
const selectorHead = 4

// MaxForeignRules bounds the rules of others, in a family, that are led past ours.
const MaxForeignRules = 64

// unmatched are the attributes of a rule that do not say what it matches.
var unmatched = [...]uint16{
	nl.FRA_PRIORITY, nl.FRA_TABLE, nl.FRA_GOTO, nl.FRA_SUPPRESS_PREFIXLEN, nl.FRA_SUPPRESS_IFGROUP,
	nl.FRA_PROTOCOL, nl.FRA_FLOW, fraPad,
}

const (
	fraPad  = 18 // FRA_PAD of linux/fib_rules.h
	fraDSCP = 25 // FRA_DSCP

	fraSportMask, fraDportMask = 28, 29 // full ones are the same as none
)

// selectorOf returns what a rule's message matches.
func selectorOf(b []byte) (Selector, error) {
	h, err := decodeHeader(b)
	if err != nil {
		return "", err
	}
	type attr struct {
		kind uint16
		raw  []byte
	}
	var attrs []attr
	err = eachAttr(b[headerLen:], func(kind uint16, value []byte) error {
		full := (kind == fraSportMask || kind == fraDportMask) && len(value) == 2 && value[0]&value[1] == 0xff
		if !slices.Contains(unmatched[:], kind) && !full {
			attrs = append(attrs, attr{kind, appendAttr(nil, kind, value)})
		}
		return nil
	})
	slices.SortStableFunc(attrs, func(a, b attr) int { return cmp.Compare(a.kind, b.kind) })
	out := []byte{h.tos, byte(h.flags & ruleInvert), h.dstLen, h.srcLen}
	for _, a := range attrs {
		out = append(out, a.raw...)
	}
	return Selector(out), err
}

// arriving selects what came in by a device and has a mark under a mask.
func arriving(device string, mark, mask uint32) Selector {
	b := make([]byte, selectorHead)
	b = appendAttr(b, nl.FRA_IIFNAME, append([]byte(device), 0))
	b = appendAttr(b, nl.FRA_FWMARK, binary.NativeEndian.AppendUint32(nil, mark))
	return Selector(appendAttr(b, nl.FRA_FWMASK, binary.NativeEndian.AppendUint32(nil, mask)))
}

// inverted reports whether the rule matches what the selector does not.
func (s Selector) inverted() bool { return len(s) >= selectorHead && s[1] != 0 }

// matchesAll reports whether a selector matches all packets, or all but those with a mark.
func (s Selector) matchesAll() bool {
	if !s.inverted() {
		return s == Selector(make([]byte, selectorHead))
	}
	mark, other := false, s[0] != 0 || s[2] != 0 || s[3] != 0
	_ = s.each(func(kind uint16, _ []byte) error {
		mark = mark || kind == nl.FRA_FWMARK
		other = other || kind != nl.FRA_FWMARK && kind != nl.FRA_FWMASK
		return nil
	})
	return mark && !other
}

// mark returns the mark that a selector matches, and its mask.
func (s Selector) mark() (mark, mask uint32) {
	_ = s.each(func(kind uint16, value []byte) error {
		switch {
		case len(value) != 4:
		case kind == nl.FRA_FWMARK:
			mark = binary.NativeEndian.Uint32(value)
		case kind == nl.FRA_FWMASK:
			mask = binary.NativeEndian.Uint32(value)
		}
		return nil
	})
	return mark & mask, mask
}

// withMark returns a selector that matches another mark instead of its own.
func (s Selector) withMark(mark, mask uint32) Selector {
	out := []byte(s[:selectorHead])
	_ = s.each(func(kind uint16, value []byte) error {
		switch kind {
		case nl.FRA_FWMARK:
			value = binary.NativeEndian.AppendUint32(nil, mark)
		case nl.FRA_FWMASK:
			value = binary.NativeEndian.AppendUint32(nil, mask)
		}
		out = appendAttr(out, kind, value)
		return nil
	})
	return Selector(out)
}

// spares reports whether a selector is for what does not have a mark of which some bits
// are others than these, which its mask covers as well: a packet that has that mark and
// some of these bits is to be left out.
func (s Selector) spares(bits uint32) bool {
	mark, mask := s.mark()
	return s.inverted() && mark&^bits != 0 && mask&bits != 0
}

// blind reports whether a selector matches a mark without bits of a mask that covers
// some of them: nothing that has some. What matches packets without a mark is not meant
// for those with our bits.
func (s Selector) blind(bits uint32) bool {
	mark, mask := s.mark()
	return !s.inverted() && mark != 0 && mark&bits == 0 && mask&bits != 0
}

// sighted returns the selectors that match what a blind one would match without our
// bits, and beside it those which another program restored from all of a conntrack
// mark; and one that is inverted leaves out what it would leave out without our bits. Any
// other selector is returned itself.
func sighted(g Goal, s Selector) []Selector {
	l := g.Layout
	mark, mask := s.mark()
	out := []Selector{s}
	if s.blind(l.MarkMask) || s.spares(l.MarkMask) {
		mark, mask = mark&^l.MarkMask, mask&^l.MarkMask
		out[0] = s.withMark(mark, mask)
	}
	if !s.blind(l.CTMask) {
		return out
	}
	flow := mask & l.CTPolicyMask()
	policies := []lane.Lane{lane.Nobody}
	for _, p := range g.Policies {
		policies = append(policies, p.Lane)
	}
	for _, n := range policies {
		of := l.CTPair(0, n) & flow
		if with := s.withMark(mark|of, mask&^l.CTEstablished()); of != 0 && !slices.Contains(out, with) {
			out = append(out, with)
		}
	}
	return out
}

func (s Selector) each(fn func(kind uint16, value []byte) error) error {
	if len(s) < selectorHead {
		return nil
	}
	return eachAttr([]byte(s[selectorHead:]), fn)
}

// String returns the selector in the syntax of ip(8), with a leading space.
func (s Selector) String() string {
	if len(s) < selectorHead {
		return ""
	}
	var b strings.Builder
	if s.inverted() {
		b.WriteString(" not")
	}
	if s[0] != 0 {
		fmt.Fprintf(&b, " tos %#x", s[0])
	}
	var mark, mask []byte
	_ = s.each(func(kind uint16, value []byte) error {
		switch kind {
		case nl.FRA_FWMARK:
			mark = value
		case nl.FRA_FWMASK:
			mask = value
		default:
			b.WriteString(s.word(kind, value))
		}
		return nil
	})
	if len(mask) == 4 {
		if mark == nil {
			mark = make([]byte, 4)
		}
		b.WriteString(markText(binary.NativeEndian.Uint32(mark), binary.NativeEndian.Uint32(mask)))
	}
	return b.String()
}

// word returns the words of ip(8) for one attribute.
func (s Selector) word(kind uint16, value []byte) string {
	pair := func() (a, b uint64) {
		half := len(value) / 2
		for n := range half { // two numbers of the same size, in the machine's order
			a |= uint64(value[n]) << (8 * n)
			b |= uint64(value[half+n]) << (8 * n)
		}
		return a, b
	}
	low, high := pair()
	if len(value) == 1 {
		low = uint64(value[0])
	}
	switch kind {
	case nl.FRA_SRC, nl.FRA_DST:
		bits, name := s[3], " from "
		if kind == nl.FRA_DST {
			bits, name = s[2], " to "
		}
		a, _ := netip.AddrFromSlice(value)
		return name + netip.PrefixFrom(a, int(bits)).String()
	case nl.FRA_IIFNAME:
		return " iif " + shellWord(unix.ByteSliceToString(value))
	case nl.FRA_OIFNAME:
		return " oif " + shellWord(unix.ByteSliceToString(value))
	case nl.FRA_UID_RANGE:
		return fmt.Sprintf(" uidrange %d-%d", low, high)
	case nl.FRA_SPORT_RANGE:
		return fmt.Sprintf(" sport %d-%d", low, high)
	case nl.FRA_DPORT_RANGE:
		return fmt.Sprintf(" dport %d-%d", low, high)
	case nl.FRA_IP_PROTO:
		return fmt.Sprintf(" ipproto %d", low)
	case nl.FRA_L3MDEV:
		return " l3mdev"
	case fraDSCP:
		return fmt.Sprintf(" dscp %d", low)
	}
	return fmt.Sprintf(" # attribute %d: %x", kind, value)
}

// decodeForeignRule reads an RTM_NEWRULE of another program. ok is false for rules
// that do what they did without ours.
func decodeForeignRule(b []byte, l lane.Layout) (r ForeignRule, ok bool, err error) {
	d, known, err := openRule(b)
	if err != nil || !known {
		return ForeignRule{}, false, err
	}
	r = ForeignRule{Family: d.rule.Family, Priority: d.rule.Priority, Table: d.rule.Table, Suppress: d.rule.Suppress, SuppressGroup: d.rule.SuppressGroup}
	if r.Selector, err = selectorOf(b); err != nil || d.protocol == lane.Protocol {
		return ForeignRule{}, false, err
	}
	first := uint32(l.FirstPriority)
	switch d.header.kind {
	case nl.FR_ACT_TO_TBL:
		ok = r.Table != MainTable && r.Table != unix.RT_TABLE_DEFAULT
	case nl.FR_ACT_NOP:
	default:
		ok, r.Table = true, 0
	}
	return r, ok && r.Priority >= first && r.Priority <= lane.LastResortPriority, nil
}

// baseRules return our first rule in a family, or those that take its place while
// there are rules of others that it would get ahead of.
func (g Goal) baseRules(f failover.Family) []Rule {
	first := g.Layout.FirstPriority
	past, out := g.pastBase(f), pastErrors(g, f)
	base := rule(f, first, Rule{Table: MainTable, Suppress: 1, SuppressGroup: groupOfBase})
	if len(past) == 0 && len(out) == 0 {
		// 1, not 0: wg-quick deletes every rule that suppresses 0. Routes of length 1,
		// such as the 0.0.0.0/1 and 128.0.0.0/1 of some VPNs, match at the next rule.
		return []Rule{rule(f, first, Rule{Table: MainTable, Suppress: 1})}
	}
	if len(past) == 0 {
		return append(out, base)
	}
	policies := g.Layout.Mark(lane.DefaultPolicy) // the bit that distinguishes their lanes
	out = append(out, rule(f, first, Rule{Mark: policies, Mask: policies, Table: MainTable, Suppress: 1}))
	for _, u := range g.Uplinks {
		for _, r := range g.fromRules(f, u) {
			out = append(out, rule(f, first, Rule{From: r.From, Mask: r.Mask, Table: MainTable, Suppress: 1}))
		}
		if u.nameFits() {
			out = append(out, rule(f, first, Rule{OIF: u.Interface, Table: MainTable, Suppress: 1}))
		}
	}
	return append(append(out, past...), base)
}

// ForMarks returns those of our rules that have to be there while packets have marks of
// ours: all but those that lead packets without any, by their source or at last all.
func ForMarks(rules []Rule, l lane.Layout) []Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r Rule) bool {
		bySource := r.From.IsValid() && int(r.Priority) > l.FirstPriority
		return bySource || r.Priority >= lane.MainAgainPriority
	})
}

// pastErrors returns the rules that lead probes past our first one while main's best
// default route, or the two halves of one, are errors, such as a VPN's kill switch: the
// kernel suppresses no error, so that none would be answered, although all uplinks are
// well.
func pastErrors(g Goal, f failover.Family) (out []Rule) {
	best, ok := g.betterForeign(f)
	half, halved := g.foreignHalf(f)
	if (!ok || best.Type == Unicast) && (!halved || half.Type == Unicast) {
		return nil
	}
	for _, u := range g.Uplinks {
		if u.nameFits() {
			probes := g.laneRule(f, u.Lane)
			probes.Priority, probes.OIF = uint32(g.Layout.FirstPriority), u.Interface
			out = append(out, probes)
		}
	}
	return out
}

// With rules before it at the same priority, our first rule suppresses the routes by
// an interface group as well, one that has no interfaces: the kernel deletes the
// first rule that has what is named, so it needs something that the others lack.
const (
	groupOfBase       = 1<<31 - 1 + 1 // as in Rule
	groupOfSubstitute = 1<<31 - 2 + 1
)

// afterLanes returns the rules that repeat our first one for what was led around the
// lanes: for nothing else, while there are rules of others that it must not precede.
func (g Goal) afterLanes(priority int) (out []Rule) {
	if len(g.pastBase(failover.IPv4)) == 0 {
		return []Rule{rule(failover.IPv4, priority, Rule{Table: MainTable, Suppress: 1})}
	}
	for _, u := range g.Uplinks {
		if u.Strict {
			out = append(out, rule(failover.IPv4, priority, Rule{
				Mark: g.Layout.Mark(u.Lane), Mask: g.Layout.MarkMask, Table: MainTable, Suppress: 1,
			}))
		}
	}
	return out
}

// pastBase returns the rules that lead past our first one.
func (g Goal) pastBase(f failover.Family) []Rule {
	var out []Rule
	n := 0
	for _, r := range g.ForeignRules {
		if r.Family != f || int(r.Priority) <= g.Layout.FirstPriority || n == MaxForeignRules {
			continue
		}
		n++
		for _, r.Selector = range sighted(g, r.Selector) {
			for _, past := range r.past(g) {
				if !slices.Contains(out, past) {
					out = append(out, past)
				}
			}
		}
	}
	return out
}

// past returns the rules that lead what a rule matches past our first one.
func (r ForeignRule) past(g Goal) []Rule {
	if !g.decides(r) {
		copied, err := r.asOurs(g.Layout.FirstPriority)
		if err != nil {
			return nil
		}
		return []Rule{copied}
	}
	out := []Rule{rule(r.Family, g.Layout.FirstPriority, Rule{Selector: r.Selector, Goto: uint32(g.secondPriority()), Suppress: -1})}
	if uint32(g.afterFrom()) <= r.Priority {
		out = append(out, rule(r.Family, g.Layout.FromPriority(0), Rule{Selector: r.Selector, Goto: uint32(g.afterFrom()), Suppress: -1}))
	}
	return out
}

// asOurs returns a rule of ours that does the same.
func (r ForeignRule) asOurs(priority int) (Rule, error) {
	b := encodeRule(Rule{
		Family: r.Family, Priority: uint32(priority), Selector: r.Selector, Table: r.Table, Suppress: r.Suppress, SuppressGroup: r.SuppressGroup,
	})
	ours, _, err := decodeRule(b)
	return ours, err
}

// TooManyRules reports whether a family has more rules of others after our first one
// than are copied.
func (g Goal) TooManyRules(f failover.Family) bool {
	after := 0
	for _, r := range g.ForeignRules {
		if r.Family == f && int(r.Priority) > g.Layout.FirstPriority {
			after++
		}
	}
	return after > MaxForeignRules
}

// decides reports whether packets that a rule matches go no further.
func (g Goal) decides(r ForeignRule) bool {
	return r.Table == 0 || r.Suppress < 0 && r.SuppressGroup == 0 && slices.ContainsFunc(g.Foreign, func(d Route) bool {
		return d.Family == r.Family && d.Table == r.Table && d.Dst == anywhere(r.Family)
	})
}

// secondPriority is that of our first rule after those for main.
func (g Goal) secondPriority() int {
	least := lane.DefaultPolicy
	for _, u := range g.Uplinks {
		least = min(least, u.Lane)
	}
	return g.Layout.MarkPriority(least)
}

// afterFrom is the priority of our first rule after those for sources.
func (g Goal) afterFrom() int {
	least := g.Layout.OIFPriority(lane.DefaultPolicy)
	for _, u := range g.Uplinks {
		if u.nameFits() {
			least = min(least, g.Layout.OIFPriority(u.Lane))
		}
	}
	return least
}

// mainAgain returns the priority of our second rule for main: not before others'
// rules that are just before our last one.
func (g Goal) mainAgain(f failover.Family) int {
	if slices.ContainsFunc(g.ForeignRules, func(r ForeignRule) bool {
		return r.Family == f && r.Priority == lane.LastResortPriority
	}) {
		return lane.LastResortPriority
	}
	return lane.MainAgainPriority
}

// baseRank is the rank of our first rule: what none of the others led past comes to it.
const baseRank = 4

// rank orders the rules of one priority, which the kernel uses in the order in which
// they were added.
func (r Rule) rank() int {
	switch {
	case r.Table == unix.RT_TABLE_LOCAL:
		return -1
	case r.Goto != 0 && r.Goto-r.Priority <= uint32(lane.DefaultPolicy): // to the lanes, not past them
		return 1
	case r.Goto != 0:
		return 0
	case r.Table != MainTable && (r.Priority != lane.LastResortPriority || r.From.IsValid()):
		return 2
	case r.Table != MainTable:
		return baseRank + 1
	case r.Suppress == 1 && r.Mask == 0 && !r.From.IsValid() && r.OIF == "":
		return baseRank
	case r.From.IsValid():
		return 3
	}
	return 0
}

// looksUpMain reports whether a rule does nothing but that.
func (r Rule) looksUpMain() bool { return r.Table == MainTable && !r.Unreachable && r.Goto == 0 }

// yields reports whether a rule has to follow those of others that have its priority.
func (r Rule) yields() bool {
	return r.rank() == baseRank || r.Priority == lane.MainAgainPriority || r.Priority == lane.LastResortPriority
}

// reordered returns the ops that delete the rules which precede one that should
// precede them, or would precede one that is added, so that they are added again
// after it; and the state after that. Meanwhile a substitute takes the place of our
// first rule, which is deleted last.
func reordered(want, have State) (State, []Op) {
	added := ruleOps(AddRule, want.Rules, have.Rules)
	var again []Rule
	for _, r := range have.Rules {
		tooEarly := slices.Contains(have.early, r) || slices.ContainsFunc(added, func(op Op) bool {
			return op.Rule.Family == r.Family && op.Rule.Priority == r.Priority && op.Rule.rank() < r.rank()
		})
		if tooEarly && slices.Contains(want.Rules, r) {
			again = append(again, r)
		}
	}
	if len(again) == 0 {
		return have, nil
	}
	have.Rules = slices.Clone(have.Rules)
	var ops []Op
	for _, r := range again {
		if s, ok := r.substitute(); ok && !slices.Contains(have.Rules, s) {
			ops = append(ops, Op{Action: AddRule, Rule: s})
			have.Rules = append(have.Rules, s)
		}
		ops = append(ops, Op{Action: DeleteRule, Rule: r})
		at := slices.Index(have.Rules, r)
		have.Rules = slices.Delete(have.Rules, at, at+1)
	}
	return have, ops
}

// substitute returns a rule that matches what our first rule matches, and may stand
// beside it; false for other rules.
func (r Rule) substitute() (Rule, bool) {
	if r.rank() != baseRank {
		return Rule{}, false
	}
	r.SuppressGroup = groupOfSubstitute
	return r, true
}
