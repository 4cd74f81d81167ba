// Package wire is a cable between two network namespaces that a program can
// spoil while traffic runs over it: delay, jitter, loss, rate, stalls, silence
// beyond the far router, and a pulled plug.
//
// Many kernels lack netem, and none can say afterwards how late a frame really
// was; so the wire runs in user space. Each end is a veth whose peer lies in a
// hidden namespace. There, packet sockets take the frames from one peer and put
// them out of the other when their time has come:
//
//	gateway [wan0]══[peer] packet socket → direction → packet socket [peer]══[wan] ISP
//
// Offloads are off on every end, so the frames that cross are whole: no longer
// than the MTU, with right checksums.
//
// # What happens to a frame
//
// In each direction, in this order: loss by lot, room in the queue (a full queue
// drops), sending at the rate, then delay with jitter. Frames never overtake each
// other. The filter and the check of sources sit at the ISP's end, where a router
// would drop: what travels towards the gateway when a filter is set still
// arrives. A stall keeps what would leave, and lets all of it go in order at its
// end.
//
// # How exact it is
//
// A frame's time counts from the moment that the kernel took it from the link,
// not from when this process got to read it, so a busy process delays only
// frames whose time is already over. One thread for each wire sleeps in ppoll until the
// next frame is due: on an idle machine frames leave within a few tenths of a
// millisecond of their time. How late the latest was is kept, since a
// measurement taken while the machine paused means nothing: see Wire.Lateness.
package wire
