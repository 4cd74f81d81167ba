package firewall

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// An address that the uplink of a policy does not reach, and the policy's next one does, is
// rescued: it is used by the next one for a while. All of it happens in the packet filter,
// whether a daemon runs or not.
//
//   - A SYN that is sent once more, as nothing has answered, marks its flow (see
//     [lane.Layout.CTRetried]). The next one finds the flow marked, where packets come in:
//     the address is tried by the next uplink, and the flow goes there. Where the uplink
//     masquerades, the kernel drops that segment with the flow's entry, and the segment after
//     it begins anew.
//   - A handshake that finishes there within the time of the trial rescues the address. One
//     that has to begin again there ends the trial, and there is no other for some minutes.
//   - A handshake that finishes by the policy's own uplink takes an address back, and keeps it
//     from being tried for a minute: one SYN in ten may be lost on a line that works.
//
// Packets of flows that have their uplink and are established meet nothing of this.
//
// Each policy has sets of its own, for each family: they hold for the pair of uplinks that the
// policy has at the time, and are emptied when that changes, by a verdict or a return.

// Rescue is how addresses are rescued. With no Addresses none are.
type Rescue struct {
	// Addresses bounds those that each policy rescues in each family.
	Addresses uint32
	// For is how long each of them is used by the next uplink.
	For time.Duration
}

// Detour is a pair of uplinks: what From does not reach is tried by To. The zero value is
// none.
type Detour struct{ From, To lane.Lane }

const (
	// trialTime is how long an address is tried: SYNs are sent each second at first by
	// Linux since 6.5, and after 1, 3, 7 and 15 seconds by others.
	trialTime = 20 * time.Second
	// nowhereTime is how long an address is not tried again that did not answer.
	nowhereTime = 5 * time.Minute
	// wellTime is how long an address is not tried that has answered.
	wellTime = time.Minute
	// sourceTime is how long a source is known for its trials.
	sourceTime = 2 * time.Minute

	mostTrials  = 256
	mostNowhere = 2048
	mostWell    = 4096
	mostSources = 256
	// trialsOfSource are those of one source in a minute, and trialsOfAll of all.
	trialsOfSource, trialsOfAll = 12, 60
	trialsBurst                 = 30
)

// Names of the parts for rescues.
const (
	limitedCounter   = "rescue_limited"
	triedCounter     = "rescue_tried"
	rescuedCounter   = "rescue_begun"
	takenBackCounter = "rescue_ended"

	trialSet   = "trial"
	rescuedSet = "rescued"
	nowhereSet = "nowhere"
	wellSet    = "well"
	sourcesSet = "sources"

	stayingMap   = "staying"
	tryingMap    = "trying"
	leadingChain = "leading"
	leadsMap     = "leads"
	retryChain   = "retry"
	tryChain     = "try"
	tryingChain  = "trying"
	blamedChain  = "blamed"
	failsChain   = "fails"
	lapsesChain  = "lapses"
	keptUpChain  = "reached"
	provenChain  = "proven"
	rescuesChain = "rescues"
	ownRescues   = "rescues_own"
	defaultChain = "rescues_default"
)

func nextMap(f failover.Family) string     { return "next_" + f.String() }
func triedMap(f failover.Family) string    { return "retried_" + f.String() }
func endedMap(f failover.Family) string    { return "reached_" + f.String() }
func moveChain(f failover.Family) string   { return "move_" + f.String() }
func rescueChain(f failover.Family) string { return "rescue_" + f.String() }

// rescues reports whether addresses are rescued at all.
func (g Goal) rescues() bool { return g.Rescue.Addresses > 0 && len(g.rescuing()) > 0 }

// rescuing returns the policies that may rescue: those with more than one uplink in reach.
func (g Goal) rescuing() []Policy {
	var out []Policy
	for _, p := range g.Policies {
		if len(p.Uplinks) > 1 || !p.Block && len(g.Uplinks) > 1 {
			out = append(out, p)
		}
	}
	return out
}

// sortedDetour returns a detour of uplinks that the policy may use, or none.
func (g Goal) sortedDetour(p Policy, d Detour) Detour {
	known := func(n lane.Lane) bool {
		return slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return u.Lane == n && u.Interface != "" }) && (!p.Block || p.uses(n))
	}
	if g.Rescue.Addresses == 0 || d.From == d.To || !known(d.From) || !known(d.To) {
		return Detour{}
	}
	return d
}

