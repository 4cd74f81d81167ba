// Package firewall keeps sessions on their uplinks. It has Swerve's nftables
// ruleset, and acts on conntrack entries and sockets.
//
// # The idea
//
// The conntrack mark of each flow holds two lanes: the uplink that it left by, and
// the policy that sent it there. Routing follows packet marks, so a flow stays on
// its uplink while routes change. When an uplink is lost to a policy, that pair of
// lanes is no longer restored: the flow's next packet follows the policy's ladder.
// Flows that cannot keep their address are ended at once: UDP begins a new flow
// with the other uplink's address, TCP is answered with a reset, so that the
// application reconnects.
//
// # How it is made
//
// [Ruleset] converts a [Goal] to a [Table], without reading the kernel. The table is
// one description with two readings: [Table.String] writes it as nft(8) text, and
// [Kernel.Apply] sends the same rules to the kernel in one transaction. The two
// cannot diverge, because each match and each statement is built once, in both
// forms, by the helpers in match.go and statement.go.
//
// All of it is in table inet swerve. Nothing outside this table is ever changed.
//
// # Where to look
//
//   - goal.go: the input
//   - ruleset.go, arriving.go, leaving.go, lost.go: the chains, in the order in
//     which packets traverse them, with the reason for each rule
//   - handshake.go, rescue.go: TCP's handshakes are counted, and addresses that an uplink
//     does not reach go by the next one
//   - block.go, pick.go: what policies that block answer, and how members are picked
//   - decide.go: many rules as maps
//   - npt.go: prefix translation; mss.go: TCP's segment size; resolver.go: the uplinks' own
//     resolvers
//   - byrules.go, set.go: the user's rules and the sets that they name; classify.go: what
//     the table makes of a packet, by interpreting what is sent to the kernel
//   - table.go, text.go, match.go, statement.go, prefixes.go: the description
//   - kernel.go, connection.go, apply.go, move.go, grace.go: transactions
//   - request.go, read.go, elements.go, drift.go, observe.go, watch.go: what the
//     kernel holds, and changes to it; found.go: what it keeps for the next run
//   - conntrack.go, flows.go, adopt.go, ways.go, proxied.go: conntrack entries
//   - sticking.go: own datagrams that name a lost uplink's interface
//   - poke.go, roster.go: clients that are made to speak, and who they are
//   - clash.go, markuse.go: what rules of other programs do with marks
//   - sockets.go: this machine's own TCP connections; socketflow.go, socketway.go: the
//     uplinks and the routes that they use
package firewall
