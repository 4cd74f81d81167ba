// Package system holds no code: its tests run the real daemon in whole labs and
// look at it from the outside. They build cmd/swerve once, start it in the gateway
// of a lab (package lab), put clients on both sides of it (package traffic),
// break things by name, and assert what a client's packets met, what ip(8), nft(8)
// and conntrack(8) say of the kernel, and what the command line tells a person.
//
// Every scenario has its own lab, and ends with the same two questions, asked by
// gateway.close: did any packet, so also any probe, leave by an uplink with a
// source address that is not that uplink's, and did the daemon panic or race.
//
// Nothing here asserts a tight time: machines that run tests pause. A scenario that
// failed while the lab itself stood still is played again, see trial_test.go. What
// a fault cost is logged (go test -v), and measured by testenv/bench.
//
// Where the tests run with the race detector the daemon is built with it too.
//
//   - main_test.go: the binaries, built once
//   - trial_test.go: playing a scenario, and whether it counts
//   - gateway_test.go: a lab with a daemon in it, and what holds at its end
//   - sessions_test.go: the clients, and what can be asked of them
//   - witness_test.go: what other programs say of the kernel
//   - the rest: one scenario, or one family of them, in each file
package system
