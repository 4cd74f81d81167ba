// Package routing keeps our routes, rules and sysctls in the kernel.
//
// # What lives here
//
// A [Goal] says what is wanted in the daemon's words: uplinks with their
// gateways and addresses, policies with their ladders. [Desired] turns it into
// a [State], the routes and rules that the kernel should hold. [Plan] compares
// two states and returns the [Op]s that lead from one to the other; both
// functions are pure. A [Kernel] is read and told one Op at a time: [Netlink] is
// the real one. [Apply] joins them: read, plan, do, read back, until nothing is
// left to do, and it reports only what the kernel was read to hold. [Teardown]
// is the way to the empty state. [Sysctls] are the few settings of interfaces
// that the routes rely on.
//
// # What is ours
//
// Every route and rule of ours bears [lane.Protocol]. The dumps ask the kernel for
// that protocol, so nothing else is ever compared, replaced or deleted. What
// others hold is read by [Netlink.Foreign] for one purpose: to stay out of the
// slots that they use.
//
// # Slots
//
// The kernel knows a route of a table by destination, type of service and
// metric: its [Slot]. A replace puts a new route into a slot in one step, and a
// packet meets the old one or the new one. All moves of traffic are such
// replaces, best rung first, so a table that has a default route never lacks
// one in between. New slots in the main table, where others put routes too, are
// filled by an exclusive add instead, which fails where a replace would take
// over a route that came there a moment ago.
//
// A lookup of IPv6 that is under way on another processor in the microsecond of
// a replace may find neither (once in some 1,000 replaces under 40,000 lookups a
// second; never in IPv4). It goes on to the next rule then, and to a default
// route in main, which is one more use of the ladder's copy there.
//
// # Order
//
// Routes before the rules that lead to them, the best rungs of all tables before
// the second ones, additions before removals, rules before the tables that they
// lead to when both go. A packet never meets a rule without its table at a
// first start, and every prefix of a plan is a machine that works.
package routing
