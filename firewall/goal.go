package firewall

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"swerve/failover"
	"swerve/lane"
)

// Goal is everything that determines the table. The order of its lists does not
// matter: equal contents have equal tables.
type Goal struct {
	Layout  lane.Layout
	Uplinks []Uplink
	// Policies include the default policy, which has its fixed lane.
	Policies []Policy
	// FormerPolicies are lanes of policies that are no more. Their flows stay on their
	// uplink until it is lost.
	FormerPolicies []lane.Lane
	// Former are addresses of devices that were uplinks': no uplink carries them.
	Former []netip.Addr
	// Rules assign flows to policies, the first that matches; what matches none is the
	// default policy's. Their list must not be changed afterwards.
	Rules []Rule
	// Sets are those that rules name.
	Sets []Set
	// Lost are, by family, the pairs whose flows have to leave their uplink.
	Lost [2][]Pair
	// Drained are, by family, the uplinks that the default policy's flows have to leave and
	// that are not down: what is asked by them goes on to be answered.
	Drained [2][]lane.Lane
	// Refused are, by family, the pairs of policies that block whose flows have no way: they
	// are answered at once. With no uplink it is new flows.
	Refused [2][]Pair
	// Kept are marks by which rules of other programs select, with bits of ours: they
	// stay on packets of flows that have no lane.
	Kept []Mark
	// Exempt are marks, looked at with bits of ours, without which rules of other programs
	// lead packets elsewhere, as those of a VPN do: what comes in with one keeps it as it is.
	Exempt []Mark
	// Shunned are, by family, the pairs whose new flows the uplink would take if it were not
	// shunned. They are counted, those of a policy for its first such uplink.
	Shunned [2][]Pair
	// Deaf are, by family, the uplinks whose own resolvers are answered for with an error.
	Deaf [2][]lane.Lane
	// Trials are IPv6 addresses of this machine on no uplink, from which echo requests with
	// an uplink's mark show whether the uplink carries them: they are never translated,
	// and do not count as its probes.
	Trials []netip.Addr
	// Asked are the ends that probes by TCP and UDP connect to. What a socket with an
	// uplink's mark sends there is a probe of that uplink.
	Asked []Endpoint
	// Wildcards: the kernel tells which sockets are bound to no address, so that what UDP
	// sockets answer comes from the address that was asked. See [Kernel.TellsWildcards].
	Wildcards bool
	// Rescue is how addresses are rescued that a policy's uplink does not reach.
	Rescue Rescue
	// Candidates are addresses of interfaces that may become uplinks. A flow with one may
	// have been bound to its interface, so it shows nothing of the uplinks.
	Candidates []netip.Addr
}

// Endpoint is a port of a host.
type Endpoint struct {
	// UDP: the port is one of UDP, else one of TCP.
	UDP bool
	At  netip.AddrPort
}

// Mark is a packet's mark under a mask.
type Mark struct{ Value, Mask uint32 }

// Uplink is what the firewall needs to know about one uplink.
type Uplink struct {
	Lane lane.Lane
	// Name is the user's; it is only used in comments.
	Name string
	// Interface is the kernel's name, whether or not such a device exists now.
	// While it is empty, or has a character that nft cannot write (quote,
	// backslash, asterisk, dollar), the uplink's flows are recognised but none can begin.
	Interface string
	// Former is another interface that flows of this lane may use: until the routes have
	// moved to Interface (see Goal.Transition), or a name that the device may have again.
	// Usually it is empty.
	Former string
	// Addresses are those of the gateway itself on this uplink, in both families: a
	// packet with one of these as its source never leaves by another uplink.
	Addresses []netip.Addr
	// Borrowed are those of Addresses that are on other devices, since it has none of
	// its own. They may leave by another uplink that does not translate them.
	Borrowed []netip.Addr
	// Links are the networks of the interface's addresses: what goes there takes no default
	// route, and is kept off no uplink by a policy that blocks.
	Links []netip.Prefix
	// Source is, by family, the source that packets by this uplink should have where
	// masquerading would choose another one: what is to be masqueraded is translated to it,
	// except for what goes to Links. Invalid where the kernel's own choice is right.
	Source [2]netip.Addr
	// MarkArrivals gives packets that come in by this uplink its lane, so that strict
	// reverse path filtering (RFC 3704) uses the uplink's own table. It requires
	// src_valid_mark to be set on the interface.
	MarkArrivals bool

	// DNS are the uplink's own resolvers. One that several uplinks have is the first one's.
	DNS []netip.Addr
	// MTU is what the uplink carries, by family, for TCP's segment size; 0 if unknown.
	MTU [2]int

	// SNAT masquerades IPv4, except for sources and destinations in SNATExcept.
	SNAT       bool
	SNATExcept []netip.Prefix
	// Native4 are IPv4 sources that are never masqueraded.
	Native4 []netip.Prefix
	// Beside are the IPv4 networks that the uplink's own gateway is in. What comes in by
	// the uplink's interface from a host there, and leaves by it, is not masqueraded: the
	// gateway's answers reach that host without this machine.
	Beside []netip.Prefix
	SNAT6  SNAT6
	// Native6 are the IPv6 prefixes that this uplink routes to us, including that of
	// the link itself.
	Native6 []netip.Prefix
	// NPT are the IPv6 prefixes that are translated, before what SNAT6 says of their
	// sources, in both directions.
	NPT []PrefixPair
	// Plain are flows that are never masqueraded, found by an adoption.
	Plain []Ends
	// Found are those networks of Native4 and Native6 that an adoption found. They are
	// kept with the table, as Plain is: see Observed.
	Found []netip.Prefix
}

