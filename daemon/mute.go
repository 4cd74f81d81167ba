package daemon

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
)

// gatewayIsMute reports whether the kernel asked for a gateway's link-layer address
// on an interface, by ARP or neighbour discovery, and has no answer.
func gatewayIsMute(index int, gateway netip.Addr) bool {
	family := netlink.FAMILY_V4
	if gateway.Is6() {
		family = netlink.FAMILY_V6
	}
	found, err := netlink.NeighList(index, family)
	if err != nil {
		return false
	}
	for _, n := range found {
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == gateway.WithZone("") {
			return n.State&(netlink.NUD_INCOMPLETE|netlink.NUD_FAILED) != 0
		}
	}
	return false
}

// blameGateways says in the problems of uplinks that do not answer that their
// gateway does not answer either, where mute says so, and names the key that may be
// wrong.
func (s setup) blameGateways(problems []control.Problem, view failover.View, mute func(int, netip.Addr) bool) {
	if mute == nil {
		return
	}
	for i, p := range problems {
		if p.Code != "uplink-down" && p.Code != "uplink-silent" {
			continue
		}
		for _, u := range view.Uplinks {
			for _, f := range failover.Families {
				l := u.Link.Family[f]
				state := u.Family[f].State
				if u.Name != p.Object || !u.Link.Carrier || !l.Gateway.IsValid() ||
					state != failover.Down && state != failover.Unknown || !mute(u.Link.Index, l.Gateway) {
					continue
				}
				text, remedy := muteText(u, f, s.fixedGateway(u.Name, f))
				problems[i].Text += text
				problems[i].Remedy = remedy
			}
		}
	}
}

func muteText(u failover.UplinkView, f failover.Family, fixed bool) (text, remedy string) {
	l := u.Link.Family[f]
	asked, key := "ARP", "gateway"
	if l.Gateway.Is6() {
		asked = "neighbour solicitations"
	}
	if f == failover.IPv6 {
		key = "gateway6"
	}
	text = fmt.Sprintf("; its gateway %s does not answer %s on %s", l.Gateway, asked, u.Link.Interface)
	networks := config.NetworksWithout(l.Gateway, l.Addresses)
	if len(networks) > 0 {
		text += ", and is in none of its networks (" + strings.Join(networks, ", ") + ")"
	}
	if fixed {
		return text, fmt.Sprintf("see whether %s is right: it names %s; else check the cable and the modem on %s. It is used again when it answers",
			key+": of this uplink", l.Gateway, u.Link.Interface)
	}
	return text, fmt.Sprintf("check the cable and the modem on %s, and whether the modem has another address by now; "+
		"it is used again when it answers", u.Link.Interface)
}

// fixedGateway reports whether the configuration names the gateway of an uplink.
func (s setup) fixedGateway(uplink string, f failover.Family) bool {
	for _, u := range s.uplinks {
		if u.Name == uplink {
			return [...]config.Gateway{failover.IPv4: u.Gateway, failover.IPv6: u.Gateway6}[f].Addr.IsValid()
		}
	}
	return false
}