// rescueSet is one of the sets that packets fill.
type rescueSet struct {
	name   string
	family failover.Family
	size   uint32
	// timeout is that of the set, which each element replaces by its own.
	timeout time.Duration
}

// nameOf returns the name of a set of a policy, such as rescued4_64.
func nameOf(what string, f failover.Family, p lane.Lane) string {
	return of(what+familyDigit(f), p)
}

// familyDigit is what the names of sets have for a family.
func familyDigit(f failover.Family) string { return [2]string{"4", "6"}[f] }

// rescueSets returns those of a goal.
func rescueSets(g Goal) []rescueSet {
	if !g.rescues() {
		return nil
	}
	var out []rescueSet
	for _, f := range failover.Families {
		out = append(out, rescueSet{sourcesSet + familyDigit(f), f, mostSources, sourceTime})
	}
	for _, p := range g.rescuing() {
		for _, f := range failover.Families {
			out = append(out,
				rescueSet{nameOf(trialSet, f, p.Lane), f, mostTrials, trialTime},
				rescueSet{nameOf(rescuedSet, f, p.Lane), f, g.Rescue.Addresses, g.Rescue.For},
				rescueSet{nameOf(nowhereSet, f, p.Lane), f, mostNowhere, nowhereTime},
				rescueSet{nameOf(wellSet, f, p.Lane), f, mostWell, wellTime})
		}
	}
	return out
}

// rescueSet returns the set with a name, if there is one.
func (t Table) rescueSet(name string) (rescueSet, bool) {
	i := slices.IndexFunc(t.rescues, func(s rescueSet) bool { return s.name == name })
	if i < 0 {
		return rescueSet{}, false
	}
	return t.rescues[i], true
}

func (s rescueSet) attributes() setAttributes { return setAttributes{s.timeout, s.size} }

func (s rescueSet) set(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: s.name, KeyType: [2]nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeIP6Addr}[s.family],
		KeyByteOrder: binaryutil.BigEndian, Dynamic: true, HasTimeout: true, Timeout: s.timeout, Size: s.size,
	}
}

func (s rescueSet) write(b *strings.Builder) {
	fmt.Fprintf(b, "  set %s {\n    type %s\n    size %d\n    flags dynamic,timeout\n    timeout %s\n  }\n",
		s.name, [2]string{"ipv4_addr", "ipv6_addr"}[s.family], s.size, nftDuration(s.timeout))
}

func (tx *transaction) addRescueSets(t Table) {
	for _, s := range t.rescues {
		set := s.set(tx.table)
		set.ID = tx.setID()
		tx.try(tx.AddSet(set, nil))
	}
}

// retried is the uplink's lane of a flow whose SYN was sent once more.
func retried(b builder, n lane.Lane) uint32 { return b.Layout.Mark(n) | b.Layout.CTRetried() }

// restoresRetried are the elements of a restore map for such flows of a pair. They lead to
// the policy's chain if it is the pair of its detour; else such a flow stays where it is.
func restoresRetried(b builder, u, p lane.Lane, f failover.Family) []entry {
	if !b.rescues() {
		return nil
	}
	i := slices.IndexFunc(b.Policies, func(q Policy) bool { return q.Lane == p })
	to := of("lane", u)
	if i >= 0 && b.Policies[i].Detour[f].From == u {
		to = of(retryChain, p)
	}
	return []entry{markEntry(retried(b, u)|b.Layout.CTPair(0, p), to)}
}

