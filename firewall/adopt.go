package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"swerve/failover"
	"swerve/lane"
)

// Adoption is what AdoptFlows did and found.
type Adoption struct {
	// Flows is how many flows were given lanes or deleted.
	Flows int
	// Native are, by uplink, the networks of sources that it carries without NAT.
	Native map[lane.Lane][]netip.Prefix
	// Plain are, by uplink, the flows that it carries without NAT to networks with
	// routes of their own, such as one of the provider's or another site.
	Plain map[lane.Lane][]Ends
}

// AdoptFlows gives lanes to flows that are older than the rules of these uplinks, and
// finds the networks that are native on them. It is for uplinks that the table does
// not have yet, before it is applied: afterwards every flow has its lanes.
//
// A flow whose answers are sent to an uplink's address left by that uplink, under
// the default policy, unless it is this machine's own and goes to itself or to a network
// that is reached otherwise. One that was sent to an uplink's address came in by it, unless it
// is from a network that is reached otherwise, such as the LAN: that has no uplink. A
// flow without NAT that was answered keeps the uplink by which the kernel sends it
// now, and shows that its network is native there or, where it goes to a network with a
// route of its own by that uplink, that it goes to that without NAT; one with a
// candidate's address, or that may have ended at a transparent proxy on this machine, shows
// nothing. For a flow of this machine's own the network is that of the local route: mostly
// the address alone. A public network of such addresses is native without any flow. One
// that was forwarded and not answered, and that the uplink would masquerade, is deleted:
// it could never be answered. No other flow is deleted: TCP that is under way with
// answers by another path, which this machine does not see, goes on. Flows that show no
// uplink get their lanes when their next packet leaves.
func (k *Kernel) AdoptFlows(g Goal, uplinks ...lane.Lane) (Adoption, error) {
	a := newAdopter(g)
	fail := func(err error) (Adoption, error) {
		return Adoption{Flows: a.changed, Native: a.native, Plain: a.plain}, fmt.Errorf("firewall: adopt flows: %w", err)
	}
	ways, err := newWays(g)
	if err != nil {
		return fail(err)
	}
	defer ways.close()
	a.ways, a.fresh = ways, uplinks
	if a.changed, err = eachFlow(g.Layout.CTMask, a.adoptOrFind); err != nil {
		return fail(err)
	}
	a.addOwnNetworks()
	n, err := deleteFlows(a.unmasqueraded())
	a.changed += n
	if err != nil {
		return fail(err)
	}
	return Adoption{Flows: a.changed, Native: a.native, Plain: a.plain}, nil
}

// Heal corrects flows that began while our table was missing, and returns how many.
// It is for a table that this process had applied and others have deleted. Flows
// with an uplink's address are adopted. Those that leave without any translation by
// an uplink that masquerades them are deleted: they began without masquerade, and
// would stay without it for as long as they exist.
func (k *Kernel) Heal(g Goal) (int, error) {
	a := newAdopter(g)
	ways, err := newWays(g)
	if err != nil {
		return 0, fmt.Errorf("firewall: heal flows: %w", err)
	}
	defer ways.close()
	a.ways = ways
	n, err := eachFlow(g.Layout.CTMask, func(f flow) (flowChange, uint32) {
		change, mark := a.adopt(f)
		if change == keepFlow {
			change, mark = a.adoptForwarded(f)
		}
		policy, homeless := a.homeless(f)
		if change != keepFlow || !homeless || f.translated() || a.own(f.src) {
			return change, mark
		}
		if u, ok := a.uplink(ways.ask(question{to: f.dst, mark: policy})); ok && u.masqueradesFlow(f) {
			return dropFlow, 0
		}
		return keepFlow, 0
	})
	if err != nil {
		return n, fmt.Errorf("firewall: heal flows: %w", err)
	}
	return n, nil
}

// ForgetFlows clears our bits in every flow's mark, and returns how many flows had
// any set. It is for the teardown, after the table is deleted.
func (k *Kernel) ForgetFlows(l lane.Layout) (int, error) {
	n, err := eachFlow(l.CTMask, func(f flow) (flowChange, uint32) {
		if f.mark&l.CTMask == 0 {
			return keepFlow, 0
		}
		return markFlow, 0
	})
	if err != nil {
		return n, fmt.Errorf("firewall: forget flows: %w", err)
	}
	return n, nil
}

// adopter determines the lanes of flows from the uplinks' addresses, and from the
// routes of flows without NAT.
type adopter struct {
	layout  lane.Layout
	uplinks map[netip.Addr]lane.Lane
	// ambiguous addresses are on several uplinks; they do not show by which one a
	// flow goes.
	ambiguous map[netip.Addr]bool
	// candidates are as in Goal.
	candidates map[netip.Addr]bool
	byLane     map[lane.Lane]Uplink

	ways ways
	// fresh are the uplinks that are adopted; nil for all.
	fresh   []lane.Lane
	native  map[lane.Lane][]netip.Prefix
	plain   map[lane.Lane][]Ends
	pending []flow // not answered, see unmasqueraded
	changed int
}

