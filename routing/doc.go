// Package routing keeps our routes, rules and sysctls in the kernel.
//
// # Reconciling
//
// A [Goal] is the desired configuration in the daemon's terms: uplinks with their
// gateways and addresses, policies with their ladders. [Desired] converts it to a
// [State], the routes and rules that the kernel should hold. [Plan] compares two
// states and returns the [Op]s that lead from one to the other; both functions
// are pure. A [Kernel] can be read, and does one Op at a time; [Netlink] is the
// real one. [Apply] reconciles the kernel with a state: it reads, plans, does the
// ops and reads back, until nothing is left to do, and reports only what it has
// read. [Teardown] applies the empty state. [Sysctls] manages the few settings of
// interfaces that the routes rely on.
//
// [Enforce] does the same for a Goal, and goes on where the kernel refuses an uplink:
// its route loses what is refused of its shape (accept.go), or is left out of every
// ladder, so that the rest stands as if it was not there.
//
// # Shape
//
// A [Path] has the [failover.Shape] of the route that its gateway was learnt from, and
// each of our routes by it has it too: it is part of what is compared, printed and
// read back. The kernel keeps one shape for a route of several hops, see
// [failover.Shape.Shared].
//
// # What is ours
//
// Every route and rule of ours has the protocol [lane.Protocol]. Dumps request
// only that protocol, so that nothing else is ever compared, replaced or deleted.
// [Netlink.ReadOthers] reads the default routes of other programs, to avoid the slots
// that they use and to keep those in force that come before the uplinks', and
// [Netlink.Pins] the host routes that may bind an address to one uplink.
//
// A better default of another program stays in force ([Goal.ForeignDefault]), and so
// does one for a source or a TOS value alone (source.go); what
// leads to a lost uplink is overruled by routes of ours at a better metric, never
// replaced or deleted (overrule.go).
//
// # Slots
//
// The kernel identifies a route in a table by destination, type of service and
// metric: its [Slot]. A replace puts a new route into a slot atomically: a packet
// uses either the old route or the new one. Traffic is only ever moved by such
// replaces, best rung first, so that a table with a default route is never
// without one in between. New slots in the main table, to which other programs
// add routes too, are filled by an exclusive add instead: it fails where a replace
// would overwrite a route that another program added a moment ago.
//
// An IPv6 lookup that runs on another processor in the microsecond of a replace
// may find neither route (about once in 1,000 replaces under 40,000 lookups a
// second; never in IPv4). It then continues with the next rule, and finds a
// default route in main, which is one more reason for the ladder's copy there.
//
// # Order
//
// Routes come before the rules that lead to them, the best rungs of all tables
// before the second ones, additions before removals, and, in removals, rules
// before the tables that they lead to. At a first start no packet matches a rule
// whose table is still empty, and every prefix of a plan leaves a working
// machine.
package routing
