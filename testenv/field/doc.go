// Package field holds tests on machines that somebody else has set up: seeded random
// routes, rules, marks, NAT and addresses of other programs, on which a daemon is
// started. What a set of flows did before the start, they have to do after it, when the
// daemon has ended, and when all of it is torn down.
//
// `make test-field` runs them for 200 machines, `make test` for a few. A failure names
// the machine's seed; -field.seed makes that one alone.
package field