// rescueMoving returns the maps that a verdict changes, by family: the next uplink of each
// policy, and what becomes of a handshake by either of the pair.
func rescueMoving(b builder) []verdictMap {
	if !b.rescues() {
		return nil
	}
	var out []verdictMap
	for _, f := range failover.Families {
		next := verdictMap{name: nextMap(f), keys: markKeys}
		tried := verdictMap{name: triedMap(f), keys: markKeys}
		ended := verdictMap{name: endedMap(f), keys: markKeys}
		if f == failover.IPv4 {
			next.about = "The uplink by which a policy rescues addresses, for each family."
			tried.about = "(policy, uplink) of a handshake that begins again: by the uplink that is blamed, and by the next one."
			ended.about = "(policy, uplink) of a handshake that has finished, likewise."
		}
		for _, p := range b.rescuing() {
			d := p.Detour[f]
			if d == (Detour{}) {
				continue
			}
			from, to := b.Layout.CTPair(d.From, p.Lane), b.Layout.CTPair(d.To, p.Lane)
			next.elements = append(next.elements, markEntry(b.Layout.CTPair(0, p.Lane), of("lane", d.To)))
			tried.elements = append(tried.elements, markEntry(from, blamedChain), markEntry(to, of(failsChain, p.Lane)),
				markEntry(to|b.Layout.CTRetried(), of(lapsesChain, p.Lane)))
			ended.elements = append(ended.elements, markEntry(from, of(keptUpChain, p.Lane)), markEntry(to, of(provenChain, p.Lane)))
		}
		out = append(out, next, tried, ended)
	}
	return out
}

// rescueMaps returns the others.
func rescueMaps(b builder) []verdictMap {
	if !b.rescues() {
		return nil
	}
	staying := verdictMap{name: stayingMap, keys: markKeys, about: "Flows whose SYN was sent once more, by uplink; policies that try addresses."}
	for _, u := range b.Uplinks {
		staying.elements = append(staying.elements, markEntry(retried(b, u.Lane), of("lane", u.Lane)))
	}
	trying := verdictMap{name: tryingMap, keys: markKeys}
	for _, p := range b.rescuing() {
		trying.elements = append(trying.elements, markEntry(b.Layout.CTPair(0, p.Lane), of(tryChain, p.Lane)))
	}
	out := []verdictMap{staying, trying}
	if b.rescuesDefault() {
		leads := b.devices(leadsMap, "", every)
		leads.about = "Uplinks by device, to one of which the routes lead a new flow of the gateway's own."
		for i := range leads.elements {
			leads.elements[i].chain = defaultChain
		}
		out = append(out, leads)
	}
	return out
}

func (g Goal) rescuesDefault() bool {
	return g.rescues() && slices.ContainsFunc(g.rescuing(), isDefault)
}

// rescuesNew returns the rules for new flows of a policy: those to addresses that are tried
// or rescued by the next uplink. lead is where they go.
func rescuesNew(p Policy, lead func(failover.Family) piece) []rule {
	var out []rule
	for _, a := range []address{ipDaddr, ip6Daddr} {
		for _, what := range []string{trialSet, rescuedSet} {
			out = append(out, newRule(a.inSet(nameOf(what, a.family, p.Lane)), lead(a.family)))
		}
	}
	return out
}

// rescuesOf returns the rules of a policy's chain for new flows.
func rescuesOf(b builder, p Policy) []rule {
	if !b.rescues() || !slices.ContainsFunc(b.rescuing(), func(q Policy) bool { return q.Lane == p.Lane }) {
		return nil
	}
	return rescuesNew(p, func(f failover.Family) piece { return goTo(rescueChain(f)) })
}

// rescuesDefaults returns the rule, after the user's, for new flows of the default policy.
// They have no lane, so that the rules and routes of others have their turn: only what would
// leave by an uplink is led to another one.
func rescuesDefaults(b builder, chain string) []rule {
	if !b.rescuesDefault() {
		return nil
	}
	return []rule{newRule(ctMark(b.pairMask()).is(0), jump(chain))}
}