// Ends are the networks between which flows go.
type Ends struct {
	From netip.Prefix `json:"from"`
	To   netip.Prefix `json:"to"`
}

// IsValid reports whether both are networks of the same family.
func (e Ends) IsValid() bool {
	return e.From.IsValid() && e.To.IsValid() && e.From.Addr().Is4() == e.To.Addr().Is4()
}

// String returns both, as "FROM to TO".
func (e Ends) String() string { return e.From.String() + " to " + e.To.String() }

// plain returns the flows of a family that are never masqueraded.
func (u Uplink) plain(f failover.Family) []Ends {
	return slices.DeleteFunc(slices.Clone(u.Plain), func(e Ends) bool {
		return !e.IsValid() || e.From.Addr().Is4() != (f == failover.IPv4)
	})
}

// SNAT6 says which IPv6 sources an uplink masquerades.
type SNAT6 uint8

// The kinds of IPv6 source NAT.
const (
	// Foreign masquerades sources outside Native6; all sources if that is empty.
	Foreign SNAT6 = iota
	// Masquerade masquerades every source.
	Masquerade
	// None masquerades nothing.
	None
)

// Policy is what the firewall needs to know about one policy.
type Policy struct {
	Lane lane.Lane
	// Name is the user's; it is only used in comments.
	Name string
	// Uplinks are the lanes of the policy's own uplinks.
	Uplinks []lane.Lane
	// Block: flows of this policy never leave by an uplink that is not its own.
	Block bool
	// Spread says which flows stay together on one of Members. With [NoSpread] there are
	// no members.
	Spread Spread
	// Members are, by family, the uplinks that share new flows by weight. Where there are
	// fewer than two the routes decide.
	Members [2][]Member
	// Tier is, by family, all that the members are a part of: where one is absent, the
	// others' flows stay as they are. It may be empty.
	Tier [2][]Member
	// Detour is, by family, the uplink of new flows, and the next one, which rescues what
	// that does not reach; none where new flows are shared, or there is no next one.
	Detour [2]Detour
}

// Member is an uplink's part in what a policy's new flows are shared by.
type Member struct {
	Uplink lane.Lane
	// Weight is at least 1.
	Weight int
}

// Spread says which flows of a policy stay together on one uplink.
type Spread uint8

// The kinds of spread.
const (
	// NoSpread leaves it to the routes.
	NoSpread Spread = iota
	// Pairs keeps flows between two addresses together, Clients those from one, and
	// Flows none.
	Pairs
	Clients
	Flows
)

// Pair identifies the flows that one policy sent to one uplink.
type Pair struct{ Uplink, Policy lane.Lane }

// Barred returns the pairs of policies that block and uplinks that are not theirs.
func (g Goal) Barred() []Pair {
	var out []Pair
	for _, p := range g.blocking() {
		for _, u := range g.Uplinks {
			if !p.uses(u.Lane) {
				out = append(out, Pair{u.Lane, p.Lane})
			}
		}
	}
	return out
}

