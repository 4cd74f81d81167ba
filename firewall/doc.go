// Package firewall keeps sessions on their uplinks: it holds what Swerve puts
// into nftables, and acts on conntrack entries and sockets.
//
// # The idea
//
// Each flow remembers two lanes in its conntrack mark: the uplink that it left
// by, and the policy that sent it there. Routing follows packet marks, so a
// flow stays on its uplink while routes change around it. When an uplink is
// lost to a policy, that pair of lanes is no longer restored: the flow's next
// packet takes the policy's ladder. Flows whose address cannot come along are
// helped to end at once: UDP starts anew with the other uplink's address, TCP
// is answered with a reset, so that the application redials.
//
// # How it is made
//
// [Ruleset] turns a [Goal] into a [Table], without looking at the kernel. The
// table is one description with two readings: [Table.String] is nft(8) text,
// and [Kernel.Apply] hands the same rules to the kernel in one transaction.
// They cannot drift apart, because each match and each statement is made once,
// in both forms, by the helpers in match.go and statement.go.
//
// All of it lives in table inet swerve. Nothing outside of it is ever written.
//
// # Where to look
//
//   - goal.go: what the caller wants
//   - ruleset.go, arriving.go, leaving.go, lost.go: the chains, in the order in
//     which a packet meets them, with the reason of each rule
//   - table.go, text.go, match.go, statement.go, prefixes.go: the description
//   - kernel.go, connection.go, apply.go, move.go: transactions
//   - read.go, drift.go, watch.go: what the kernel really holds, and who
//     changed it
//   - conntrack.go, flows.go, adopt.go: entries of flows
//   - sockets.go: this machine's own TCP connections; socketflow.go: by which uplink they go
package firewall
