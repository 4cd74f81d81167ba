// Package daemon joins the parts: what package linkmon observes goes to the engine
// of package failover, and what the engine intends goes to the kernel through
// packages routing and firewall. Package control serves what is reported about it.
//
// Three owners share the work, all on one goroutine:
//
//   - the loop (loop.go, request.go) decides: it owns the engine, the network that
//     is watched and probed, the configuration made ready (setup.go, lanes.go) and
//     the picture of the links (picture.go). Whoever wants something of the daemon
//     asks by one door, a request.
//   - the enforcer (enforcer.go) owns the kernel: the goal (goal.go, pure) and how
//     it is brought into the kernel (kernel.go), sessions that have to move, which a
//     worker carries out in a goroutine of its own (worker.go), and the pace of
//     repairs (repair.go).
//   - the reporter (reporter.go) owns what people and programs are told: log,
//     events, status, systemd's line (notify.go), standing problems (problems.go;
//     judge.go has those that follow from a setup and its links alone) and the
//     counters (counters.go).
//
// Around them:
//
//   - daemon.go: Run, the order of start and stop; task.go: the parts that have
//     goroutines, which of them are vital, and what happens when one fails
//   - machine.go: what the daemon watches, changes and reports to, which tests and
//     the simulator replace
//   - keeper.go, state.go, history.go: what outlives the daemon, written in the
//     background
//   - clock.go: instants and wall time
//   - lock.go: one daemon a network namespace
//   - plan.go, teardown.go: what there is without a daemon
package daemon
