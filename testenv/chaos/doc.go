// Command chaos plays random faults to a gateway for minutes, and watches from outside
// what has to hold whatever happens. A lab (package lab) has the daemon as a process of
// its own, and a client on the LAN (package traffic); links, addresses, routes, rules,
// nftables, the daemon, its disk, its log and its configuration are broken, many at a
// time, by a schedule that the seed alone decides.
//
// # What has to hold
//
//   - While an uplink works, new sessions of the LAN's client work within a second, in
//     both families. What works is known from the faults (truth.go): an uplink that
//     nothing impairs, and that nothing has impaired for a settle time.
//   - No packet leaves by an uplink with a source address that is not that uplink's:
//     the wires count them.
//   - The daemon ends only where it is told to, and does not panic or race.
//   - After the storm everything is as before it: the status is ok, the kernel holds
//     the plan, nothing has grown, and teardown leaves nothing (calm.go).
//
// What breaks is reported with its time and the faults of the seconds before, and makes
// the command fail. The machine's own pauses are measured, and no break is counted that
// they may have made.
//
// # Playing a run again
//
// The log's first line has the command that plays the same faults at the same times.
// With -pick 7,12 only those of its faults happen, with -without kill all but those of
// a kind; so a break is reduced to the faults that it needs.
//
// The wall clock is left out: no namespace has one of its own, and the machine's is not
// the run's to set. So is a disk that turns read-only: the kernel refuses that while the
// daemon has a file open there.
//
//   - main.go: options, and the run from start to end
//   - schedule.go: the kinds of fault, and when which of them happens
//   - act.go, daemon.go: how each is begun and mended
//   - truth.go: which uplinks worked when, by the faults
//   - gaps.go: what the client's logs say about that
//   - watch.go: leaks, ends, pauses
//   - calm.go: the checks after the storm
//   - journal.go: the log, the breaks and the summary
package main