func newAdopter(g Goal) *adopter {
	a := &adopter{
		layout: g.Layout, uplinks: map[netip.Addr]lane.Lane{}, ambiguous: map[netip.Addr]bool{},
		candidates: map[netip.Addr]bool{}, byLane: map[lane.Lane]Uplink{}, native: map[lane.Lane][]netip.Prefix{}, plain: map[lane.Lane][]Ends{},
	}
	for _, addr := range g.Candidates {
		a.candidates[addr] = true
	}
	for _, u := range g.sorted().Uplinks {
		a.byLane[u.Lane] = u
		for _, addr := range u.Addresses {
			if before, ok := a.uplinks[addr]; ok && before != u.Lane {
				a.ambiguous[addr] = true
			}
			a.uplinks[addr] = u.Lane
		}
	}
	return a
}

// lane returns the uplink that alone has an address.
func (a *adopter) lane(addr netip.Addr) (lane.Lane, bool) {
	n, ok := a.uplinks[addr]
	return n, ok && !a.ambiguous[addr]
}

// own reports whether an address is on any uplink.
func (a *adopter) own(addr netip.Addr) bool {
	_, ok := a.uplinks[addr]
	return ok
}

func (a *adopter) laneless(f flow) bool { return f.mark&a.layout.CTMask == 0 }

// homeless reports whether the flow has no uplink's lane. It may have been given a policy
// since the table is back; policy is the packet mark for that.
func (a *adopter) homeless(f flow) (policy uint32, ok bool) {
	_, n := a.layout.CTLanes(f.mark)
	switch {
	case a.laneless(f):
		return 0, true
	case f.mark&a.layout.CTMask == a.layout.CTPair(0, n) && n.IsPolicy():
		return a.layout.Mark(n), true
	}
	return 0, false
}

func (a *adopter) adopt(f flow) (flowChange, uint32) {
	if !a.laneless(f) || a.own(f.src) && a.own(f.dst) { // the latter never leave this machine
		return keepFlow, 0
	}
	if n, ok := a.lane(f.dst); ok && a.adopts(n) {
		if a.near(f.src) {
			return keepFlow, 0
		}
		return markFlow, a.layout.CTPair(n, lane.Nobody)
	}
	n, ok := a.lane(f.replyDst)
	if !ok || !a.adopts(n) || a.own(f.src) && a.stays(f) {
		return keepFlow, 0
	}
	return markFlow, a.leaves(f, n)
}

// stays reports whether a flow of this machine's own leaves by no uplink, whatever its
// source: it is to this machine, or by a route that is no default.
func (a *adopter) stays(f flow) bool {
	if a.ways.handle == nil {
		return false
	}
	w, _ := a.ways.of(f, f.src, 0, f.replySrc) // packets with a mark get no lanes in any case
	_, beyond := a.uplink(w)
	return w.local || w.known() && !beyond && w.to.Bits() > 1
}

// near reports whether an address is this machine's own, or in a network that it reaches
// without an uplink and without a default route: what comes from there to an uplink's address
// came in by no uplink, and its answers must not leave by one.
func (a *adopter) near(addr netip.Addr) bool {
	if a.ways.handle == nil {
		return false
	}
	w := a.ways.plain(addr)
	_, beyond := a.uplink(w)
	return w.local || w.known() && !beyond && w.to.Bits() > 1
}

func (a *adopter) adopts(n lane.Lane) bool { return a.fresh == nil || slices.Contains(a.fresh, n) }

// leaves is the mark of a flow that left by an uplink under the default policy.
func (a *adopter) leaves(f flow, n lane.Lane) uint32 {
	mark := a.layout.CTPair(n, lane.DefaultPolicy)
	if f.established() {
		mark |= a.layout.CTEstablished()
	}
	return mark
}

// Bounds of an adoption: the networks that are found for each uplink, and the flows
// without answers that are remembered until the pass ends.
const (
	MostNative  = 64
	mostPending = 8192
)

// adoptOrFind adopts flows by their addresses, and the forwarded ones without NAT by
// their routes.
func (a *adopter) adoptOrFind(f flow) (flowChange, uint32) {
	change, mark := a.adopt(f)
	if change == keepFlow {
		change, mark = a.adoptForwarded(f)
	}
	if change != keepFlow || f.translated() || a.own(f.src) || a.own(f.dst) || a.candidates[f.src] || a.candidates[f.dst] {
		return change, mark
	}
	// TCP under way whose answers take another path goes on, but shows nothing: a segment
	// that is sent again and again looks the same.
	if !f.answered() && !f.established() {
		if a.laneless(f) && len(a.pending) < mostPending {
			a.pending = append(a.pending, f)
		}
		return keepFlow, 0
	}
	w, found := a.find(f)
	if found && f.answered() {
		a.remember(w)
	}
	switch {
	case !found || !w.sure || !a.laneless(f):
		return keepFlow, 0
	case w.inbound:
		return markFlow, a.layout.CTPair(w.uplink, lane.Nobody)
	}
	return markFlow, a.leaves(f, w.uplink)
}

