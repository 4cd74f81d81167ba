package field

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"swerve/testenv/netns"
)

// request is a flow beside those of everybody to all destinations.
type request struct {
	from   string // a place: lan, guest, gateway or an end's device
	origin netns.Origin
	to     string
}

// service answers at a place. A proxy takes what is sent to others.
type service struct {
	place string
	at    string
	proxy bool
}

// kinds are what machines of people have, each with what makes it.
var kinds = []struct {
	name string
	make func(*maker)
}{
	{"no-nat", nil},    // translation
	{"delegated", nil}, // devices
	{"multipath", nil}, // defaults
	{"forwards", (*maker).forwards},
	{"one-to-one", (*maker).oneToOne},
	{"unmasked", (*maker).unmasked},
	{"whole-mark", (*maker).wholeMark},
	{"policy-routing", (*maker).policyRouting},
	{"connmark", (*maker).connmark},
	{"vrf", (*maker).vrf},
	{"late-local", (*maker).lateLocal},
	{"tproxy", (*maker).tproxy},
	{"containers", (*maker).containers},
	{"full-tunnel", (*maker).fullTunnel},
	{"mesh", (*maker).mesh},
	{"own-services", (*maker).ownServices},
	{"kill-switch", (*maker).killSwitch},
	{"halves6", (*maker).halves6},
}

// choose picks what is on the machine.
func (m *maker) choose() {
	for _, n := range m.Perm(len(kinds))[:m.IntN(5)] {
		m.kinds = append(m.kinds, kinds[n].name)
	}
	m.kinds = slices.DeleteFunc(m.kinds, func(k string) bool {
		// Without NAT, what goes out by a rule or a narrower route alone does not show what
		// is native on the internet's way: see OPERATION.md.
		byRules := k == "whole-mark" || k == "policy-routing" || k == "connmark"
		return slices.Contains(strings.Split(*without, ","), k) || byRules && m.has("no-nat")
	})
	slices.Sort(m.kinds)
}

func (m *maker) has(kind string) bool { return slices.Contains(m.kinds, kind) }

// delegates reports whether an end has a link-local IPv6 address alone, and delegates
// a prefix to the LAN.
func (m *maker) delegates(end int) bool {
	return m.has("delegated") && (end == int(m.seed%2) || end < 2 && m.both)
}

// more makes what is on the machine.
func (m *maker) more() {
	for _, k := range kinds {
		if k.make != nil && m.has(k.name) {
			k.make(m)
		}
	}
}

// multipath is one default route by both uplinks.
func (m *maker) multipath(metric string) {
	m.shares = [2]int{1 + m.IntN(4), 1 + m.IntN(4)}
	m.objects = m.chance(40)
	for n, f := range []int{4, 6} {
		var hops string
		var group []string
		for i, end := range m.order {
			via := m.via(f, end)
			hops += fmt.Sprintf(" nexthop %s weight %d", via, m.shares[i])
			id := 10*(n+1) + i
			group = append(group, fmt.Sprintf("%d,%d", id, m.shares[i]))
			if m.objects {
				m.do("ip -%d nexthop add id %d %s", f, id, via)
			}
		}
		if m.objects {
			m.do("ip nexthop add id %d group %s", 100+n, strings.Join(group, "/"))
			hops = fmt.Sprintf(" nhid %d", 100+n)
		}
		m.do("ip -%d route add default metric %s proto static%s", f, metric, hops)
	}
}

func (m *maker) serves(place, at string) {
	m.services = append(m.services, service{place: place, at: at})
}

func (m *maker) asks(from string, origin netns.Origin, to string) {
	m.flows = append(m.flows, request{from, origin, to})
}

// beyond is an origin of what comes in by an end that is not its neighbour.
var beyond = netns.Origin{Addr: netip.MustParseAddr("192.0.2.10")}

// comesIn has each end ask for a port of the gateway, from near and far.
func (m *maker) comesIn(port int) {
	for _, e := range ends {
		to := fmt.Sprintf("%s.2:%d", e.v4, port)
		m.asks(e.dev, netns.Origin{}, to)
		m.asks(e.dev, beyond, to)
	}
}

