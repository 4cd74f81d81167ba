// Package linkmon is the daemon's eye: it tells how the uplinks' links stand,
// and asks through each of them whether the internet still answers.
//
// It has three parts that share one way out:
//
//   - The watch follows the kernel by rtnetlink. Its messages are only hints:
//     each makes it read links, addresses and routes again, compare, and tell
//     what has changed as a [failover.LinkChanged]. See watch.go, gateway.go
//     for how a next hop is learnt from other programs' default routes, and own.go
//     for what is this machine itself.
//   - The prober sends the engine's probes, each by the uplink that it names
//     (its address, its mark, its device), and tells what came of it. See
//     probe.go; what can be probed is a [target.Target].
//   - The traffic that passes gives a hint where it leaves an uplink and nothing
//     comes back: [failover.Traffic], sooner than the next probe. See traffic.go,
//     and pulse.go for when.
//
// # Taking observations
//
// What was seen waits as [Observation]s in a [Monitor]; [Monitor.Ready] says
// that there are some and [Monitor.Take] hands them over, oldest first. Nothing
// here ever waits for the taker: a newer state of a link replaces an older one
// that was not taken yet, and the number of probes in flight is limited. So the
// caller may be slow, and finds the present when it comes back, not a backlog.
//
// # Namespaces
//
// The kernel decides by the calling thread to which network namespace a socket
// belongs. [New] opens all of the watch's sockets, on its caller's thread; probes
// open theirs when they are sent, on any thread, so a process that probes has to
// be in its namespace as a whole, as the daemon is.
package linkmon