// rescueChains returns the chains for new flows, and those of flows that are retried.
func rescueChains(b builder) []chain {
	if !b.rescues() {
		return nil
	}
	uplink, policy := ctMark(b.Layout.CTUplinkMask()), ctMark(b.Layout.CTPolicyMask())
	var out []chain
	for _, f := range failover.Families {
		out = append(out, chain{name: rescueChain(f), rules: []rule{
			newRule(ownPacket, setCTMark(b.Layout.CTUplinkMask(), b.Layout.CTRetried())).because("so that it is no probe"),
			newRule(policy.vmap(nextMap(f))),
		}})
	}
	out[0].about = "A new flow to an address that its policy's uplink does not reach: by the next one."
	if b.rescuesDefault() {
		def := b.rescuing()[0]
		leading := chain{name: leadingChain}
		for _, m := range b.devices("", "", every).elements {
			leading.rules = append(leading.rules, newRule(waysBy(strings.TrimRight(m.key, "\x00")), goTo(defaultChain)))
		}
		out = append(out,
			chain{name: rescuesChain, about: "Of the default policy, if the routes lead it to an uplink.",
				rules: rescuesNew(def, func(failover.Family) piece { return goTo(leadingChain) })},
			leading,
			chain{name: ownRescues, rules: rescuesNew(def, func(failover.Family) piece { return leavesVmap(leadsMap) })},
			chain{name: defaultChain, rules: []rule{
				newRule(setCTMark(b.Layout.CTPolicyMask(), b.Layout.CTPair(0, lane.DefaultPolicy))),
				newRule(nfproto(failover.IPv4), goTo(rescueChain(failover.IPv4))),
				newRule(goTo(rescueChain(failover.IPv6))),
			}})
	}
	for _, p := range b.rescuing() {
		out = append(out, retries(b, p), tries(b, p))
	}
	out = append(out, chain{name: tryingChain, about: "In all so many addresses are tried.", rules: []rule{
		newRule(limitOver(trialsOfAll, trialsBurst), count(limitedCounter), uplink.vmap(stayingMap)),
		newRule(policy.vmap(tryingMap)),
	}})
	for _, f := range failover.Families {
		out = append(out, chain{name: moveChain(f), rules: slices.Concat(fixedSources(b, f), []rule{
			newRule(ctStatusSNAT, policy.vmap(nextMap(f))),
			newRule(uplink.vmap(stayingMap)),
		})})
	}
	out[len(out)-2].about = "A flow that is masqueraded begins anew by the next uplink. With a fixed source it would be a stray."
	return out
}

// fixedSources are the rules for flows of uplinks that translate to a fixed source.
func fixedSources(b builder, f failover.Family) []rule {
	var out []rule
	for _, u := range b.Uplinks {
		if u.Source[f].IsValid() || f == failover.IPv6 && len(u.NPT) > 0 {
			out = append(out, newRule(ctMark(b.Layout.CTUplinkMask()).is(retried(b, u.Lane)), goTo(of("lane", u.Lane))))
		}
	}
	return out
}

// retries is the chain for flows of a policy's own uplink whose SYN was sent once more.
func retries(b builder, p Policy) chain {
	stay := ctMark(b.Layout.CTUplinkMask()).vmap(stayingMap)
	c := chain{name: of(retryChain, p.Lane), about: "A SYN was left unanswered, and this is another one: policy " + p.Name + " tries the next uplink.", rules: []rule{
		newRule(tcp, notBegins, stay),
		newRule(ctStateEstablished, stay),
	}}
	var links []netip.Prefix
	for _, u := range b.Uplinks {
		links = append(links, u.Links...)
	}
	for _, a := range []address{ipDaddr, ip6Daddr} {
		near := ofFamily(links, a.family)
		for _, u := range b.Uplinks {
			near = append(near, u.resolvers(a.family)...)
		}
		if near = distinct(near); len(near) > 0 {
			c.rules = append(c.rules, newRule(a.in(near), stay).because("on a link, or an uplink's own resolver"))
		}
	}
	add := func(what string, end func(failover.Family) piece) {
		for _, a := range []address{ipDaddr, ip6Daddr} {
			c.rules = append(c.rules, newRule(a.inSet(nameOf(what, a.family, p.Lane)), end(a.family)))
		}
	}
	moves := func(f failover.Family) piece { return goTo(moveChain(f)) }
	stays := func(failover.Family) piece { return stay }
	add(rescuedSet, moves)
	add(trialSet, moves)
	add(wellSet, stays)
	add(nowhereSet, stays)
	for _, a := range []address{ipSaddr, ip6Saddr} {
		limit := limitWithin(trialsOfSource, trialsOfSource)
		c.rules = append(c.rules, newRule(a.adds(sourcesSet+familyDigit(a.family), sourceTime, true, limit), goTo(tryingChain)))
	}
	c.rules = append(c.rules, newRule(count(limitedCounter), stay))
	return c
}