// sorted returns a copy in the order of lanes, without the parts that cannot be
// applied: uplinks and policies with a lane of another kind, further ones with the
// same lane, pairs of unknown lanes; of further uplinks on the same interface the
// interface is removed. The kernel refuses a transaction as a whole, so one bad
// part must not affect the others.
func (g Goal) sorted() Goal {
	g.Uplinks = sortedUplinks(g.Uplinks)
	g.Policies = slices.Clone(g.Policies)
	slices.SortStableFunc(g.Policies, func(a, b Policy) int { return cmp.Compare(a.Lane, b.Lane) })
	g.Policies = slices.CompactFunc(g.Policies, func(a, b Policy) bool { return a.Lane == b.Lane })
	g.Policies = slices.DeleteFunc(g.Policies, func(p Policy) bool { return !p.Lane.IsPolicy() })
	for i := range g.Policies {
		for _, f := range failover.Families {
			g.Policies[i].Members[f] = g.sortedMembers(g.Policies[i].Members[f])
			g.Policies[i].Tier[f] = g.sortedMembers(g.Policies[i].Tier[f])
			g.Policies[i].Detour[f] = g.sortedDetour(g.Policies[i], g.Policies[i].Detour[f])
		}
	}
	g.FormerPolicies = slices.DeleteFunc(slices.Clone(g.FormerPolicies), func(n lane.Lane) bool {
		return !n.IsPolicy() || slices.ContainsFunc(g.Policies, func(p Policy) bool { return p.Lane == n })
	})
	slices.Sort(g.FormerPolicies)
	g.FormerPolicies = slices.Compact(g.FormerPolicies)
	for _, f := range failover.Families {
		g.Lost[f], g.Shunned[f] = g.sortedPairs(g.Lost[f]), g.sortedPairs(g.Shunned[f])
		g.Refused[f] = g.sortedRefused(g.Refused[f])
	}
	g.Sets = slices.Clone(g.Sets)
	slices.SortStableFunc(g.Sets, func(a, b Set) int { return cmp.Compare(a.Name, b.Name) })
	g.Sets = slices.CompactFunc(g.Sets, func(a, b Set) bool { return a.Name == b.Name })
	for i := range g.Sets {
		g.Sets[i].Timeout = g.Sets[i].Timeout.Truncate(time.Second) // the kernel rounds what is shorter
	}
	g.Trials = sortedAddresses(slices.DeleteFunc(slices.Clone(g.Trials), func(a netip.Addr) bool { return !a.Is6() }))
	g.Kept, g.Exempt = sortedMarks(g.Kept), sortedMarks(g.Exempt)
	g.Asked = sortedEndpoints(g.Asked)
	return g
}

// sortedEndpoints returns the valid ones by family, protocol, port and address, each once.
func sortedEndpoints(in []Endpoint) []Endpoint {
	var out []Endpoint
	for _, e := range in {
		if e.At.IsValid() && e.At.Addr().Zone() == "" && e.At.Port() != 0 && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].compare(out[j]) < 0 })
	return out
}

func (e Endpoint) compare(o Endpoint) int {
	udp := map[bool]int{true: 1}
	return cmp.Or(cmp.Compare(e.At.Addr().BitLen(), o.At.Addr().BitLen()), cmp.Compare(udp[e.UDP], udp[o.UDP]),
		cmp.Compare(e.At.Port(), o.At.Port()), e.At.Addr().Compare(o.At.Addr()))
}

func sortedMarks(in []Mark) []Mark {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b Mark) int { return cmp.Or(cmp.Compare(a.Mask, b.Mask), cmp.Compare(a.Value, b.Value)) })
	return slices.Compact(out)
}

// Transition returns the goal for the time in which routes move from the interfaces of
// an earlier goal to those of this one: both masquerade, since no flow may begin on an
// interface that does not yet, or no longer does: it would keep the wrong source for as
// long as it lasts. It reports false if this goal has no interface that the earlier one
// has not, so that nothing can begin too early.
func (g Goal) Transition(from Goal) (Goal, bool) {
	before, now, further := map[string]bool{}, map[string]bool{}, false
	for _, u := range from.Uplinks {
		before[u.Interface] = true
	}
	for _, u := range g.Uplinks {
		now[u.Interface] = true
		further = further || u.Interface != "" && !before[u.Interface]
	}
	if !further {
		return g, false
	}
	g.Uplinks = slices.Clone(g.Uplinks)
	for _, u := range from.Uplinks {
		i := slices.IndexFunc(g.Uplinks, func(v Uplink) bool { return v.Lane == u.Lane })
		switch {
		case now[u.Interface]: // another uplink's by now, or nothing changes
		case i >= 0:
			g.Uplinks[i].Former = u.Interface
		default:
			g.Uplinks = append(g.Uplinks, u)
		}
	}
	return g, true
}

