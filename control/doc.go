// Package control is how people and programs talk to a running daemon: JSON over
// HTTP on a unix socket.
//
// It has three parts. The wire types ([Status], [Event] and what is in them) are
// the stable contract, version 1; docs/API.md describes it for users. The daemon's
// side is a [Hub], into which it publishes events and which any number of readers
// follow at their own pace, and a [Server] on a [Listener]. The other side
// is a [Client], which the command line and the dashboard share: they have no
// other way to the daemon, and need no privilege except access to the socket. The
// words in which both present it to people are in package control/say.
//
// # Duties of the daemon
//
// The daemon implements [Backend], builds its status with [UplinkOf], [PolicyOf],
// [SwitchOf] and [HealthProblems], and publishes each event when it happens.
// Publishing costs the same with no reader and with a thousand, and never waits.
//
// # Bounds
//
// The hub keeps a bounded log of events, the same bytes for all readers. A reader
// that falls behind further than that log reaches learns how many events it missed;
// a client that receives nothing for long is cut off. Connections, streams, headers
// and bodies all have limits, and what is over them gets an error that says so.
package control
