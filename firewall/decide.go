package firewall

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"swerve/failover"
	"swerve/lane"
)

// A long list of rules is no long chain: consecutive rules that all restrict the same
// thing, their sources, destinations or ports, become one map from intervals to what
// decides there. Where several of them apply in an interval, it leads to a chain with
// those, in their order, so that the first that matches still wins; where the first one
// has no further condition, to its verdict.
const (
	// leastMapped rules in a row are worth a map.
	leastMapped = 16
	// mostCopies bounds how many rules the chains of a map have for each of its own.
	mostCopies = 4
)

// mappedFrom is leastMapped, except in tests.
var mappedFrom = leastMapped

// by is what a map is by.
type by uint8

const (
	bySource by = iota
	byDestination
	byPort
)

// single is a rule in one family with one interface at most: what becomes one rule of a
// chain.
type single struct {
	Rule
	family failover.Family
}

// keyRange is a range of values, both ends included, as they are in packets.
type keyRange struct{ first, last []byte }

// singles returns the rules as they apply to a family.
func singles(g Goal, f failover.Family) []single {
	var out []single
	for _, r := range g.Rules {
		if _, ok := g.leadTo(r.Policy); !ok || !r.Families()[f] {
			continue
		}
		r.From, r.To = ofFamily(r.From, f), ofFamily(r.To, f)
		out = append(out, single{r, f})
	}
	return out
}

// ranges returns the values of what a map is by to which the rule is restricted; none if
// it is not.
func (s single) ranges(what by) []keyRange {
	var out []keyRange
	if what == byPort {
		for _, p := range s.Ports {
			out = append(out, keyRange{portBytes(p.First), portBytes(p.Last)})
		}
		return out
	}
	list := s.From
	if what == byDestination {
		list = s.To
	}
	for _, p := range distinct(list) {
		if p.Bits() == 0 {
			return nil
		}
		out = append(out, keyRange{p.Addr().AsSlice(), lastAddr(p).AsSlice()})
	}
	return out
}

// without returns the rule without what a map has decided.
func (s single) without(what by) single {
	switch what {
	case bySource:
		s.From = nil
	case byDestination:
		s.To = nil
	case byPort:
		s.Ports = nil
	}
	return s
}

// decides reports whether the rule has no further condition.
func (s single) decides() bool {
	return len(s.From)+len(s.To)+len(s.In)+len(s.Ports) == 0 && s.Proto == 0 && !s.HasDSCP && s.Mark.Mask == 0 && s.Set == ""
}

// tree makes the maps and chains of rules.
type tree struct {
	builder
	maps   []verdictMap
	chains []chain
	family failover.Family
	number int // of the maps and chains so far
}

// mappedRules returns the chains and maps for many rules: a chain for each family, to
// which that of all rules leads.
func mappedRules(b builder) (chains []chain, maps []verdictMap) {
	first := chain{name: rulesChain, about: "The user's rules, first match wins: where many in a row differ in one thing, as a map by that."}
	for _, f := range failover.Families {
		t := tree{builder: b, family: f}
		c := chain{name: rulesChain + "_" + f.String(), rules: t.build(singles(b.Goal, f), false)}
		first.rules = append(first.rules, newRule(nfproto(f), goTo(c.name)))
		chains, maps = append(append(chains, t.chains...), c), append(maps, t.maps...)
	}
	if hasDecided(b) {
		chains = append([]chain{decidedByDefault(b)}, chains...)
	}
	return append(chains, first), maps
}

// build returns the rules of a chain for these rules. A chain that was jumped to is
// nested: its verdicts come back to where that was, where what a rule has matched is
// known by its lane.
func (t *tree) build(list []single, nested bool) []rule {
	var out []rule
	for len(list) > 0 {
		what, n := alike(list)
		if n >= mappedFrom {
			if m, ok := t.mapped(list[:n], what, nested); ok {
				out = append(out, m,
					newRule(ctMark(t.Layout.CTPolicyMask()).isNot(0), returns),
					newRule(packetMark(t.Layout.MarkMask).isNot(0), returns))
				list = list[n:]
				continue
			}
		}
		n = max(1, n)
		for _, s := range list[:n] {
			out = append(out, t.plain(s, nested)...)
		}
		list = list[n:]
	}
	return out
}

