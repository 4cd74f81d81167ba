// Package traffic has the clients that measure the effect of a fault, and the server
// that answers them. It measures on the client's side, from the outside, with no
// knowledge of the router in between.
//
// A Client sends requests at a fixed rate from a namespace and logs for each when it
// was due, when it was sent, when the answer came, and from which address the server
// received it, which identifies the uplink. There are six kinds, each for both
// families:
//
//	udp-sessions  each request from a fresh socket: a new flow
//	udp-stream    all requests from one socket: one long flow, like a VPN or a call
//	tcp-stream    requests over one connection, dialled again at once when it breaks
//	tcp-sessions  a new connection for each request
//	tcp-listen    one connection on which the server speaks at the rate, and the client
//	              never does: what it was to hear counts as a request
//	tcp-download  the same with four kilobytes each time
//
// Bulk is a one-way stream whose numbers both ends record, to prove that nothing was
// lost.
//
// # What an interruption is
//
// It is measured on sending times: from the fault's onset to the sending of the first
// request after which all are answered. So it does not include the round trip time,
// and a request that is lost later prolongs it. See Measure.
//
// A machine that pauses delays the clients too. They compare when a request was
// due with when it was sent; where that differs by more than MaxLateness near a
// fault, the measurement is void.
package traffic
