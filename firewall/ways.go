package firewall

import (
	"fmt"
	"net"
	"net/netip"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/lane"
)

// way is where the kernel sends packets: by a device, for a destination network.
type way struct {
	index int // 0 where it sends them nowhere
	// to is the destination of the route; everything, for a default route.
	to netip.Prefix
}

func (w way) known() bool { return w.index != 0 && w.to.IsValid() }

// Bounds of the ways that are asked for: those that are remembered, and those that
// are asked at all. What is beyond is unknown; a pass over the flows of a busy
// machine must end.
const (
	waysKept  = 4096
	waysAsked = 32768
)

// ways asks the kernel by which ways it sends packets, and remembers the answers.
type ways struct {
	handle  *rtnl.Handle
	uplinks map[int]lane.Lane // by the index of their devices
	known   map[question]way
	asked   *int
}

// question is what a way depends on: where a packet goes and, for a forwarded one,
// where it comes from.
type question struct {
	to, from netip.Addr
	device   int
}

func newWays(g Goal) (ways, error) {
	h, err := rtnl.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return ways{}, fmt.Errorf("open netlink: %w", err)
	}
	w := ways{handle: h, uplinks: map[int]lane.Lane{}, known: map[question]way{}, asked: new(int)}
	for _, u := range g.sorted().Uplinks {
		if u.Interface == "" {
			continue
		}
		if link, err := h.LinkByName(u.Interface); err == nil { // an absent device carries nothing
			w.uplinks[link.Attrs().Index] = u.Lane
		}
	}
	return w, nil
}

// plain returns the way of packets to an address.
func (w ways) plain(to netip.Addr) way { return w.ask(question{to: to}) }

// from returns the way of packets that come in by a device.
func (w ways) from(source netip.Addr, device int, to netip.Addr) way {
	return w.ask(question{to: to, from: source, device: device})
}

func (w ways) ask(q question) way {
	if answer, ok := w.known[q]; ok {
		return answer
	}
	if *w.asked == waysAsked {
		return way{}
	}
	*w.asked++
	if len(w.known) == waysKept {
		clear(w.known)
	}
	options := &rtnl.RouteGetOptions{FIBMatch: true}
	if q.device != 0 {
		options.IifIndex, options.SrcAddr = q.device, q.from.AsSlice()
	}
	var answer way
	if routes, err := w.handle.RouteGetWithOptions(net.IP(q.to.AsSlice()), options); err == nil && len(routes) > 0 {
		answer = wayOf(routes[0], q.to)
	}
	w.known[q] = answer
	return answer
}

// wayOf reads a route that matched an address. One without a destination is a default
// route.
func wayOf(r rtnl.Route, to netip.Addr) way {
	out := way{index: r.LinkIndex, to: netip.PrefixFrom(to, 0).Masked()}
	if len(r.MultiPath) > 0 {
		out.index = r.MultiPath[0].LinkIndex
	}
	if r.Dst != nil {
		bits, _ := r.Dst.Mask.Size()
		out.to = netip.PrefixFrom(to, bits).Masked()
	}
	if r.Type != unix.RTN_UNICAST {
		out.index = 0
	}
	return out
}