// alike returns how many rules from the first on restrict the same thing, and which gives
// the most; 0 if the first restricts none. Ports belong to a protocol, so that has to be
// the same.
func alike(list []single) (what by, n int) {
	for _, w := range []by{byDestination, bySource, byPort} {
		i := 0
		for i < len(list) && list[i].restricts(w) && (w != byPort || list[i].Proto == list[0].Proto) {
			i++
		}
		if i > n {
			what, n = w, i
		}
	}
	return what, n
}

// restricts reports whether ranges returns any.
func (s single) restricts(what by) bool {
	if what == byPort {
		return len(s.Ports) > 0
	}
	list := s.From
	if what == byDestination {
		list = s.To
	}
	return len(list) > 0 && !slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Bits() == 0 })
}

// plain returns the rules of nftables for one rule.
func (t *tree) plain(s single, nested bool) []rule {
	var out []rule
	end, _ := t.leadTo(s.Policy)
	if nested && s.Policy == lane.DefaultPolicy {
		end = goTo(decidedChain)
	}
	for _, match := range s.alternatives(t.Goal, s.family) {
		out = append(out, newRule(append(match, end)...).numbered(s.Number))
	}
	return out
}

// decidedChain is where flows of the default policy go for which a rule of a nested chain
// decides: a return would only end that. Their mark lasts until the rules are left.
const decidedChain = "decided"

// hasDecided reports whether there may be such a chain.
func hasDecided(b builder) bool {
	return len(b.Rules) >= mappedFrom && slices.ContainsFunc(b.Rules, func(r Rule) bool { return r.Policy == lane.DefaultPolicy })
}

func decidedByDefault(b builder) chain {
	return chain{name: decidedChain, about: "The default policy's by a rule: no other one is asked.", rules: []rule{
		newRule(setPacketMark(b.Layout.MarkMask, b.Layout.Mark(lane.DefaultPolicy))),
	}}
}

// leaveRules returns the rules that follow the user's.
func leaveRules(b builder) []rule {
	if !hasDecided(b) {
		return nil
	}
	return []rule{newRule(packetMark(b.Layout.MarkMask).is(b.Layout.Mark(lane.DefaultPolicy)), setPacketMark(b.Layout.MarkMask, 0))}
}

// interval is where the same rules apply: from a value up to before the next interval.
type interval struct {
	from  []byte
	rules []int
}

// mapped returns one rule in place of many, unless it would cost too much.
func (t *tree) mapped(list []single, what by, nested bool) (rule, bool) {
	cut := intervalsOf(list, what)
	copies := 0
	for i, v := range cut {
		cut[i].rules = firstDeciding(list, v.rules, what)
		if n := len(cut[i].rules); n > 1 {
			copies += n
		}
	}
	if copies > mostCopies*len(list) {
		return rule{}, false
	}
	t.number++
	name := fmt.Sprintf("rules_%s_%d", t.family, t.number)
	m := verdictMap{name: name, keys: what.keys(t.family)}
	var open bool
	known := map[string]string{}
	for i, v := range cut {
		key := string(v.from)
		if len(v.rules) == 0 {
			if open {
				m.elements = append(m.elements, entry{key: key, end: true})
			}
			open = false
			continue
		}
		e := t.leads(list, v.rules, what, nested, known)
		e.key = key
		var next []byte
		if i+1 < len(cut) {
			next = cut[i+1].from
		}
		e.text = what.text(t.family, v.from, next)
		if open {
			m.elements = append(m.elements, entry{key: key, end: true})
		}
		m.elements, open = append(m.elements, e), true
	}
	t.maps = append(t.maps, m)
	look := what.field(t.family)
	pieces := []piece{look.vmap(name)}
	if what == byPort {
		pieces = []piece{protocol("meta l4proto "+protocolName(list[0].Proto), expr.CmpOpEq, list[0].Proto), nfproto(t.family), look.vmap(name)}
	}
	return newRule(pieces...).because(fmt.Sprintf("rules[%d] to rules[%d]", list[0].Number, list[len(list)-1].Number)), true
}