// adoptForwarded gives lanes to a flow from outside that another program's destination
// NAT leads to a host inside, although its address is on no interface, as in a block that
// the provider routes here. It shows nothing of what is native.
func (a *adopter) adoptForwarded(f flow) (flowChange, uint32) {
	if !a.laneless(f) || !f.forwarded() || a.own(f.src) || a.own(f.dst) || a.ways.handle == nil {
		return keepFlow, 0
	}
	f.dst = f.replySrc
	w, found := a.find(f)
	if !found || !w.sure || !w.inbound {
		return keepFlow, 0
	}
	return markFlow, a.layout.CTPair(w.uplink, lane.Nobody)
}

// plainFlow is how a flow without NAT goes by an uplink.
type plainFlow struct {
	uplink  lane.Lane
	inbound bool // it began outside
	// sure is false where it leaves by the uplink or not, depending on a mark that is
	// not known. Such a flow shows what is native, and gets no lanes.
	sure bool
	ends Ends // the networks of its inner and its outer end
}

// find returns the way of a flow without NAT, false where it goes by no uplink that is
// adopted. Its inner end is the one that no uplink leads to.
func (a *adopter) find(f flow) (w plainFlow, ok bool) {
	inner, outer := f.src, f.dst
	network := a.ways.plain(inner)
	if _, outside := a.uplink(network); outside {
		inner, outer, w.inbound = f.dst, f.src, true
		network = a.ways.plain(inner)
	}
	if _, outside := a.uplink(network); outside || !network.inner() {
		return plainFlow{}, false // both ends are outside, or the inner one is behind a VPN's default
	}
	way, sure := a.ways.of(f, inner, network.index, outer)
	u, ok := a.uplink(way)
	if !ok || !a.adopts(u.Lane) || !w.inbound && a.ways.proxied(f, network.index) {
		return plainFlow{}, false
	}
	w.uplink, w.sure, w.ends = u.Lane, sure, Ends{network.to, way.to}
	return w, true
}

// addOwnNetworks takes the networks that are wholly this machine's for native on the
// uplink by which it sends what comes from there: without us nobody translates that.
func (a *adopter) addOwnNetworks() {
	for _, network := range a.ways.ownNetworks() {
		far := elsewhere[failover.IPv4]
		if network.Addr().Is6() {
			far = elsewhere[failover.IPv6]
		}
		w := a.ways.ask(question{to: far, from: network.Addr().Next()})
		if u, ok := a.uplink(w); ok && a.adopts(u.Lane) {
			a.remember(plainFlow{uplink: u.Lane, ends: Ends{network, w.to}})
		}
	}
}

// elsewhere are addresses that only a default route leads to: RFC 5737 and RFC 3849.
var elsewhere = [2]netip.Addr{failover.IPv4: netip.MustParseAddr("192.0.2.1"), failover.IPv6: netip.MustParseAddr("2001:db8:ffff:ffff::1")}

// remember keeps what is native on an uplink. A flow to a network that is routed there
// explicitly, such as that of a modem with a route back to us, says nothing about the
// internet.
func (a *adopter) remember(w plainFlow) {
	native, plain := a.native[w.uplink], a.plain[w.uplink]
	if w.ends.To.Bits() <= 1 {
		if len(native) < MostNative {
			a.native[w.uplink] = distinct(append(native, w.ends.From))
		}
	} else if len(plain) < MostNative && !slices.Contains(plain, w.ends) {
		a.plain[w.uplink] = append(plain, w.ends)
	}
}

// uplink returns the uplink that a way leads to.
func (a *adopter) uplink(w way) (Uplink, bool) {
	n, ok := a.ways.uplinks[w.index]
	if !ok {
		return Uplink{}, false
	}
	return a.byLane[n], true
}

// unmasqueraded returns the pending flows that leave by an uplink which would
// masquerade them. They began before anybody did.
func (a *adopter) unmasqueraded() []flow {
	return slices.DeleteFunc(a.pending, func(f flow) bool {
		network := a.ways.plain(f.src)
		if _, outside := a.uplink(network); outside || !network.known() {
			return true
		}
		way, sure := a.ways.of(f, f.src, network.index, f.dst)
		u, ok := a.uplink(way)
		native := slices.ContainsFunc(a.native[u.Lane], func(p netip.Prefix) bool { return p.Contains(f.src) })
		return !ok || !sure || !a.adopts(u.Lane) || native || !u.masqueradesFlow(f)
	})
}

// masqueradesFlow reports whether the uplink would masquerade a forwarded flow.
func (u Uplink) masqueradesFlow(f flow) bool {
	in := func(list []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	if slices.ContainsFunc(u.Plain, func(e Ends) bool { return e.From.Contains(f.src) && e.To.Contains(f.dst) }) {
		return false
	}
	if f.family == failover.IPv4 {
		return u.SNAT && !in(u.SNATExcept, f.src) && !in(u.SNATExcept, f.dst) && !in(u.Native4, f.src)
	}
	return in(u.insides(), f.src) || u.SNAT6 == Masquerade || u.SNAT6 == Foreign && !in(u.Native6, f.src)
}
