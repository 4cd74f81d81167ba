// Package daemon connects the other packages: the observations of package linkmon
// are passed to the engine of package failover, and its intents are applied to the
// kernel by packages routing and firewall. Package control serves the reports.
//
// Three owners share the work, all on one goroutine:
//
//   - the loop (loop.go, request.go) makes the decisions: it owns the engine, the
//     network that is watched and probed, the prepared configuration (setup.go,
//     lanes.go, rename.go) and the picture of the links (picture.go). Other goroutines use it
//     only by a request.
//   - the enforcer (enforcer.go) owns the kernel: the goal (goal.go, pure) and how
//     it is applied to the kernel (kernel.go), the moving of sessions, which two
//     workers do in goroutines of their own (worker.go), and the pace of repairs
//     (repair.go); retire.go ends the flows of uplinks that are used no more, and
//     stranger.go tells which default routes of others take no traffic.
//   - the reporter (reporter.go) owns what is reported to people and programs: log,
//     events, status, systemd's status line (notify.go), standing problems
//     (problems.go; judge.go has those that follow from a setup and its links
//     alone, judgereturn.go who waits or is held, mute.go whose gateway is silent),
//     when a policy is offline (outage.go), and the counters (counters.go; load.go reads those
//     that the engine needs to know who is full).
//
// The other files:
//
//   - daemon.go: Run, the order of start and stop; task.go: the parts that have
//     goroutines, which of them are vital, and what happens when one fails
//   - logqueue.go, fold.go: the log's way out, which never blocks, and what is folded in it
//   - machine.go: what the daemon watches, changes and reports to, which tests and
//     the simulator replace
//   - roster.go: when the clients are listed that a lost uplink leaves
//   - rescue.go: between which uplinks addresses are rescued, and how many are
//   - ruleinterfaces.go: the interfaces that rules name.
//   - keeper.go, state.go, history.go: the data that outlives the daemon, written in
//     the background
//   - prover.go, npt.go: which IPv6 prefixes are native, and which are translated
//   - masks.go: which bits of marks are ours, where other programs use some
//   - clock.go: instants and wall time
//   - lock.go: one daemon per network namespace
//   - plan.go, warn.go, teardown.go, examine.go: the functions that work without a running
//     daemon; taken.go is what they know of one that runs, and of `uplinks: auto`;
//     doctor.go has the findings, which are pure
package daemon
