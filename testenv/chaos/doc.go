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
// # The clock
//
// No namespace has a wall clock of its own, and the machine's is not the run's to set.
// So the daemon of make chaos is built with another time.Now, whose wall clock the run
// sets forward and back (instrument.go); it tells its goroutines and its heap as well.
//
// # What is not there
//
// A limit of a cgroup's memory: what the kernel then does is SIGKILL, which is there. A
// disk that turns read-only under an open file, which the kernel refuses to do: instead
// the state folder is on a read-only one from one moment to the next.
//
// # Soak
//
// With -soak the daemon is left alone for as long as the run lasts, links, addresses,
// routes, rules and tables are not, and what the daemon has is sampled (soak.go).
//
//   - main.go: options, and the run from start to end
//   - schedule.go: the kinds of fault, and when which of them happens
//   - act.go, line.go, daemon.go: how each is begun and mended
//   - instrument.go: a daemon with another clock
//   - soak.go: samples of what the daemon has, and what of it has grown
//   - truth.go: which uplinks worked when, by the faults
//   - gaps.go: what the client's logs say about that
//   - watch.go: leaks, ends, pauses
//   - calm.go: the checks after the storm
//   - journal.go: the log, the breaks and the summary
package main