// forwards are ports of the gateway that lead to the LAN, also from the LAN itself.
func (m *maker) forwards() {
	m.serves("lan", "0.0.0.0:8080")
	m.do("nft add table ip forwards; nft add chain ip forwards pre '{ type nat hook prerouting priority dstnat; }'")
	m.do("nft add chain ip forwards post '{ type nat hook postrouting priority srcnat - 1; }'")
	if m.chance(50) {
		m.do("nft add rule ip forwards pre fib daddr type local meta l4proto '{ tcp, udp }' th dport 8080 dnat to 192.168.10.9")
	} else {
		for _, e := range ends {
			m.do("nft add rule ip forwards pre ip daddr %s.2 meta l4proto '{ tcp, udp }' th dport 8080 dnat to 192.168.10.9", e.v4)
		}
	}
	m.do("nft add rule ip forwards post ip saddr %s ip daddr 192.168.10.9 masquerade", lan4)
	m.comesIn(8080)
	for _, e := range ends[:2] {
		m.asks("lan", netns.Origin{}, e.v4+".2:8080")
		m.asks("guest", netns.Origin{}, e.v4+".2:8080")
	}
}

// oneToOne gives a guest an address of its own.
func (m *maker) oneToOne() {
	e := ends[m.IntN(2)]
	m.serves("guest", "0.0.0.0:8082")
	m.do("ip addr add %s.9/24 dev %s; nft add table ip one", e.v4, e.dev)
	m.do("nft add chain ip one pre '{ type nat hook prerouting priority dstnat; }'; nft add rule ip one pre ip daddr %s.9 dnat to 192.168.20.9", e.v4)
	m.do("nft add chain ip one post '{ type nat hook postrouting priority srcnat - 2; }'")
	if m.chance(50) {
		m.do("nft add rule ip one post oifname %s ip saddr 192.168.20.9 snat to %s.9", e.dev, e.v4)
	} else {
		m.do("nft add rule ip one post ip saddr 192.168.20.9 ip daddr != 192.168.0.0/16 snat to %s.9", e.v4)
	}
	m.asks(e.dev, netns.Origin{}, e.v4+".9:8082")
	m.asks(e.dev, beyond, e.v4+".9:8082")
}

// marks makes chains of other programs that see all packets before they are routed.
func (m *maker) marks(table, priority string) {
	m.do("nft add table inet %s; nft add chain inet %s pre '{ type filter hook prerouting priority %s; }'", table, table, priority)
	m.do("nft add chain inet %s out '{ type route hook output priority %s; }'", table, priority)
}

// unmasked overwrites whole marks.
func (m *maker) unmasked() {
	m.marks("unmasked", m.pick("mangle", "mangle", "mangle + 10", "mangle - 20"))
	for _, chain := range []string{"pre", "out"} {
		if m.chance(60) {
			m.do("nft add rule inet unmasked %s meta mark set ct mark", chain)
		}
	}
	if m.chance(50) {
		m.do("nft add chain inet unmasked post '{ type filter hook postrouting priority %s; }'", m.pick("mangle", "srcnat + 10", "srcnat + 100"))
		m.do("nft add rule inet unmasked post %s ct mark set meta mark", m.pick("", "meta mark != 0"))
	}
}

// wholeMark sets all of a mark, and routes by it.
func (m *maker) wholeMark() {
	m.marks("whole", m.pick("mangle", "mangle", "mangle + 10"))
	for _, chain := range []string{"pre", "out"} {
		m.do("nft add rule inet whole %s ip daddr 192.0.2.12 meta mark set 0x7", chain)
		m.do("nft add rule inet whole %s ip6 daddr 2001:db8:ffff::12 meta mark set 0x7", chain)
	}
	m.table(120, m.IntN(3), "fwmark 0x7"+m.mask())
}

// table adds a table with a default route, and a rule for it, in both families.
func (m *maker) table(n, end int, selector string) {
	pref := m.pick("", "pref 90", "pref 5200", "pref 5350", "pref 6000", "pref 31000")
	if pref == "pref 90" || pref == "pref 5200" {
		selector = masked(selector)
	}
	for _, f := range []int{4, 6} {
		m.do("ip -%d route add default %s table %d; ip -%d rule add %s lookup %d %s", f, m.via(f, end), n, f, selector, n, pref)
	}
}

// masked returns a selector of a mark with a mask: before our first rule it needs one,
// see OPERATION.md.
func masked(selector string) string {
	if strings.HasPrefix(selector, "fwmark") && !strings.Contains(selector, "/") {
		selector += "/0xff"
	}
	return selector
}

