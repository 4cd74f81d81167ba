package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"swerve/lane"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AdoptFlows gives lanes to flows that are older than our table, based on their
// translated addresses, and returns how many. It is for the very first start,
// before the table is applied: afterwards every flow has its lanes.
//
// A flow whose answers are sent to an uplink's address left by that uplink, under
// the default policy. One that was sent to an uplink's address came in by it.
// Flows without such an address get their lanes when their next packet leaves.
func (k *Kernel) AdoptFlows(g Goal) (int, error) {
	a := newAdopter(g)
	n, err := eachFlow(g.Layout.CTMask, a.adopt)
	if err != nil {
		return n, fmt.Errorf("firewall: adopt flows: %w", err)
	}
	return n, nil
}

// Heal corrects flows that began while our table was missing, and returns how many.
// Those with an uplink's address are adopted. Those that leave by an uplink
// without any translation are deleted: they began without masquerade, and would
// stay without it for as long as they exist.
func (k *Kernel) Heal(g Goal) (int, error) {
	a := newAdopter(g)
	routes, err := newRouteCache(g)
	if err != nil {
		return 0, fmt.Errorf("firewall: heal flows: %w", err)
	}
	defer routes.handle.Close()
	n, err := eachFlow(g.Layout.CTMask, func(f flow) (flowChange, uint32) {
		change, mark := a.adopt(f)
		if change == keepFlow && a.laneless(f) && !f.translated() && !a.own(f.src) && routes.byUplink(f) {
			return dropFlow, 0
		}
		return change, mark
	})
	if err != nil {
		return n, fmt.Errorf("firewall: heal flows: %w", err)
	}
	return n, nil
}

// ForgetFlows clears our bits in every flow's mark, and returns how many flows had
// any set. It is for the teardown, after the table is deleted.
func (k *Kernel) ForgetFlows(l lane.Layout) (int, error) {
	n, err := eachFlow(l.CTMask, func(f flow) (flowChange, uint32) {
		if f.mark&l.CTMask == 0 {
			return keepFlow, 0
		}
		return markFlow, 0
	})
	if err != nil {
		return n, fmt.Errorf("firewall: forget flows: %w", err)
	}
	return n, nil
}

// adopter determines the lanes of flows from the uplinks' addresses.
type adopter struct {
	layout  lane.Layout
	uplinks map[netip.Addr]lane.Lane
	// ambiguous addresses are on several uplinks; they do not show by which one a
	// flow goes.
	ambiguous map[netip.Addr]bool
}

func newAdopter(g Goal) adopter {
	a := adopter{layout: g.Layout, uplinks: map[netip.Addr]lane.Lane{}, ambiguous: map[netip.Addr]bool{}}
	for _, u := range g.sorted().Uplinks {
		for _, addr := range u.Addresses {
			if before, ok := a.uplinks[addr]; ok && before != u.Lane {
				a.ambiguous[addr] = true
			}
			a.uplinks[addr] = u.Lane
		}
	}
	return a
}

// lane returns the uplink that alone has an address.
func (a adopter) lane(addr netip.Addr) (lane.Lane, bool) {
	n, ok := a.uplinks[addr]
	return n, ok && !a.ambiguous[addr]
}

// own reports whether an address is on any uplink.
func (a adopter) own(addr netip.Addr) bool {
	_, ok := a.uplinks[addr]
	return ok
}

func (a adopter) laneless(f flow) bool { return f.mark&a.layout.CTMask == 0 }

func (a adopter) adopt(f flow) (flowChange, uint32) {
	if !a.laneless(f) || a.own(f.src) && a.own(f.dst) { // the latter never leave this machine
		return keepFlow, 0
	}
	if n, ok := a.lane(f.dst); ok {
		return markFlow, a.layout.CTPair(n, lane.Nobody)
	}
	n, ok := a.lane(f.replyDst)
	if !ok {
		return keepFlow, 0
	}
	mark := a.layout.CTPair(n, lane.DefaultPolicy)
	if f.established() {
		mark |= a.layout.CTEstablished()
	}
	return markFlow, mark
}

// routesKept bounds the cache of routes, which is cleared when it is full.
const routesKept = 4096

// routeCache looks up, and remembers, whether packets to an address leave by an
// uplink.
type routeCache struct {
	handle  *rtnl.Handle
	indexes map[int]bool // of the uplinks' devices
	known   map[netip.Addr]bool
}

func newRouteCache(g Goal) (routeCache, error) {
	h, err := rtnl.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return routeCache{}, fmt.Errorf("open netlink: %w", err)
	}
	c := routeCache{handle: h, indexes: map[int]bool{}, known: map[netip.Addr]bool{}}
	for _, u := range g.sorted().Uplinks {
		if u.Interface == "" {
			continue
		}
		if link, err := h.LinkByName(u.Interface); err == nil { // an absent device carries nothing
			c.indexes[link.Attrs().Index] = true
		}
	}
	return c, nil
}

func (c routeCache) byUplink(f flow) bool {
	if is, ok := c.known[f.dst]; ok {
		return is
	}
	if len(c.known) == routesKept {
		clear(c.known)
	}
	routes, err := c.handle.RouteGet(net.IP(f.dst.AsSlice()))
	is := err == nil && len(routes) > 0 && c.indexes[routes[0].LinkIndex]
	c.known[f.dst] = is
	return is
}
