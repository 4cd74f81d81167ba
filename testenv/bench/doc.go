// Command bench measures what Swerve promises: how long clients are interrupted by each
// fault, how long a decision takes to reach the kernel, what a restart loses, the cost of
// forwarding, of probing and of an idle daemon, and the size of the binary. Each figure
// has its floor; a figure that misses it makes the command exit with 1.
//
//	make bench         all of it, in under an hour, into docs/bench.json
//	make bench-short   the same with few runs, in five minutes
//
// It measures from the outside: labs of network namespaces (package lab), the real
// daemon, and clients of the LAN that log each packet (package traffic). Machines that
// run it pause now and then, so clients and wires record how late they send: a run in
// which one of them was over 25 ms late is void, repeated and counted. What depends on
// the machine's speed is compared with a peer within the same seconds.
//
// The tables in README.md and docs/FIGURES.md are generated from the report; a test
// fails if they differ.
//
//   - main.go: the parts, in their order
//   - report.go, figure.go: the report, figures and their floors
//   - tables.go: the report as tables in the documents
//   - gateway.go, clients.go: a lab with a daemon in its gateway, and its clients
//   - faults.go, raw.go: the effect of faults on clients, and the clients' own timestamps
//   - unused.go: the same for a line that nobody uses
//   - crowd.go, flows.go: a verdict among many flows
//   - shared.go: uplinks that share the load, and overflow
//   - scale.go, rules.go: many policies and rules, and what they cost packets
//   - lives.go: what reloads, restarts and kills lose
//   - rest.go, bare.go: processor and memory at rest, beside bare pro-bing and fping
//   - forward.go, road.go: forwarding beside one masquerade rule
//   - simulated.go: verdicts of the engine in virtual time
//   - micro.go, size.go: the packages' own benchmarks, and the binary's size
package main
