package field

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// machine is a gateway as somebody else has set it up, as scripts.
type machine struct {
	seed uint64
	// gateway is the script for the gateway, and ways those for the other ends of
	// wan0, wan1 and vpn0.
	gateway []string
	ways    [3][]string
	// order is that of the uplinks in main, the best first.
	order [2]int
	// auto: the configuration names no uplinks.
	auto bool
	// narrow: main has routes that are narrower than half of everything, other than
	// those of its networks.
	narrow bool
	// halves: main has routes that cover everything by halves.
	halves bool
	// others: main has defaults of others than the uplinks.
	others bool
	// both: both uplinks delegate a prefix, where one does.
	both bool
	// kinds are what else is on the machine; see kinds.
	kinds []string
	// shares are the weights of the uplinks in main's one route by both; zero where each
	// has its own.
	shares [2]int
	// objects: these are hops of a nexthop object.
	objects bool
	// lan is the script for the LAN's host.
	lan []string
	// flows are those beside the usual ones; services are what answers them.
	flows    []request
	services []service
}

// ends are the devices of the gateway, and what the network behind each is.
var ends = [3]struct{ dev, v4, v6 string }{
	{"wan0", "203.0.113", "2001:db8:1:"},
	{"wan1", "198.51.100", "2001:db8:2:"},
	{"vpn0", "10.8.0", "fd08:"},
}

// destinations are served behind each of the ends.
var destinations = []string{
	"192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.140",
	"2001:db8:ffff::10", "2001:db8:ffff::11", "2001:db8:ffff::12", "2001:db8:ffff:8000::14",
}

// The LAN's networks, and those of the guests beside it.
const (
	lan4, lan6     = "192.168.10.0/24", "fd00:10::/64"
	guest4, guest6 = "192.168.20.0/24", "fd00:20::/64"
)

// maker makes one machine of a seed.
type maker struct {
	*rand.Rand
	// later decides about what was added to the machines, which stay what they were.
	later *rand.Rand
	machine
}

func newMachine(seed uint64) machine {
	m := maker{Rand: rand.New(rand.NewPCG(seed, 83)), later: rand.New(rand.NewPCG(seed, 84)), machine: machine{seed: seed}}
	m.both = m.later.IntN(2) == 0
	m.choose()
	m.devices()
	m.defaults()
	m.tunnel()
	m.translation()
	m.details()
	m.more()
	return m.machine
}

// chance is true in so many of a hundred cases.
func (m *maker) chance(percent int) bool { return m.IntN(100) < percent }

// mask is that of a rule for a mark, or none.
func (m *maker) mask() string { return [...]string{"/0xff", "", ""}[m.later.IntN(3)] }

func (m *maker) pick(from ...string) string { return from[m.IntN(len(from))] }

// do adds lines to the gateway's script.
func (m *maker) do(format string, args ...any) {
	m.gateway = append(m.gateway, fmt.Sprintf(format, args...))
}

func (m *maker) devices() {
	for i, e := range ends {
		m.do("ip link set %s up; ip addr add %s.2/24 dev %s", e.dev, e.v4, e.dev)
		w := []string{fmt.Sprintf("ip link set %s up; ip addr add %s.1/24 dev %s", e.dev, e.v4, e.dev)}
		switch {
		case m.delegates(i):
			m.do("ip -6 addr add fe80::2/64 dev %s; ip -6 addr add %s50::1/64 dev lan0", e.dev, e.v6)
			m.lan = append(m.lan, fmt.Sprintf("ip -6 addr add %s50::9/64 dev eth0", e.v6))
			w = append(w, fmt.Sprintf("ip -6 addr add fe80::1/64 dev %s; ip -6 route add %s50::/60 via fe80::2 dev %s", e.dev, e.v6, e.dev))
		default:
			m.do("ip -6 addr add %s:2/64 dev %s", e.v6, e.dev)
			w = append(w, fmt.Sprintf("ip -6 addr add %s:1/64 dev %s", e.v6, e.dev))
		}
		for _, d := range destinations {
			w = append(w, "ip addr add "+d+" dev lo")
		}
		m.ways[i] = w
		if m.chance(20) {
			m.do("ip addr add %s.7/24 dev %s", e.v4, e.dev)
		}
	}
	m.do("ip addr add 192.168.10.1/24 dev lan0; ip -6 addr add fd00:10::1/64 dev lan0; ip link set lan0 up")
	m.do("ip addr add 192.168.20.1/24 dev lan1; ip -6 addr add fd00:20::1/64 dev lan1; ip link set lan1 up")
	if m.chance(30) {
		m.do("ip addr add 172.20.0.1/32 dev lo; ip -6 addr add fd00:99::1/128 dev lo")
	}
}