// policyRouting leads some of the traffic by a table.
func (m *maker) policyRouting() {
	for n := range 1 + m.IntN(3) {
		end := m.IntN(3)
		switch m.IntN(6) {
		case 0: // a LAN, with or without what is on the machine itself
			m.do("ip -4 route add default %s table %d; ip -4 rule add from %s lookup %d", m.via(4, end), 130+n, guest4, 130+n)
			m.do("ip -6 route add default %s table %d; ip -6 rule add from %s lookup %d", m.via(6, end), 130+n, guest6, 130+n)
			if m.chance(50) {
				m.do("ip -4 route add %s dev lan1 table %d; ip -4 route add %s dev lan0 table %d", guest4, 130+n, lan4, 130+n)
			}
		case 1:
			m.table(130+n, end, "iif lan1")
		case 2:
			m.table(130+n, end, "uidrange 0-0")
		case 3:
			m.table(130+n, end, fmt.Sprintf("ipproto %s dport %d", m.pick("tcp", "udp"), port))
		case 4: // the classical answers by the uplink that was asked
			for i, e := range ends[:2] {
				m.do("ip -4 route add default %s table %d; ip -4 rule add from %s.2 lookup %d", m.via(4, i), 140+i, e.v4, 140+i)
			}
			n = 9
		case 5:
			m.table(130+n, end, "iif lo")
		}
		if n == 9 {
			return
		}
	}
}

// connmark answers by the uplink that was asked, as the manuals of multi-WAN have it.
func (m *maker) connmark() {
	m.marks("connmark", "mangle")
	for i, e := range ends[:2] {
		mark := i + 1
		m.do("nft add rule inet connmark pre iifname %s ct state new ct mark set %#x", e.dev, mark)
		for _, chain := range []string{"pre iifname lan0", "pre iifname lan1", "out"} {
			m.do("nft add rule inet connmark %s ct mark and 0xff == %#x meta mark set %#x", chain, mark, mark)
		}
		m.table(150+i, i, fmt.Sprintf("fwmark %#x%s", mark, m.mask()))
	}
	m.ownServices()
}

// vrf is a network with a table of its own: what rules of an l3mdev do.
func (m *maker) vrf() {
	end := m.IntN(3)
	for i, net := range []string{guest4, guest6} {
		f := 4 + 2*i
		m.do("ip -%d route del %s dev lan1; ip -%d route add %s dev lan1 table 10; ip -%d route add default %s table 10", f, net, f, net, f, m.via(f, end))
		m.do("ip -%d rule add iif lan1 lookup 10 pref 1000; ip -%d rule add oif lan1 lookup 10 pref 1000", f, f)
		m.do("ip -%d rule add to %s lookup 10 pref %s", f, net, m.pick("1001", "6001", "32000"))
	}
}

// lateLocal moves the rule for the table local, as is the custom with VRFs.
func (m *maker) lateLocal() {
	pref := m.pick("1001", "5290", "5400", "32765")
	if m.has("full-tunnel") || m.has("policy-routing") { // their rules would take what is for the machine itself
		pref = "1"
	}
	for _, f := range []int{4, 6} {
		m.do("ip -%d rule add lookup local pref %s; ip -%d rule del pref 0", f, pref, f)
	}
	m.ownServices()
}

// tproxy has a proxy for what goes to some ports.
func (m *maker) tproxy() {
	m.services = append(m.services, service{place: "gateway", at: "0.0.0.0:3129", proxy: true})
	m.do("nft add table ip proxy; nft add chain ip proxy pre '{ type filter hook prerouting priority %s; }'", m.pick("mangle", "mangle", "mangle + 10"))
	m.do("nft add rule ip proxy pre iifname lan0 tcp dport 7080 tproxy to :3129 meta mark set 0x9 accept")
	pref := m.pick("", "pref 100", "pref 5400", "pref 20000")
	m.do("ip -4 route add local default dev lo table 160; ip -4 rule add fwmark %s lookup 160 %s", m.pick("0x9", "0x9/0xff"), pref)
	m.asks("lan", netns.Origin{}, "192.0.2.11:7080")
	m.asks("lan", netns.Origin{}, "192.0.2.140:7080")
}

// containers are the guests, with rules as of container engines.
func (m *maker) containers() {
	m.serves("guest", "0.0.0.0:8080")
	m.do("nft add table ip docker; nft add chain ip docker post '{ type nat hook postrouting priority srcnat; }'")
	m.do("nft add rule ip docker post ip saddr %s oifname != lan1 masquerade", guest4)
	for _, hook := range []string{"prerouting", "output"} {
		m.do("nft add chain ip docker %s '{ type nat hook %s priority -100; }'", hook, hook)
		m.do("nft add rule ip docker %s fib daddr type local meta l4proto '{ tcp, udp }' th dport 8081 dnat to 192.168.20.9:8080", hook)
	}
	m.do("nft add chain ip docker forward '{ type filter hook forward priority filter; policy drop; }'")
	for _, accepted := range []string{"ct state established,related", "iifname lan1", "iifname lan0", "ct status dnat"} {
		m.do("nft add rule ip docker forward %s accept", accepted)
	}
	m.comesIn(8081)
	m.asks("lan", netns.Origin{}, "192.168.10.1:8081")
	m.asks("gateway", netns.Origin{}, "192.168.10.1:8081")
}

