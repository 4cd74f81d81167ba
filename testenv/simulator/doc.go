// Package simulator plays weeks of link life to the real decision engine in
// seconds: a fake network in virtual time, with a watch over every step.
//
// A [Script] is a configuration file, a line of dashes, and what befalls the
// network at which instant. It is text that people read and write, and all that
// a run depends on: the lots of each path are drawn from a generator of its own,
// sown by the script's seed, so equal scripts give equal runs, and leaving a line
// out disturbs no other path. [Life] writes scripts by lot; [Play] plays one.
// Where something breaks the [Failure] holds the script up to that instant.
//
//   - script.go: the script's text
//   - apply.go: what its lines do to the network
//   - life.go: scripts by lot, as rough as asked
//   - wire.go, episodes.go: the model of a path
//   - queue.go, world.go: virtual time, and the engine's caller
//   - watch.go: what must hold after every step
//   - truth.go: what was truly so, which the engine cannot know
//   - stats.go: what is counted
//   - shrink.go: makes a failing script short
//
// What is simulated is package failover with the caller's duties as its package
// doc tells them. The daemon's loop is not: its seams are internal to its package,
// and its own tests hold it. Traffic hints and the operator's hand are not played
// here either; the random worlds of failover's tests play them.
package simulator