// via is the way by one of the ends.
func (m *maker) via(f, i int) string {
	e := ends[i]
	switch {
	case f == 4:
		return fmt.Sprintf("via %s.1 dev %s onlink", e.v4, e.dev)
	case m.delegates(i):
		return "via fe80::1 dev " + e.dev + " onlink"
	}
	return fmt.Sprintf("via %s:1 dev %s onlink", e.v6, e.dev)
}

// defaults are those of the uplinks, in both families in the same order.
func (m *maker) defaults() {
	m.order = [2]int{0, 1}
	if m.chance(50) {
		m.order = [2]int{1, 0}
	}
	first := m.pick("0", "1", "50", "100", "700", "1024")
	second := m.pick("1025", "2000", "20000", "60000")
	if m.has("multipath") {
		m.multipath(first)
		return
	}
	for i, metric := range []string{first, second} {
		n := m.order[i]
		via4 := m.via(4, n)
		if m.chance(15) {
			via4 += fmt.Sprintf(" src %s.2", ends[n].v4)
		}
		m.do("ip -4 route add default %s metric %s proto %s", via4, metric, m.pick("dhcp", "static", "boot"))
		m.do("ip -6 route add default %s metric %s proto %s", m.via(6, n), metric, m.pick("ra", "static", "boot"))
	}
}

// tunnel is a VPN.
func (m *maker) tunnel() {
	e := ends[2]
	switch m.pick("", "", "default", "worse", "halves", "table", "net") {
	case "default":
		m.others = true
		metric := m.pick("5", "49")
		m.do("ip -4 route add default via %s.1 dev vpn0 metric %s", e.v4, metric)
		m.do("ip -6 route add default via %s:1 dev vpn0 metric %s", e.v6, m.pick("5", "49"))
	case "worse":
		m.others = true
		m.do("ip -4 route add default via %s.1 dev vpn0 metric 30000", e.v4)
	case "halves":
		m.halves = true
		m.do("ip -4 route add 0.0.0.0/1 via %s.1; ip -4 route add 128.0.0.0/1 via %s.1", e.v4, e.v4)
		if m.chance(50) {
			m.do("ip -6 route add ::/1 via %s:1; ip -6 route add 8000::/1 via %s:1", e.v6, e.v6)
		}
	case "table": // as wg-quick's
		m.do("ip -4 route add default via %s.1 dev vpn0 table 51820", e.v4)
		at := 1 + m.IntN(32763)
		m.do("ip -4 rule add not fwmark 0xca6c lookup 51820 pref %d", at)
		m.do("ip -4 rule add lookup main suppress_prefixlength 0 pref %d", at-1)
	case "net":
		m.narrow = true
		m.do("ip -4 route add 192.0.2.128/25 via %s.1; ip -6 route add 2001:db8:ffff:8000::/65 via %s:1", e.v4, e.v6)
	}
}

// translation is the NAT of others. The networks behind know the way back to the LAN
// only where nothing is translated.
func (m *maker) translation() {
	if m.has("no-nat") { // but the kernel tracks its flows
		m.do("nft add table inet stateful; nft add chain inet stateful forward '{ type filter hook forward priority filter; }'")
		m.do("nft add rule inet stateful forward ct state established,related accept")
	} else {
		m.do("nft add table inet nat; nft add chain inet nat post '{ type nat hook postrouting priority srcnat; }'")
	}
	for i, e := range ends {
		switch {
		case m.has("no-nat") || i == 2 && m.chance(40): // routed both ways
			back := fmt.Sprintf("via %s:2", e.v6)
			if m.delegates(i) {
				back = "via fe80::2 dev " + e.dev
			}
			for _, n := range [][2]string{{lan4, lan6}, {guest4, guest6}} {
				m.ways[i] = append(m.ways[i], fmt.Sprintf("ip route add %s via %s.2; ip -6 route add %s %s", n[0], e.v4, n[1], back))
			}
		case m.delegates(i): // IPv6 is not translated
			m.do("nft add rule inet nat post oifname %s meta nfproto ipv4 masquerade", e.dev)
		case m.chance(15):
			m.do("ip addr replace %s.8/24 dev %s; nft add rule inet nat post oifname %s meta nfproto ipv4 snat ip to %s.8", e.v4, e.dev, e.dev, e.v4)
			m.do("nft add rule inet nat post oifname %s meta nfproto ipv6 masquerade", e.dev)
		default:
			m.do("nft add rule inet nat post oifname %s masquerade", e.dev)
		}
	}
}