// fullTunnel is what wg-quick makes.
func (m *maker) fullTunnel() {
	for _, f := range []int{4, 6} {
		m.do("ip -%d route add default %s table 51821; ip -%d rule add not fwmark 51821 table 51821; ip -%d rule add table main suppress_prefixlength 0",
			f, m.via(f, 2), f, f)
	}
	m.do("sysctl -q net.ipv4.conf.all.src_valid_mark=1; nft add table ip wg-quick-vpn0")
	m.do("nft add chain ip wg-quick-vpn0 premangle '{ type filter hook prerouting priority -150; }'")
	m.do("nft add rule ip wg-quick-vpn0 premangle meta l4proto udp meta mark set ct mark")
	m.do("nft add chain ip wg-quick-vpn0 postmangle '{ type filter hook postrouting priority -150; }'")
	m.do("nft add rule ip wg-quick-vpn0 postmangle meta l4proto udp mark 51821 ct mark set mark")
	for _, d := range destinations {
		m.asks("gateway", netns.Origin{Mark: 51821}, netip.AddrPortFrom(netip.MustParseAddr(d), port).String())
	}
}

// mesh is what tailscale makes.
func (m *maker) mesh() {
	exit := m.chance(40)
	for _, f := range []int{4, 6} {
		m.do("ip -%d rule add pref 5210 fwmark 0x80000/0xff0000 lookup main; ip -%d rule add pref 5230 fwmark 0x80000/0xff0000 lookup default", f, f)
		m.do("ip -%d rule add pref 5250 fwmark 0x80000/0xff0000 unreachable; ip -%d rule add pref 5270 lookup 52", f, f)
		if exit {
			m.do("ip -%d route add default %s table 52", f, m.via(f, 2))
		}
	}
	m.do("ip -4 route add 192.0.2.140 dev vpn0 via %s.1 table 52", ends[2].v4)
	if exit && m.chance(50) { // exit nodes keep what is near
		m.do("ip -4 route add throw %s table 52; ip -4 route add throw %s table 52", lan4, guest4)
		m.do("ip -6 route add throw %s table 52; ip -6 route add throw %s table 52", lan6, guest6)
	}
	m.do("nft add table ip ts; nft add chain ip ts post '{ type nat hook postrouting priority srcnat; }'")
	m.do("nft add rule ip ts post meta mark and 0xff0000 == 0x40000 masquerade")
	m.do("nft add chain ip ts forwarding '{ type filter hook forward priority filter; }'")
	m.do("nft add rule ip ts forwarding iifname vpn0 meta mark set meta mark and 0xff00ffff or 0x40000")
	for _, d := range destinations {
		m.asks("gateway", netns.Origin{Mark: 0x80000}, netip.AddrPortFrom(netip.MustParseAddr(d), port).String())
	}
}

// ownServices are the gateway's.
func (m *maker) ownServices() {
	if slices.ContainsFunc(m.services, func(s service) bool { return s.at == "0.0.0.0:22" }) {
		return
	}
	m.serves("gateway", "0.0.0.0:22")
	m.comesIn(22)
	m.asks("lan", netns.Origin{}, "192.168.10.1:22")
	m.asks("guest", netns.Origin{}, "192.168.10.1:22")
	m.asks("lan", netns.Origin{}, ends[0].v4+".2:22")
}

// killSwitch ends what has no other way.
func (m *maker) killSwitch() {
	for _, f := range []int{4, 6} {
		m.do("ip -%d route add %s default metric %s", f, m.pick("unreachable", "blackhole"), m.pick("65000", "4278198272", "4294967295"))
	}
	if m.chance(50) {
		m.do("ip -4 rule add from %s lookup 170 pref 6100; ip -4 route add %s %s table 170; ip -4 route add blackhole default table 170", guest4, m.pick("0.0.0.0/1", "192.0.2.8/29"), m.via(4, 2))
	}
}

// halves6 are IPv6's alone.
func (m *maker) halves6() {
	if !m.halves {
		m.do("ip -6 route add ::/1 %s; ip -6 route add 8000::/1 %s", m.via(6, 2), m.via(6, 2))
	}
}
