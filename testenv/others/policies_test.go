package others

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// guests leads one of two clients on the LAN to a policy of lte; the other goes by fiber.
const guests = quick + `policies: [{name: guests, tiers: [lte]}]
rules: [{from: [192.168.10.11, "fd00:10::11"], use: guests}]
`

// touch is what another program puts into the kernel, and how it takes that back.
type touch struct {
	name     string
	up, down string
	// again is what the program does now and then, while we run.
	again string
	// port is the bridge's port for a container.
	port string
	// strict filters reverse paths.
	strict bool
	// elsewhere are the families that the default policy's new sessions leave to others'
	// default route, as before us.
	elsewhere [2]bool
	// canary: is also in the short run.
	canary bool
}

// gone is the removal of the lab's default routes, and back their return.
const (
	gone = "ip route del default dev wan0; ip route del default dev wan1\n"
	back = "\nip route add default via 203.0.113.1 dev wan0 proto dhcp src 203.0.113.2 metric 100" +
		"\nip route add default via 198.51.100.1 dev wan1 proto dhcp src 198.51.100.2 metric 200"
)

// touches are what programs and persons leave in a kernel's routes and packet filters.
func touches() []touch {
	masquerades := func(name, priority string) string {
		return fmt.Sprintf("nft 'table inet %s { chain post { type nat hook postrouting priority %s; oifname \"wan*\" meta nfproto ipv4 masquerade; oifname \"wan*\" ip6 saddr fc00::/7 masquerade; }; }'\n", name, priority)
	}
	docker := `nft -f - <<'END'
table ip nat
delete table ip nat
table ip filter
delete table ip filter
table ip nat {
	chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local jump DOCKER; }
	chain POSTROUTING { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade; }
	chain DOCKER { iifname != "docker0" meta l4proto { tcp, udp } th dport 8081 dnat to 172.17.0.2:7000; }
}
table ip filter {
	chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; jump DOCKER-FORWARD; }
	chain DOCKER-USER { iifname "lan0" accept; ct state established,related accept; ct status dnat accept; }
	chain DOCKER-FORWARD { oifname "docker0" ct state established,related accept; iifname "docker0" accept; }
}
END
`
	return []touch{
		{name: "Docker", up: "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up\n" + docker, again: docker, port: "veth7",
			down: "nft delete table ip nat; nft delete table ip filter; ip link del docker0"},
		{name: "masquerade before ours", up: masquerades("early", "srcnat - 10"), down: "nft delete table inet early"},
		{name: "masquerade around ours", up: masquerades("early", "srcnat - 10") + masquerades("late", "srcnat + 20"), down: "nft delete table inet early; nft delete table inet late"},
		{name: "masquerade after ours", up: masquerades("late", "srcnat + 20"), down: "nft delete table inet late"},
		{name: "strict rp_filter", strict: true},
		{name: "default of metric 0 by fiber", up: "ip route add default via 203.0.113.1 dev wan0", down: "ip route del default via 203.0.113.1 dev wan0 metric 0"},
		{name: "default of metric 0 by lte", up: "ip route add default via 198.51.100.1 dev wan1; ip -6 route add default via fe80::1 dev wan1 metric 1",
			down: "ip route del default via 198.51.100.1 dev wan1 metric 0; ip -6 route del default via fe80::1 dev wan1 metric 1"},
		{name: "default of metric 0 by another device", up: "ip route add default via 10.8.0.1 dev vpn0; ip -6 route add default via fd08::1 dev vpn0 metric 1",
			down: "ip route del default via 10.8.0.1; ip -6 route del default via fd08::1 metric 1", elsewhere: [2]bool{true, true}},
		{name: "nexthop objects", up: gone + `ip nexthop add id 11 via 203.0.113.1 dev wan0; ip nexthop add id 12 via 198.51.100.1 dev wan1
			ip route add default nhid 11 metric 10; ip route add default nhid 12 metric 20
			ip nexthop add id 13 via fe80::1 dev wan0; ip -6 route add default nhid 13 metric 10`,
			down: "for id in 11 12 13; do ip nexthop del id $id; done" + back},
		{name: "group of nexthop objects", up: gone + `ip nexthop add id 11 via 203.0.113.1 dev wan0; ip nexthop add id 12 via 198.51.100.1 dev wan1
			ip nexthop add id 20 group 11,2/12,1; ip route add default nhid 20
			ip nexthop add id 13 via fe80::1 dev wan0; ip nexthop add id 14 via fe80::1 dev wan1; ip nexthop add id 21 group 13/14; ip -6 route add default nhid 21 metric 10`,
			down: "for id in 20 21 11 12 13 14; do ip nexthop del id $id; done" + back, canary: true},
		{name: "multipath default", up: gone + `ip route add default nexthop via 203.0.113.1 dev wan0 weight 2 nexthop via 198.51.100.1 dev wan1 weight 1
			ip -6 route add default metric 10 nexthop via fe80::1 dev wan0 nexthop via fe80::1 dev wan1`,
			down: "ip route del default; ip -6 route del default metric 10; ip -6 route del default metric 10 2>/dev/null || true" + back},
	}
}