// details are routes, rules and marks.
func (m *maker) details() {
	way := func() string { e := ends[m.IntN(3)]; return fmt.Sprintf("via %s.1 dev %s", e.v4, e.dev) }
	m.narrow = m.narrow || m.chance(50) && !m.has("no-nat")
	free := []string{"100", "200", "300", "5000", "5290", "5300", "5301", "5364", "10000", "32000", "32764", "32765"}
	m.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	pref := func() string {
		next := free[0]
		free = free[1:]
		return next
	}
	if m.narrow && m.chance(50) {
		m.do("ip -4 route add 192.0.2.11 %s proto %s metric %s", way(), m.pick("static", "dhcp"), m.pick("0", "100"))
	}
	if m.narrow && m.chance(40) {
		m.do("ip -4 route add 192.0.2.12/31 %s", way())
	}
	if m.narrow && m.chance(30) {
		m.do("ip -4 route add blackhole 192.0.2.12")
	}
	if m.chance(25) {
		m.do("ip -4 route add default %s table 100; ip -4 rule add from 192.168.10.0/24 lookup 100 pref %s", way(), pref())
	}
	if m.chance(25) {
		m.do("ip -4 route add default %s table 101; ip -4 rule add to 192.0.2.12 lookup 101 pref %s", way(), pref())
	}
	if m.chance(15) {
		m.do("ip -4 route add default %s table 103; ip -4 rule add iif lan0 lookup 103 pref %s", way(), pref())
	}
	if m.chance(25) && !m.has("no-nat") { // without a default, inverted, by user, protocol or port, in steps
		m.do("ip -4 route add 192.0.2.8/29 %s table 105; ip -4 rule add %s lookup 105 pref %s", way(),
			m.pick("from all", "not fwmark 0xca6c", "uidrange 0-99", "ipproto udp", "ipproto tcp dport 7000", "to 192.0.2.8/29"), pref())
	}
	if m.chance(15) {
		m.do("ip -4 route add default %s table 106; ip -4 rule add to 192.0.2.140 goto 32700 pref %s", way(), m.pick("250", "5305", "20000"))
		m.do("ip -4 rule add lookup 106 to 192.0.2.128/25 pref 32700")
	}
	if m.chance(25) && !m.has("no-nat") {
		by, mask, at := way(), m.mask(), pref()
		if len(at) < 4 || at < "5300" && at > "5" {
			mask = "/0xff"
		}
		m.do("ip -4 route add default %s table 102; ip -4 rule add fwmark 0x1%s lookup 102 pref %s", by, mask, at)
		m.do("nft add table inet marks; nft add chain inet marks pre '{ type filter hook prerouting priority mangle; }'")
		m.do("nft add chain inet marks out '{ type route hook output priority mangle; }'")
		for _, chain := range []string{"pre", "out"} {
			if m.chance(20) { // without a mask
				m.do("nft add rule inet marks %s ct mark != 0 meta mark set ct mark", chain)
			}
			if m.chance(50) {
				m.do("nft add rule inet marks %s ct mark '&' 0xff != 0 meta mark set ct mark '&' 0xff", chain)
				m.do("nft add rule inet marks %s ip daddr 192.0.2.11 ct mark set ct mark '|' 0x1", chain)
			}
			m.do("nft add rule inet marks %s ip daddr 192.0.2.11 meta mark set meta mark '|' 0x1", chain)
		}
	}
	if m.chance(25) {
		m.do("ip -6 route add default %s table 104; ip -6 rule add %s lookup 104 pref %s", m.via(6, m.IntN(3)),
			m.pick("from fd00:10::/64", "to 2001:db8:ffff::11", "iif lan0"), pref())
	}
	// Without a configuration a default is an uplink's, unless its device is a tunnel,
	// which vpn0 is not for the kernel.
	m.auto = !m.others && m.chance(40)
	if strict := m.pick("0", "0", "2"); strict != "0" {
		m.do("sysctl -q net/ipv4/conf/all/rp_filter=%s", strict)
	}
}

// String is the machine as a script for a person.
func (m machine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "machine %d, %s; uplinks %s, %s, auto %v; in the gateway:\n  %s\n", m.seed, strings.Join(m.kinds, " "),
		ends[m.order[0]].dev, ends[m.order[1]].dev, m.auto, strings.Join(m.gateway, "\n  "))
	for i, w := range m.ways {
		fmt.Fprintf(&b, "behind %s:\n  %s\n", ends[i].dev, strings.Join(w, "\n  "))
	}
	return b.String()
}
