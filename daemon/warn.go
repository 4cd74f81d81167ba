package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/config"
	"swerve/control"
	"swerve/lane"
)

// MachineWarnings returns what of a valid configuration does not fit to this machine as
// it is now, beyond what [MissingInterfaces] and [WithoutGateway] have: a group that does
// not exist, interfaces of rules that do not, and gateways that differ from what the
// machine's own routes say. What cannot be read is not warned of.
func MachineWarnings(cfg *config.Config, uplinks []config.Uplink) []string {
	var list []string
	if group := cfg.Control.Group; group != "" {
		if _, err := control.GroupID(group); err != nil {
			list = append(list, fmt.Sprintf("control.group: %v: the socket is open to its owner alone then (groupadd --system %s)", err, group))
		}
	}
	list = append(list, ruleWarnings(cfg)...)
	own, _ := OwnAddresses() // such a gateway is not used at all
	for _, u := range uplinks {
		link := linkOf(u)
		if !u.Enabled || link == nil {
			continue
		}
		for _, f := range []struct {
			key, asks string
			gateway   config.Gateway
			family    int
		}{
			{"gateway", "ARP", u.Gateway, unix.AF_INET},
			{"gateway6", "neighbour solicitations", u.Gateway6, unix.AF_INET6},
		} {
			switch main := mainGateways(link, f.family); {
			case f.gateway.None && asksNeighbors(link):
				text := fmt.Sprintf("uplink %s: %s: none, but %s is an Ethernet: each address is looked for on that link itself, "+
					"which works only where the provider answers %s for all", u.Name, f.key, link.Attrs().Name, f.asks)
				if len(main) > 0 {
					text += fmt.Sprintf("; main's default route there is by %s", main[0])
				}
				list = append(list, text)
			case f.gateway.Addr.IsValid() && len(main) > 0 && !slices.Contains(main, f.gateway.Addr) && !slices.Contains(own, f.gateway.Addr):
				list = append(list, fmt.Sprintf("uplink %s: %s %s differs from that of main's default route by %s (%s): the one of the file is used",
					u.Name, f.key, f.gateway.Addr, link.Attrs().Name, main[0]))
			}
		}
	}
	return list
}

// asksNeighbors reports whether a device finds each next hop by asking its link. A modem
// may look like one, but answers for all.
func asksNeighbors(link netlink.Link) bool {
	a := link.Attrs()
	return a.EncapType == "ether" && a.RawFlags&(unix.IFF_NOARP|unix.IFF_POINTOPOINT) == 0 && !IsModem(a.Name)
}

// mainGateways returns the gateways of the default routes by a device in table main that
// are not ours.
func mainGateways(link netlink.Link, family int) (out []netip.Addr) {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil
	}
	add := func(index int, ip []byte, via netlink.Destination) {
		if v, ok := via.(*netlink.Via); ok && ip == nil {
			ip = v.Addr
		}
		if a, ok := netip.AddrFromSlice(ip); ok && index == link.Attrs().Index {
			out = append(out, a.Unmap())
		}
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 || !r.Dst.IP.IsUnspecified() {
				continue
			}
		}
		if r.Protocol == lane.Protocol {
			continue
		}
		add(r.LinkIndex, r.Gw, r.Via)
		for _, hop := range r.MultiPath {
			add(hop.LinkIndex, hop.Gw, hop.Via)
		}
	}
	return out
}