// tries is the chain that has a policy try an address.
func tries(b builder, p Policy) chain {
	c := chain{name: of(tryChain, p.Lane)}
	for _, a := range []address{ipDaddr, ip6Daddr} {
		c.rules = append(c.rules, newRule(a.adds(nameOf(trialSet, a.family, p.Lane), trialTime, false), count(triedCounter), goTo(moveChain(a.family))))
	}
	c.rules = append(c.rules, newRule(ctMark(b.Layout.CTUplinkMask()).vmap(stayingMap)))
	return c
}

// rescueVerdicts returns the chains for handshakes of a pair, where they leave.
func rescueVerdicts(b builder) []chain {
	if !b.rescues() {
		return nil
	}
	mark := newRule(setCTMark(b.Layout.CTRetried(), b.Layout.CTRetried()))
	own := newRule(ownPacket, accept).because("other programs restore marks of the gateway's own")
	out := []chain{{name: blamedChain, about: "Not answered by the uplink that is asked first: its next SYN is looked at.",
		rules: []rule{own, mark, newRule(accept)}}}
	for _, p := range b.rescuing() {
		fails := chain{name: of(failsChain, p.Lane), about: "Not answered by the next uplink of policy " + p.Name + ": not tried for a while, and after another one rescued no more."}
		lapses := chain{name: of(lapsesChain, p.Lane)}
		reached := chain{name: of(keptUpChain, p.Lane), about: "Reached by the uplink itself: taken back. By the next one: rescued."}
		proven := chain{name: of(provenChain, p.Lane)}
		for _, a := range []address{ipDaddr, ip6Daddr} {
			f := a.family
			trial, rescued := nameOf(trialSet, f, p.Lane), nameOf(rescuedSet, f, p.Lane)
			fails.rules = append(fails.rules,
				newRule(a.inSet(trial), a.adds(nameOf(nowhereSet, f, p.Lane), nowhereTime, false)),
				newRule(a.inSet(trial), a.deletes(trial)))
			lapses.rules = append(lapses.rules, newRule(a.inSet(rescued), a.deletes(rescued), count(takenBackCounter)))
			reached.rules = append(reached.rules,
				newRule(a.adds(nameOf(wellSet, f, p.Lane), wellTime, true)),
				newRule(a.inSet(trial), a.deletes(trial)),
				newRule(a.inSet(rescued), a.deletes(rescued), count(takenBackCounter)))
			// Where the set is full the statement fails, and the rule ends with it.
			proven.rules = append(proven.rules, newRule(a.inSet(trial), a.adds(rescued, b.Rescue.For, false), a.deletes(trial), count(rescuedCounter)))
		}
		fails.rules = append(fails.rules, own, mark, newRule(accept))
		for _, c := range []*chain{&lapses, &reached, &proven} {
			c.rules = append(c.rules, newRule(accept))
		}
		out = append(out, fails, lapses, reached, proven)
	}
	return out
}

// retriedRules are those of an uplink's chain for flows of another one: a handshake by this
// one that begins again stays here, and a new flow of the gateway's own to a rescued address
// has no uplink yet.
func retriedRules(b builder, u Uplink) []rule {
	if !b.rescues() {
		return nil
	}
	uplink := ctMark(b.Layout.CTUplinkMask())
	return []rule{
		newRule(uplink.is(retried(b, u.Lane)), goTo("own")),
		newRule(uplink.is(b.Layout.CTRetried()), returns),
	}
}

// noRescue matches flows that are no probe's although they have an uplink's lane: see
// rescueChains.
func noRescue(b builder) []piece {
	if !b.rescues() {
		return nil
	}
	return []piece{ctMark(b.Layout.CTRetried()).is(0)}
}

// adds adds the address to a set for a time; a known one has its time anew if it updates. The
// rule ends where the set is full, or where a limit of the element is over.
func (a address) adds(set string, timeout time.Duration, updates bool, limits ...piece) piece {
	op, word := uint32(unix.NFT_DYNSET_OP_ADD), "add"
	if updates {
		op, word = unix.NFT_DYNSET_OP_UPDATE, "update"
	}
	text := fmt.Sprintf("%s @%s { %s timeout %s", word, set, a.text, nftDuration(timeout))
	var exprs []expr.Any
	for _, l := range limits {
		text += " " + l.text
		exprs = append(exprs, l.exprs...)
	}
	return piece{text: text + " }", exprs: a.dynamic(&expr.Dynset{SrcRegKey: 1, SetName: set, Operation: op, Timeout: timeout, Exprs: exprs})}
}

