// Package linkmon watches the links of the uplinks, and probes through each of them
// whether the internet answers.
//
// It has three parts that report to one outbox:
//
//   - The watch follows the kernel by rtnetlink. Each message only makes it read
//     links, addresses and routes again, compare them with the last reading, and
//     report what has changed as a [failover.LinkChanged]. See watch.go, gateway.go
//     for how a next hop is learnt from other programs' default routes, inside.go for
//     the hosts of an uplink's own network behind this machine, and own.go
//     for the machine's own addresses.
//   - The prober sends the engine's probes, each through its uplink (by the uplink's
//     address, mark and device), and reports their outcomes. See probe.go, and
//     method.go for the table of probe methods, each of which has a file of its own:
//     icmp.go, tcp.go, http.go (with tls.go) and dns.go; socket.go for the sockets of all
//     but the first.
//   - The traffic that passes gives a hint where it leaves an uplink and nothing
//     comes back: a [failover.Traffic], sooner than the next probe. See traffic.go,
//     and pulse.go for when. On suspicion witness.go listens whether established
//     flows still receive.
//
// # Taking observations
//
// Events wait as [Observation]s in a [Monitor]. [Monitor.Ready] signals that there
// are some and [Monitor.Take] returns them, oldest first. Nothing here waits for the
// caller: a newer state of a link replaces an older one that was not taken yet, and
// the number of probes in flight is limited. So a slow caller finds the present
// state, not a backlog.
//
// # Namespaces
//
// The network namespace of a socket is that of the thread that opens it. [New] opens
// all of the watch's sockets, on its caller's thread. Probes open theirs when they
// are sent, on any thread, so a process that probes has to be in its namespace as a
// whole, as the daemon is.
package linkmon
