package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"swerve/testenv/netns"
	"swerve/testenv/wire"
)

// The names of links other than the gateway's.
const (
	clientLink   = "eth0" // the client's
	lanLink      = "lan0" // the gateway's on the LAN
	customerLink = "cust" // an ISP's, to the gateway
	backboneLink = "net"  // an ISP's, to the internet
)

func internetLink(i int) string { return fmt.Sprintf("isp%d", i+1) }

// build makes everything, from the internet outwards.
func (lab *Lab) build() error {
	steps := []func() error{
		lab.openAll,
		lab.setSysctls,
		lab.buildInternet,
		lab.buildLAN,
		lab.buildFirewall,
	}
	for i := range lab.Uplinks {
		steps = append(steps, func() error { return lab.buildUplink(i) })
	}
	steps = append(steps, lab.settle)
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (lab *Lab) openAll() (err error) {
	lab.Clients = make([]*netns.NS, lab.Options.Clients)
	lab.ISP = make([]*netns.NS, len(lab.Uplinks))
	places := []**netns.NS{&lab.Gateway, &lab.Internet, &lab.hidden}
	for i := range lab.Clients {
		places = append(places, &lab.Clients[i])
	}
	for i := range lab.ISP {
		places = append(places, &lab.ISP[i])
	}
	for _, place := range places {
		if *place, err = lab.open(); err != nil {
			return err
		}
	}
	lab.Client = lab.Clients[0]
	return nil
}

type sysctl struct{ key, value string }

func set(ns *netns.NS, all ...sysctl) error {
	for _, s := range all {
		if err := ns.SetSysctl(s.key, s.value); err != nil {
			return err
		}
	}
	return nil
}

var forwarding = []sysctl{{"net/ipv4/ip_forward", "1"}, {"net/ipv6/conf/all/forwarding", "1"}}

var noIPv6 = []sysctl{{"net/ipv6/conf/all/disable_ipv6", "1"}, {"net/ipv6/conf/default/disable_ipv6", "1"}}

func (lab *Lab) setSysctls() error {
	for _, ns := range append([]*netns.NS{lab.Gateway, lab.Internet}, lab.ISP...) {
		if err := set(ns, forwarding...); err != nil {
			return err
		}
	}
	if lab.Options.NoIPv6 {
		for _, ns := range append([]*netns.NS{lab.Gateway}, lab.Clients...) {
			if err := set(ns, noIPv6...); err != nil {
				return err
			}
		}
	}
	if lab.Options.Announce == AnnounceNothing {
		if err := set(lab.Gateway, append(noIPv6, sysctl{"net/ipv4/ip_forward", "0"})...); err != nil {
			return err
		}
	}
	rp := strconv.Itoa(lab.Options.RPFilter)
	if err := set(lab.Gateway,
		sysctl{"net/ipv4/conf/all/rp_filter", rp},
		sysctl{"net/ipv4/conf/default/rp_filter", rp}); err != nil {
		return err
	}
	return lab.allowPing()
}

// allowPing lets every group of the gateway ping, as systemd does; in a user
// namespace, where not all groups exist, at least its root.
func (lab *Lab) allowPing() error {
	const key = "net/ipv4/ping_group_range"
	if lab.Gateway.SetSysctl(key, "0 2147483647") == nil {
		return nil
	}
	return lab.Gateway.SetSysctl(key, "0 0")
}

// addressed gives a link its addresses and sets it up.
func addressed(ns *netns.NS, link string, addrs ...netip.Prefix) error {
	if err := ns.SetUp(link); err != nil {
		return err
	}
	for _, a := range addrs {
		if err := ns.AddAddr(link, a); err != nil {
			return err
		}
	}
	return nil
}

// via adds a route through a next hop.
func via(ns *netns.NS, to netip.Prefix, link string, hop netip.Addr) error {
	l, err := ns.Netlink().LinkByName(link)
	if err == nil {
		err = ns.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to), Gw: hop.AsSlice()})
	}
	if err != nil {
		return fmt.Errorf("add route to %s via %s dev %s: %w", to, hop, link, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

var (
	default4 = netip.MustParsePrefix("0.0.0.0/0")
	default6 = netip.MustParsePrefix("::/0")
)

func (lab *Lab) buildInternet() error {
	own := []netip.Prefix{alone(Server4), alone(Server6)}
	for _, t := range Targets {
		own = append(own, alone(t))
	}
	return addressed(lab.Internet, "lo", own...)
}

// buildLAN connects the clients to lan0: by a cable if there is one client, otherwise
// by a switch.
func (lab *Lab) buildLAN() error {
	if err := lab.cableLAN(); err != nil {
		return err
	}
	own := []netip.Prefix{within(host(LAN4, 1), LAN4), within(host(LAN6, 1), LAN6)}
	if lab.Options.Delegate {
		own = append(own, within(host(LANNative, 1), LANNative))
	}
	if lab.Options.Announce == AnnounceNothing {
		own = nil
	}
	if err := addressed(lab.Gateway, lanLink, lab.offered(own)...); err != nil {
		return err
	}
	for n, ns := range lab.Clients {
		if err := addressed(ns, clientLink, lab.offered(clientPrefixes(n, lab.Options.Delegate))...); err != nil {
			return err
		}
		if err := via(ns, default4, clientLink, host(LAN4, 1)); err != nil {
			return err
		}
		if lab.Options.NoIPv6 {
			continue
		}
		if err := via(ns, default6, clientLink, host(LAN6, 1)); err != nil {
			return err
		}
	}
	return nil
}

func (lab *Lab) cableLAN() error {
	if len(lab.Clients) == 1 {
		return netns.Veth(lab.Gateway, lanLink, lab.Client, clientLink)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "switch"
	h := lab.hidden.Netlink()
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("add the LAN's switch: %w", err)
	}
	// The switch must not send anything itself.
	if err := set(lab.hidden, sysctl{"net/ipv6/conf/switch/disable_ipv6", "1"}); err != nil {
		return err
	}
	if err := lab.plug(lab.Gateway, lanLink, "port-lan0"); err != nil {
		return err
	}
	for n, ns := range lab.Clients {
		if err := lab.plug(ns, clientLink, fmt.Sprintf("port-%d", n)); err != nil {
			return err
		}
	}
	return lab.hidden.SetUp("switch")
}

// plug connects a link to the LAN's switch.
func (lab *Lab) plug(ns *netns.NS, link, port string) error {
	if err := netns.Veth(ns, link, lab.hidden, port); err != nil {
		return err
	}
	h := lab.hidden.Netlink()
	l, err := h.LinkByName(port)
	if err != nil {
		return fmt.Errorf("find %s: %w", port, err)
	}
	bridge, err := h.LinkByName("switch")
	if err == nil {
		err = h.LinkSetMaster(l, bridge)
	}
	if err != nil {
		return fmt.Errorf("plug %s into the LAN's switch: %w", port, err)
	}
	return lab.hidden.SetUp(port)
}

// offered omits IPv6 prefixes where nobody has IPv6.
func (lab *Lab) offered(all []netip.Prefix) (kept []netip.Prefix) {
	for _, p := range all {
		if p.Addr().Is4() || !lab.Options.NoIPv6 {
			kept = append(kept, p)
		}
	}
	return kept
}

// buildUplink makes an ISP with its wire to the gateway and its link to the
// internet, and announces it.
func (lab *Lab) buildUplink(i int) error {
	if err := lab.buildBackbone(i); err != nil {
		return err
	}
	if err := lab.buildWire(i); err != nil {
		return err
	}
	if lab.Options.Announce == AnnounceNothing {
		return lab.Gateway.SetUp(lab.Uplinks[i].Interface)
	}
	if err := lab.restore(i); err != nil {
		return err
	}
	if !lab.HasIPv6(i) || lab.Options.Announce == AnnounceNone {
		return nil
	}
	return lab.advertise(i)
}

func (lab *Lab) buildBackbone(i int) error {
	up, isp := lab.Uplinks[i], lab.ISP[i]
	p4, p6 := backbone4(i), backbone6(i)
	if err := netns.Veth(isp, backboneLink, lab.Internet, internetLink(i)); err != nil {
		return err
	}
	for _, err := range []error{
		addressed(isp, backboneLink, within(host(p4, 1), p4), within(host(p6, 1), p6)),
		addressed(lab.Internet, internetLink(i), within(host(p4, 2), p4), within(host(p6, 2), p6)),
		via(isp, default4, backboneLink, host(p4, 2)),
		via(isp, default6, backboneLink, host(p6, 2)),
		lab.publish(i),
		via(lab.Internet, up.Native6, internetLink(i), host(p6, 1)),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// publish makes the internet reach what is behind an ISP in IPv4: by a route, or, where
// other ISPs have the same network, by the ISP's own address.
func (lab *Lab) publish(i int) error {
	if lab.Options.Twins {
		return nft(lab.ISP[i], func(c *nftables.Conn) {
			addMasquerade(c, c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "isp"}), backboneLink)
		})
	}
	return via(lab.Internet, lab.Uplinks[i].Prefix4, internetLink(i), host(backbone4(i), 1))
}

func (lab *Lab) buildWire(i int) error {
	up, isp := lab.Uplinks[i], lab.ISP[i]
	path := wire.Path{Delay: lab.Options.Delay}
	w, err := wire.Open(lab.hidden,
		wire.End{NS: lab.Gateway, Link: up.Interface}, wire.End{NS: isp, Link: customerLink},
		wire.Options{
			ToISP: path, ToGateway: path, Seed: lab.Options.Seed + uint64(i),
			Routers: []netip.Addr{up.Router4, up.Second4, up.Router6, routerLinkLocal},
			Sources: []netip.Prefix{up.Prefix4, up.Native6},
		})
	if err != nil {
		return err
	}
	lab.Wire = append(lab.Wire, w)
	if err := lab.setMAC(up); err != nil {
		return err
	}
	conf := "net/ipv6/conf/" + up.Interface + "/"
	if err := set(lab.Gateway,
		sysctl{conf + "accept_ra", "2"}, // only then does a router accept advertisements
		sysctl{conf + "autoconf", "0"},
		sysctl{conf + "ra_defrtr_metric", strconv.Itoa(up.Metric6)}); err != nil {
		return err
	}
	if err := set(isp, sysctl{"net/ipv4/conf/all/promote_secondaries", "1"}); err != nil { // for gateway-change
		return err
	}
	if err := addressed(isp, customerLink, within(up.Router4, up.Prefix4)); err != nil {
		return err
	}
	if !lab.HasIPv6(i) {
		return set(isp, sysctl{"net/ipv6/conf/" + customerLink + "/disable_ipv6", "1"})
	}
	if err := addressed(isp, customerLink, within(up.Router6, up.Prefix6), netip.PrefixFrom(routerLinkLocal, 64)); err != nil {
		return err
	}
	if i == 0 && lab.Options.Delegate {
		return via(isp, LANNative, customerLink, up.Address6)
	}
	return nil
}

// setMAC gives an uplink's interface the address in its plan.
func (lab *Lab) setMAC(up Uplink) error {
	mac, err := net.ParseMAC(up.MAC)
	if err != nil {
		return err
	}
	l, err := lab.Gateway.Netlink().LinkByName(up.Interface)
	if err == nil {
		err = lab.Gateway.Netlink().LinkSetHardwareAddr(l, mac)
	}
	if err != nil {
		return fmt.Errorf("give %s the address %s: %w", up.Interface, mac, err)
	}
	return nil
}

// settle waits until every address is usable, and the gateway has a default route by
// every uplink that Options promise one for.
func (lab *Lab) settle() error {
	for _, ns := range lab.all {
		if err := lab.settleIPv6(ns); err != nil {
			return err
		}
	}
	if lab.Options.Announce != AnnounceAll {
		return nil
	}
	for i, up := range lab.Uplinks {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			if family == netlink.FAMILY_V6 && !lab.HasIPv6(i) {
				continue
			}
			what := fmt.Sprintf("a default route (family %d) by %s", family, up.Interface)
			if err := await(lab.life, what, func() bool { return lab.hasDefault(up.Interface, family) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (lab *Lab) settleIPv6(ns *netns.NS) error {
	ctx, cancel := context.WithTimeout(lab.life, kernelPatience)
	defer cancel()
	return ns.SettleIPv6(ctx)
}

// hasDefault reports whether the gateway's main table has a default route by a
// link.
func (lab *Lab) hasDefault(link string, family int) bool {
	l, err := lab.Gateway.Netlink().LinkByName(link)
	if err != nil {
		return false
	}
	routes, err := lab.Gateway.Netlink().RouteList(l, family)
	if err != nil {
		return false
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			return true
		}
	}
	return false
}