// dynsetDelete is NFT_DYNSET_OP_DELETE, linux/netfilter/nf_tables.h.
const dynsetDelete = 2

// deletes deletes the address from a set.
func (a address) deletes(set string) piece {
	return piece{text: fmt.Sprintf("delete @%s { %s }", set, a.text), exprs: a.dynamic(&expr.Dynset{SrcRegKey: 1, SetName: set, Operation: dynsetDelete})}
}

func (a address) dynamic(e *expr.Dynset) []expr.Any {
	return append(nfproto(a.family).exprs,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length}, e)
}

// limitOver matches what is over so many packets a minute; limitWithin what is not.
func limitOver(rate uint64, burst uint32) piece { return limit("limit rate over", rate, burst, true) }

func limitWithin(rate uint64, burst uint32) piece { return limit("limit rate", rate, burst, false) }

func limit(text string, rate uint64, burst uint32, over bool) piece {
	return piece{text: fmt.Sprintf("%s %d/minute burst %d packets", text, rate, burst), exprs: []expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Unit: expr.LimitTimeMinute, Burst: burst, Over: over},
	}}
}

// emptied returns the rescue sets of policies whose detour is another one than before, by the
// elements of the maps.
func (t Table) emptied(before func(name string) map[string]string) []rescueSet {
	if len(t.rescues) == 0 {
		return nil
	}
	var out []rescueSet
	for _, f := range failover.Families {
		was, is := t.byPolicy(before(endedMap(f))), t.byPolicy(t.elementsOf(endedMap(f)))
		for _, p := range t.goal.rescuing() {
			if maps.Equal(was[p.Lane], is[p.Lane]) {
				continue
			}
			for _, what := range []string{trialSet, rescuedSet, nowhereSet, wellSet} {
				if s, ok := t.rescueSet(nameOf(what, f, p.Lane)); ok {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// byPolicy divides elements of a map of pairs by policy.
func (t Table) byPolicy(elements map[string]string) map[lane.Lane]map[string]string {
	out := map[lane.Lane]map[string]string{}
	for key, chain := range elements {
		mark, ok := markOf(key)
		if !ok {
			continue
		}
		_, p := t.goal.Layout.CTLanes(mark)
		if out[p] == nil {
			out[p] = map[string]string{}
		}
		out[p][key] = chain
	}
	return out
}

// elementsOf returns the elements of a map, by key.
func (t Table) elementsOf(name string) map[string]string {
	out := map[string]string{}
	for _, m := range t.maps {
		if m.name == name {
			for _, e := range m.elements {
				out[e.held()] = e.chain
			}
		}
	}
	return out
}

// Rescued returns how many addresses each of these policies rescues now, by family; -1 where
// it has no set for that.
func (k *Kernel) Rescued(policies []lane.Lane) (map[lane.Lane][2]int, error) {
	out := map[lane.Lane][2]int{}
	for _, p := range policies {
		n := out[p]
		for _, f := range failover.Families {
			elements, err := (reader{k}).readSet(nameOf(rescuedSet, f, p))
			n[f] = len(elements)
			switch {
			case errors.Is(err, unix.ENOENT):
				n[f] = -1
			case err != nil:
				return nil, fmt.Errorf("firewall: read the rescued addresses of lane %d: %w", p, err)
			}
		}
		out[p] = n
	}
	return out, nil
}

// IsRescued reports whether a policy rescues an address now, or tries it, in the network
// namespace of the calling thread.
func IsRescued(p lane.Lane, a netip.Addr) (bool, error) {
	var k Kernel
	defer k.Close()
	for _, what := range []string{trialSet, rescuedSet} {
		elements, err := (reader{&k}).readSet(nameOf(what, failover.FamilyOf(a), p))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return false, fmt.Errorf("firewall: read the rescued addresses of lane %d: %w", p, err)
		}
		if slices.ContainsFunc(elements, func(e setElement) bool { return e.key == string(a.AsSlice()) }) {
			return true, nil
		}
	}
	return false, nil
}
