// Package daemon joins the parts: what package linkmon sees goes to the engine
// of package failover, and what the engine wants goes to the kernel by packages
// routing and firewall. Package control tells people about it.
//
// One goroutine, the loop, owns the engine and the kernel's goal; see loop.go.
// Around it:
//
//   - machine.go: what it watches, changes and tells, as tests can make it up
//   - setup.go, own.go: one configuration made ready, with its lanes, and without
//     targets that are this machine itself
//   - goal.go: the engine's intent in the words of routing and firewall, pure
//   - apply.go: bringing the kernel to it, in the right order
//   - sessions.go: what happens to flows and sockets afterwards
//   - repair.go: what others changed of ours, and how fast it is put back
//   - reload.go: another configuration while running
//   - status.go, problems.go, alike.go, counters.go: what people are told
//   - lock.go, notify.go: one daemon a namespace, and a word to systemd
//   - lanes.go, store.go, memory.go: the numbers of names, and how they last
//   - daemon.go, plan.go, teardown.go: Run, and what there is without a daemon
package daemon