// sameButLost reports whether two sorted goals differ at most in what a verdict changes:
// pairs that are lost, shunned or refused, resolvers that are not asked, members and detours.
func (g Goal) sameButLost(other Goal) bool {
	g.Lost, other.Lost = [2][]Pair{}, [2][]Pair{}
	g.Refused, other.Refused = [2][]Pair{}, [2][]Pair{}
	g.Shunned, other.Shunned = [2][]Pair{}, [2][]Pair{}
	g.Deaf, other.Deaf = [2][]lane.Lane{}, [2][]lane.Lane{}
	g.Drained, other.Drained = [2][]lane.Lane{}, [2][]lane.Lane{}
	g.Policies, other.Policies = withoutMembers(g.Policies), withoutMembers(other.Policies)
	if len(g.Rules) == len(other.Rules) && (len(g.Rules) == 0 || &g.Rules[0] == &other.Rules[0]) {
		g.Rules, other.Rules = nil, nil // the same list: there may be thousands
	}
	return reflect.DeepEqual(g, other)
}

func sortedUplinks(in []Uplink) []Uplink {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b Uplink) int { return cmp.Compare(a.Lane, b.Lane) })
	out = slices.CompactFunc(out, func(a, b Uplink) bool { return a.Lane == b.Lane })
	out = slices.DeleteFunc(out, func(u Uplink) bool { return !u.Lane.IsUplink() })
	taken := map[string]bool{}
	for i, u := range out {
		if !writable(u.Interface) || taken[u.Interface] {
			out[i].Interface = ""
		}
		taken[u.Interface] = true
		out[i].Native6 = distinct(ofFamily(u.Native6, failover.IPv6))
		out[i].DNS = sortedAddresses(u.DNS)
		out[i].NPT = sortedTranslations(u.NPT)
		out[i].Links = slices.Concat(distinct(ofFamily(u.Links, failover.IPv4)), distinct(ofFamily(u.Links, failover.IPv6)))
		out[i].SNATExcept = distinct(ofFamily(u.SNATExcept, failover.IPv4))
		out[i].Native4 = distinct(ofFamily(u.Native4, failover.IPv4))
		out[i].Beside = distinct(ofFamily(u.Beside, failover.IPv4))
	}
	for i, u := range out {
		if !writable(u.Former) || taken[u.Former] {
			out[i].Former = ""
		}
		taken[u.Former] = true
	}
	return out
}

// sortedAddresses returns valid addresses sorted, each once.
func sortedAddresses(in []netip.Addr) []netip.Addr {
	out := slices.DeleteFunc(slices.Clone(in), func(a netip.Addr) bool { return !a.IsValid() || a.Zone() != "" })
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// writable reports whether an interface name can be written in nft text. The kernel
// allows names that nft cannot quote.
func writable(name string) bool {
	const longest = 15 // IFNAMSIZ - 1
	return len(name) <= longest && !strings.ContainsAny(name, "\"\\*$") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (g Goal) sortedPairs(in []Pair) []Pair {
	out := slices.DeleteFunc(slices.Clone(in), func(p Pair) bool {
		return !slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return u.Lane == p.Uplink }) ||
			!slices.ContainsFunc(g.Policies, func(q Policy) bool { return q.Lane == p.Policy })
	})
	slices.SortFunc(out, comparePairs)
	return slices.Compact(out)
}

func (g Goal) sortedMembers(in []Member) []Member {
	out := slices.DeleteFunc(slices.Clone(in), func(m Member) bool {
		return !slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return u.Lane == m.Uplink })
	})
	slices.SortStableFunc(out, func(a, b Member) int { return cmp.Compare(a.Uplink, b.Uplink) })
	return slices.CompactFunc(out, func(a, b Member) bool { return a.Uplink == b.Uplink })
}

// sortedRefused returns the pairs of policies that block, without an uplink or with one
// that exists.
func (g Goal) sortedRefused(in []Pair) []Pair {
	out := slices.DeleteFunc(slices.Clone(in), func(p Pair) bool {
		return p.Uplink != 0 && !slices.ContainsFunc(g.Uplinks, func(u Uplink) bool { return u.Lane == p.Uplink }) ||
			!slices.ContainsFunc(g.blocking(), func(q Policy) bool { return q.Lane == p.Policy })
	})
	slices.SortFunc(out, comparePairs)
	return slices.Compact(out)
}

func withoutMembers(in []Policy) []Policy {
	out := slices.Clone(in)
	for i := range out {
		out[i].Members, out[i].Tier, out[i].Detour = [2][]Member{}, [2][]Member{}, [2]Detour{}
	}
	return out
}

func comparePairs(a, b Pair) int {
	return cmp.Or(cmp.Compare(a.Uplink, b.Uplink), cmp.Compare(a.Policy, b.Policy))
}

// masqueradesAll reports, by family, whether the uplink masquerades every source.
func (u Uplink) masqueradesAll() [2]bool {
	return [2]bool{u.SNAT, u.SNAT6 == Masquerade || u.SNAT6 == Foreign && len(u.Native6) == 0}
}
