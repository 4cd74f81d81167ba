package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lease configures IPv4 as a DHCP client does with its lease: the address, and a
// default route with it as its source.
func (lab *Lab) lease(i int, addr netip.Addr) error {
	return leaseBy(lab, i, addr, lab.Uplinks[i].Router4)
}

// leaseBy is the same, with a router.
func leaseBy(lab *Lab, i int, addr, router netip.Addr) error {
	up, h := lab.Uplinks[i], lab.Gateway.Netlink()
	l, err := h.LinkByName(up.Interface)
	if err != nil {
		return fmt.Errorf("lease on %s: %w", up.Interface, err)
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("lease on %s: set up: %w", up.Interface, err)
	}
	err = h.AddrReplace(l, &netlink.Addr{IPNet: ipNet(within(addr, up.Prefix4))})
	if err != nil {
		return fmt.Errorf("lease on %s: address %s: %w", up.Interface, addr, err)
	}
	if lab.Options.Announce == AnnounceNone {
		return nil
	}
	route := &netlink.Route{
		LinkIndex: l.Attrs().Index,
		Dst:       ipNet(default4),
		Gw:        router.AsSlice(),
		Src:       addr.AsSlice(),
		Protocol:  unix.RTPROT_DHCP,
		Priority:  up.Metric4,
	}
	if err = h.RouteReplace(route); errors.Is(err, unix.ENETUNREACH) { // somebody has flushed the rules
		_ = await(lab.life, "a route to the router", func() bool { err = h.RouteReplace(route); return err == nil })
	}
	if err != nil {
		return fmt.Errorf("lease on %s: default via %s: %w", up.Interface, router, err)
	}
	return nil
}

// staticIPv6 gives an uplink its IPv6 address, unless it has it already, and waits
// until the address is usable.
func (lab *Lab) staticIPv6(i int, addr netip.Addr) error {
	up, h := lab.Uplinks[i], lab.Gateway.Netlink()
	l, err := h.LinkByName(up.Interface)
	if err == nil {
		err = h.AddrReplace(l, &netlink.Addr{IPNet: ipNet(within(addr, up.Prefix6)), Flags: unix.IFA_F_NODAD})
	}
	if err != nil {
		return fmt.Errorf("address %s on %s: %w", addr, up.Interface, err)
	}
	return lab.settleIPv6(lab.Gateway)
}

// unlease removes an uplink's addresses of both families. The kernel drops the routes
// that use them.
func (lab *Lab) unlease(i int, addr4, addr6 netip.Addr) error {
	up := lab.Uplinks[i]
	if err := lab.Gateway.DelAddr(up.Interface, within(addr4, up.Prefix4)); err != nil {
		return err
	}
	if !lab.HasIPv6(i) {
		return nil
	}
	return lab.Gateway.DelAddr(up.Interface, within(addr6, up.Prefix6))
}

// restore gives an uplink all that it had at the start, as its clients would after
// the link came up.
func (lab *Lab) restore(i int) error {
	if err := lab.lease(i, lab.Uplinks[i].Address4); err != nil {
		return err
	}
	if !lab.HasIPv6(i) {
		return nil
	}
	if err := lab.staticIPv6(i, lab.Uplinks[i].Address6); err != nil {
		return err
	}
	if i < len(lab.routers) && lab.routers[i] != nil {
		lab.routers[i].announce()
	}
	return nil
}
