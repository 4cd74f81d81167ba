// Package simulator plays weeks of link life to the real decision engine in
// seconds, and hours to the daemon's whole loop: a fake network in virtual time,
// with every step held against the rules.
//
// A [Script] is a configuration file, a line of dashes, and what happens at which
// instant: to the network, to the flows that use it, what the operator asks for,
// restarts, and other configurations. It is text that people read and write, and all
// that a run depends on: each path draws from a random generator of its own, seeded
// by the script, so equal scripts give equal runs, and leaving a line out disturbs no
// other path. [Life] writes random scripts, as rough as asked; [RandomLife] has a
// random configuration too. Where a rule breaks the [Failure] has the script up to
// that instant.
//
//   - script.go: the script's text
//   - network.go, apply.go, reload.go: the network and the configuration in force,
//     and what the script's lines do to them
//   - life.go: random scripts
//   - wire.go, episodes.go: the model of a path
//   - truth.go: what is truly so with each path, which no decision can know
//   - queue.go: what will happen, in order
//   - rules.go: the rules, each once
//   - account.go: what the rules are about: verdicts, links, ladders, the operator
//   - stats.go: what is counted
//   - shrink.go: makes a failing script short
//
// [Play] plays a script to package failover, with the caller's duties as its
// package documentation has them. Tests that let things happen step by step, as
// those of package failover do, make a [World] with [NewWorld].
//
//   - world.go: virtual time, and the engine's caller
//   - watch.go: follows the engine's output, and asks the rules
//   - all.go: many scripts side by side
//
// [PlayGateway] plays it to the daemon's loop on the fake kernel of testenv/fake.
// There a simulated second costs a hundred times as much, and what is held against
// the rules is what the kernel has:
//
//   - gateway.go: the loop's machine, and the player that lets things happen
//   - kernel.go: follows each change of the kernel, and asks the rules
//
// The daemon has no door for the operator yet: there it gets such a line among what
// its network has seen. Foreign programs are played by the daemon's own tests alone.
package simulator
