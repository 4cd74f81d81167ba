// Package wire is a cable between two network namespaces that a program can impair
// while traffic runs over it: delay, jitter, loss, rate, stalls, silence beyond the
// far router, and a pulled plug.
//
// Many kernels lack netem, and none can report afterwards how late a frame really
// was; so the wire runs in user space. Each end is a veth whose peer is in a hidden
// namespace. There, packet sockets receive the frames from one peer and send them out
// of the other when they are due:
//
//	gateway [wan0]══[peer] packet socket → direction → packet socket [peer]══[wan] ISP
//
// Offloads are off on every end, so frames cross as on a real cable: no longer than
// the MTU, with correct checksums.
//
// # What happens to a frame
//
// In each direction, in this order: random loss, room in the queue (a full queue
// drops), sending at the rate, then delay with jitter. Frames never overtake each
// other. The filter and the check of sources are at the ISP's end, where a router
// would drop: frames on their way to the gateway when a filter is set still arrive. A
// stall keeps the frames that are due, and releases all of them in order at its end.
//
// # Precision
//
// A frame's delay counts from the moment that the kernel received it from the link,
// not from when this process read it, so a busy process delays only frames that are
// already due. One thread for each wire sleeps in ppoll until the next frame is due:
// on an idle machine frames leave within a few tenths of a millisecond of their time.
// The wire records the worst lateness, since a measurement taken while the machine
// paused is meaningless: see Wire.Lateness.
package wire
