// Package simulator plays weeks of link life to the real decision engine in
// seconds, and hours to the daemon's whole loop: a fake network in virtual time,
// with every step checked against the rules.
//
// A [Script] is a configuration file, a line of dashes, and timed lines: changes of
// the network and of the flows that use it, requests of the operator, restarts, and
// other configurations. It is text that people read and write, and the run depends on
// nothing else: each path draws from its own random generator, seeded by the script,
// so equal scripts give equal runs, and removing a line affects no other path. [Life]
// writes random scripts with a given rate of faults; [RandomLife] has a random
// configuration too. Where a rule is broken, the [Failure] has the script up to that
// instant.
//
//   - script.go: the script's text
//   - network.go, apply.go, reload.go: the network and the configuration in force,
//     and what the script's lines do to them
//   - life.go: random scripts
//   - wire.go, episodes.go, hardship.go: the model of a path
//   - truth.go: the true state of each path, which no decision can know
//   - queue.go: future occurrences, in order
//   - rules.go: the rules, each once
//   - account.go: what the rules read: verdicts, links, ladders, the operator
//   - stats.go: what is counted
//   - shrink.go: shortens a failing script
//
// [Play] plays a script to package failover and fulfils the caller's duties listed in
// its package documentation. Tests that proceed step by step, such as those of package
// failover, make a [World] with [NewWorld].
//
//   - world.go: virtual time, and the engine's caller
//   - watch.go: follows the engine's output and checks the rules
//   - all.go: many scripts concurrently
//
// [PlayGateway] plays a script to the daemon's loop on the fake kernel of
// testenv/fake. There a simulated second costs a hundred times as much, and the rules
// are checked against the state of the kernel:
//
//   - gateway.go: the loop's environment, and the player that runs the script
//   - kernel.go: follows each change of the kernel and checks the rules
//
// The daemon has no request for the operator yet: it receives such a line among the
// observations of its network. Foreign programs occur only in the daemon's own tests.
package simulator
