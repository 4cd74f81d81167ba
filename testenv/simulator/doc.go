// Package simulator plays weeks of link life to the real decision engine in
// seconds, and hours to the daemon's whole loop: a fake network in virtual time,
// with a watch over every step.
//
// A [Script] is a configuration file, a line of dashes, and what befalls the
// network at which instant. It is text that people read and write, and all that
// a run depends on: the lots of each path are drawn from a generator of its own,
// sown by the script's seed, so equal scripts give equal runs, and leaving a line
// out disturbs no other path. [Life] writes scripts by lot. Where something breaks
// the [Failure] holds the script up to that instant.
//
//   - script.go: the script's text
//   - network.go, apply.go: the network, and what the script's lines do to it
//   - life.go: scripts by lot, as rough as asked
//   - wire.go, episodes.go: the model of a path
//   - queue.go: what will happen, in order
//   - shrink.go: makes a failing script short
//
// [Play] plays a script to package failover, with the caller's duties as its
// package doc tells them:
//
//   - world.go: virtual time, and the engine's caller
//   - watch.go: what must hold after every step
//   - truth.go: what was truly so, which the engine cannot know
//   - stats.go: what is counted
//   - all.go: many scripts side by side
//
// [PlayGateway] plays it to the daemon's loop on the fake kernel of testenv/fake.
// There a simulated second costs a hundred times as much, and what is held
// is what the kernel has:
//
//   - gateway.go: the loop's machine, and the one who lets things happen
//   - kernel.go: what must hold after every change of the kernel
//
// Traffic hints, the operator's hand, restarts and foreign programs are not played
// here; the random worlds of failover's tests and the daemon's own tests play them.
package simulator
