// Package system holds no code: its tests run the real daemon in whole labs and check
// it from the outside. They build cmd/swerve once, start it in the gateway of a lab
// (package lab), put clients on both sides of it (package traffic), break things by
// name, and assert what a client's packets experienced, what ip(8), nft(8) and
// conntrack(8) report about the kernel, and what the command line reports.
//
// Every scenario has its own lab, and ends with the same two checks in gateway.close:
// no packet, so also no probe, left by an uplink with a source address that is not
// that uplink's, and the daemon did not panic or race.
//
// Nothing here asserts a tight time: machines that run tests pause. A scenario that
// failed while the lab itself was paused is repeated, see trial_test.go. The cost of a
// fault is logged (go test -v), and measured by testenv/bench.
//
// If the tests run with the race detector, the daemon is built with it too.
//
//   - main_test.go: the binaries, built once
//   - trial_test.go: running a scenario, and whether it counts
//   - gateway_test.go: a lab with a daemon in it, and the checks at its end
//   - sessions_test.go: the clients, and what can be checked of them
//   - witness_test.go: what other programs report about the kernel
//   - the rest: one scenario, or several similar ones, in each file
package system
