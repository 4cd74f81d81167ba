// Command protocols shows what sessions of real protocols experience at each event of
// an uplink's life, with Swerve and with a kernel that has two default routes and no
// daemon.
//
//	make protocols     all of it, in some ten minutes, into bin/sessions.json and
//	                   the tables of docs/SESSIONS.md
//
// For each event it builds a lab (package lab), starts every protocol in both families,
// waits until all of them flow, and has the event happen. The protocols' own clients
// then say what became of them. The package's test plays the losses and the stall with
// Swerve, and asserts what each protocol was promised.
//
// # Adding a protocol
//
// A protocol is a value of type protocol in the list that protocols returns (protocol.go).
// Its start function starts a server in the internet's namespace (stage.server) at
// stage.at, and a client in the LAN's or the gateway's (stage.client), and returns. What
// runs longer is started with stage.run, and ends when the stage's context does; a
// program is started with stage.start, which ends it. The client reports to the stage:
//
//   - track := stage.track(interval) for each direction or kind of packet that has to
//     keep flowing; interval is the usual time between two. track.heard() when anything
//     has arrived. Where packets have numbers, seq := track.sent() at the sender and
//     track.arrived(seq) at the receiver: then lost ones are counted, too.
//   - stage.connected() for each connection, the first and later ones.
//   - stage.broke(err) when a connection ended by itself.
//
// stage.serveTCP and stage.stayConnected do that for a protocol over TCP; icmp.go is a
// short example without connections, bulk.go one with them. Where Debian has programs that
// speak the protocol, stage.serve and stage.stayRunning run them (program.go; package
// programs): curl.go is an example. In a test they have labs of their own, since they need
// rights that an ordinary user may lack.
//
//   - protocol.go: the list, what each was promised, and the stage that it runs on
//   - program.go: programs as servers and clients
//   - meter.go: what is counted
//   - event.go: the events
//   - play.go: one event with all protocols
//   - report.go, tables.go: the report, and its tables in the documents
//   - main.go: the command
//   - the rest: a protocol, or a few similar ones, in each file
package main