// intervalsOf cuts the range of values where rules begin or end.
func intervalsOf(list []single, what by) []interval {
	type edge struct {
		at    []byte
		rule  int
		opens bool
	}
	var edges []edge
	for i, s := range list {
		for _, r := range s.ranges(what) {
			edges = append(edges, edge{r.first, i, true})
			if next := following(r.last); next != nil {
				edges = append(edges, edge{next, i, false})
			}
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return bytes.Compare(a.at, b.at) })
	count := map[int]int{}
	var out []interval
	for i := 0; i < len(edges); {
		at := edges[i].at
		for ; i < len(edges) && bytes.Equal(edges[i].at, at); i++ {
			if edges[i].opens {
				count[edges[i].rule]++
			} else if count[edges[i].rule]--; count[edges[i].rule] == 0 {
				delete(count, edges[i].rule)
			}
		}
		v := interval{from: at}
		for n := range count {
			v.rules = append(v.rules, n)
		}
		slices.Sort(v.rules)
		if len(out) == 0 || !slices.Equal(out[len(out)-1].rules, v.rules) {
			out = append(out, v)
		}
	}
	return out
}

// following returns the value after one; nil after the last.
func following(b []byte) []byte {
	out := slices.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out
		}
	}
	return nil
}

// firstDeciding cuts off the rules after the first that has no further condition.
func firstDeciding(list []single, numbers []int, what by) []int {
	for i, n := range numbers {
		if rest := list[n].without(what); rest.decides() || what == byPort && rest.justProtocol() {
			return numbers[:i+1]
		}
	}
	return numbers
}

// justProtocol reports whether nothing but the protocol is asked for.
func (s single) justProtocol() bool {
	s.Proto = 0
	return s.decides()
}

// leads returns the element for an interval in which rules apply.
func (t *tree) leads(list []single, numbers []int, what by, nested bool, known map[string]string) entry {
	first := list[numbers[0]].without(what)
	if len(numbers) == 1 && (first.decides() || what == byPort && first.justProtocol()) {
		e := entry{chain: of("new", first.Policy), number: first.Number + 1}
		if first.Policy == lane.DefaultPolicy {
			e.chain = ""
			if nested {
				e.chain = decidedChain
			}
		}
		return e
	}
	key := fmt.Sprint(numbers)
	name, ok := known[key]
	if !ok {
		var rest []single
		for _, n := range numbers {
			rest = append(rest, list[n].without(what))
		}
		t.number++
		name = fmt.Sprintf("some_%s_%d", t.family, t.number)
		known[key] = name
		t.chains = append(t.chains, chain{name: name, rules: t.build(rest, true)})
	}
	return entry{chain: name, jump: true}
}

// keys is the type of a map's keys.
func (w by) keys(f failover.Family) keyKind {
	k := addressKeys[f]
	if w == byPort {
		k = keyKind{text: "type inet_service", datatype: nftables.TypeInetService, network: true}
	}
	k.interval = true
	return k
}

// field is what the map is looked up by.
func (w by) field(f failover.Family) field {
	if w == byPort {
		return field{"th dport", []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}}
	}
	a := [2]address{ipSaddr, ip6Saddr}[f]
	if w == byDestination {
		a = [2]address{ipDaddr, ip6Daddr}[f]
	}
	return field{a.text, append(nfproto(f).exprs, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length})}
}

// text is an interval as nft(8) writes it: from one value to before another one, nil for
// the last.
func (w by) text(f failover.Family, from, before []byte) string {
	if w == byPort {
		first, last := binary.BigEndian.Uint16(from), uint16(0xffff)
		if before != nil {
			last = binary.BigEndian.Uint16(before) - 1
		}
		if first == last {
			return fmt.Sprint(first)
		}
		return fmt.Sprintf("%d-%d", first, last)
	}
	first, _ := netip.AddrFromSlice(from)
	last := lastAddr(netip.PrefixFrom([2]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}[f], 0))
	if before != nil {
		next, _ := netip.AddrFromSlice(before)
		last = next.Prev()
	}
	if first == last {
		return first.String()
	}
	return first.String() + "-" + last.String()
}