// A client goes by a policy of lte, another by fiber, and callers reach the gateway and a
// host behind it by either uplink. What other programs put into the kernel, before our
// start or while we run, stays as they put it, also what they do anew, nobody undoes the
// other's work, and each client goes its way while uplinks fail and return.
func TestPoliciesInASharedKernel(t *testing.T) {
	for _, c := range touches() {
		if !c.canary && *folder == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := masqueraded
			opts.Clients = 2
			if c.strict {
				opts.RPFilter = 1
			}
			h := newHouse(t, opts, guests)
			h.vpn()
			p := h.parted()
			h.sh(c.up)
			foreign := h.foreign()
			h.Start()
			h.Await("fiber to carry beside it", lab.Settled)
			p.play(c, foreign)
			h.sh(c.down)
			p.goTheirWays(touch{}, fiber, lte)
			foreign = h.foreign()
			h.Stop()
			if now := h.foreign(); now != foreign {
				t.Errorf("beside us\n%s\nand after our end\n%s", foreign, now)
			}
			h.Start()
			h.Await("fiber to carry after a restart", lab.Settled)
			if *folder == "" {
				return // the canary is short
			}
			h.sh(c.up)
			if c.port != "" {
				c.port = "veth8"
			}
			p.play(c, h.foreign())
			h.sh(c.down)
			p.goTheirWays(touch{}, fiber, lte)
			h.inPlace("after its end")
			if n := len(h.repairs()); n > 0 {
				t.Errorf("%d repairs: %+v", n, h.repairs()[0].Detail)
			}
		})
	}
}

// parted are new sessions of two clients, by family: of a guest and of the other one.
type parted struct {
	*house
	guest, other [2]*session
}

// parted starts them, and lets callers in: to services of the gateway, and by the owner's
// port forward to the first client.
func (h *house) parted() *parted {
	h.t.Helper()
	p := &parted{house: h}
	for _, f := range failover.Families {
		p.other[f] = h.session(h.Clients[0], traffic.UDPSessions, lab.Servers[f])
		p.guest[f] = h.session(h.Clients[1], traffic.TCPSessions, lab.Servers[f])
	}
	h.sh(`nft 'table inet owner { chain pre { type nat hook prerouting priority dstnat
		iifname "wan*" meta nfproto ipv4 meta l4proto { tcp, udp } th dport 7002 dnat ip to 192.168.10.10
		iifname "wan*" meta nfproto ipv6 meta l4proto { tcp, udp } th dport 7002 dnat ip6 to [fd00:10::10]; }; }'`)
	for _, a := range h.addresses() {
		serve(h.t, h.Gateway, netip.AddrPortFrom(a, 7001))
	}
	for _, a := range []string{"192.168.10.10", "fd00:10::10"} {
		serve(h.t, h.Clients[0], netip.AddrPortFrom(netip.MustParseAddr(a), 7002))
	}
	return p
}

// addresses are the gateway's on its uplinks.
func (h *house) addresses() (out []netip.Addr) {
	for _, u := range h.Uplinks {
		out = append(out, u.Address4, u.Address6)
	}
	return out
}

// goTheirWays waits until the sessions of each go by an uplink; those of the other one as
// what has touched the kernel has it.
func (p *parted) goTheirWays(c touch, other, guest int) {
	p.t.Helper()
	for _, f := range failover.Families {
		p.goBy(guest, p.guest[f])
		if c.elsewhere[f] {
			p.goFrom(beyond[f], p.other[f])
		} else {
			p.goBy(other, p.other[f])
		}
	}
}

// answersCallers checks that each service answers by each uplink.
func (p *parted) answersCallers() {
	p.t.Helper()
	for _, a := range p.addresses() {
		for _, port := range []uint16{7001, 7002} {
			for _, network := range []string{"tcp", "udp"} {
				p.answers(network, netip.AddrPortFrom(a, port))
			}
		}
	}
}

// answers waits until a service is reached from the internet.
func (h *house) answers(network string, at netip.AddrPort) {
	h.t.Helper()
	var last error
	err := wait.Until(h.t.Context(), "an answer", func() bool {
		last = asks(h.Internet, network, at)
		return last == nil
	})
	if err != nil {
		h.t.Errorf("%s at %s: %v, %v", network, at, err, last)
	}
}

// play has uplinks fail and return beside what has touched the kernel, which stays.
func (p *parted) play(c touch, foreign string) {
	p.t.Helper()
	if c.port != "" {
		p.contained(c.port)
	}
	p.goTheirWays(c, fiber, lte)
	p.answersCallers()
	if c.again != "" {
		for range 3 {
			p.sh(c.again)
			p.goTheirWays(c, fiber, lte)
		}
	}
	p.calm(c.name, 2*time.Second)
	f := p.Break(fiber, "black-hole")
	p.Await("lte to carry", lab.CarriedBy("lte"))
	p.goTheirWays(c, lte, lte)
	p.Mend(f)
	p.Await("fiber to carry again", lab.Settled)
	f = p.Break(lte, "black-hole")
	p.goTheirWays(c, fiber, fiber)
	p.Mend(f)
	p.Await("lte to be up again", lab.Settled)
	p.goTheirWays(c, fiber, lte)
	p.answersCallers()
	if now := p.foreign(); now != foreign {
		p.t.Errorf("of others there was\n%s\nand now is\n%s", foreign, now)
	}
}

// contained checks that a container reaches the internet and is reached.
func (p *parted) contained(port string) {
	p.t.Helper()
	c := p.container("docker0", port, "172.17.0.2", "172.17.0.1")
	serve(p.t, c, netip.MustParseAddrPort("0.0.0.0:7000"))
	p.goBy(fiber, p.session(c, traffic.UDPSessions, lab.Server4))
	p.published()
}

// foreign lists what is in the kernel that is not ours, without containers.
func (h *house) foreign() string {
	h.t.Helper()
	return h.sh(`for f in 4 6; do ip -$f rule; ip -o -$f route show table all; done | grep -v -e 'proto 83' -e 'dev veth' -e 'dev docker0' | sed 's/expires [0-9]*sec//'
		ip nexthop; grep . /proc/sys/net/ipv4/conf/*/rp_filter | grep -v veth
		nft list tables | grep -v 'inet swerve' | while read -r _ family name; do nft -s list table $family $name; done`)
}
