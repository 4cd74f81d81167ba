package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"swerve/rule"
	"swerve/target"
)

// protocol reads an IP protocol.
var protocol = parsed("tcp, udp, icmp, icmpv6, esp, gre or another protocol's name or number",
	"is not a protocol", rule.ParseProtocol)

// ports reads one port or a range.
func ports(d *decoder, n node) (rule.PortRange, bool) {
	const want = "a port from 1 to 65535, or a range such as 8000-8100"
	s, ok := d.text(n, want)
	if !ok {
		return rule.PortRange{}, false
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	first, ok1 := target.ParsePort(strings.TrimSpace(from))
	last, ok2 := target.ParsePort(strings.TrimSpace(to))
	switch {
	case !ok1 || !ok2:
		d.wrong(n, show(s)+" is not a port or a range", want)
	case first > last:
		d.wrong(n, show(s)+" ends before it begins", fmt.Sprintf("%d-%d", last, first))
	default:
		return rule.PortRange{First: first, Last: last}, true
	}
	return rule.PortRange{}, false
}

// portSet reads ports and joins those that overlap or touch.
func portSet(d *decoder, n node) ([]rule.PortRange, bool) {
	list, ok := oneOrMany(maxList, ports)(d, n)
	if !ok {
		return nil, false
	}
	slices.SortFunc(list, func(a, b rule.PortRange) int { return cmp.Compare(a.First, b.First) })
	var set []rule.PortRange
	for _, r := range list {
		if n := len(set); n > 0 && int(r.First) <= int(set[n-1].Last)+1 {
			set[n-1].Last = max(set[n-1].Last, r.Last)
			continue
		}
		set = append(set, r)
	}
	return set, true
}

// dscp reads a DSCP code point, by name or number.
var dscp = parsed(rule.WantDSCP, "is not a DSCP code point", rule.ParseDSCP)

// mark reads value or value/mask.
func mark(d *decoder, n node) (rule.Mark, bool) {
	const want = "a mark such as 0x1/0xff, each part at most 32 bits"
	s, ok := d.text(n, want)
	if !ok {
		return rule.Mark{}, false
	}
	value, mask, hasMask := strings.Cut(s, "/")
	m := rule.Mark{Mask: ^uint32(0)}
	v, ok := parseBits(value)
	if m.Value = v; hasMask && ok {
		m.Mask, ok = parseBits(mask)
	}
	switch {
	case !ok:
		d.wrong(n, show(s)+" is not a mark", want)
	case m.Mask == 0:
		d.wrong(n, show(s)+" has an empty mask and matches everything", "a mask, or no mark")
	case m.Value&^m.Mask != 0:
		d.wrong(n, show(s)+" has bits outside its mask and never matches",
			fmt.Sprintf("%#x/%#x", m.Value&m.Mask, m.Mask))
	default:
		return m, true
	}
	return rule.Mark{}, false
}

func parseBits(s string) (uint32, bool) {
	v, err := parseInt(strings.TrimSpace(s))
	return uint32(v), err == nil && v >= 0 && v <= 1<<32-1
}

// laneMask returns a field that is a mask or auto, which keeps the default.
func laneMask(key string, place func(*Kernel) *uint32) field[Kernel] {
	return field[Kernel]{key: key, read: func(d *decoder, n node, k *Kernel) {
		if word, ok := n.ast.(*ast.StringNode); ok && word.Value == autoWord {
			return
		}
		if v, ok := bits(d, n); ok {
			*place(k), k.AutoMasks = v, false
		}
	}}
}

// bits reads a 32-bit mask.
var bits = parsed("a mask such as 0x7f000000", "is not a 32-bit mask", parseBits)
