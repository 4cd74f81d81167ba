package vm

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// What answers a customer who asks for a prefix, and only him.
func TestDelegation(t *testing.T) {
	r := &Router6{
		link: &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}},
		with: Advert{Delegate: netip.MustParsePrefix("2001:db8:1:50::/60"), Interval: 4 * time.Second, Time: 30 * time.Second},
	}
	const client, delegation = "\x00\x01\x00\x02\xab\xcd", "\x00\x19\x00\x0c\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00"
	want := "\x01\x02\x03" + client +
		"\x00\x02\x00\x0a\x00\x03\x00\x01\x02\x00\x00\x00\x00\x01" +
		"\x00\x19\x00\x29\x00\x00\x00\x07\x00\x00\x00\x04\x00\x00\x00\x08" +
		"\x00\x1a\x00\x19\x00\x00\x00\x1d\x00\x00\x00\x1e\x3c\x20\x01\x0d\xb8\x00\x01\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00"
	for asked, answer := range map[string]string{
		"\x01\x01\x02\x03" + client + delegation: "\x02" + want,
		"\x05\x01\x02\x03" + client + delegation: "\x07" + want,
		"\x05\x01\x02\x03" + client:              "",
		"\x05\x01\x02\x03" + delegation:          "",
		"\x0b\x01\x02\x03" + client + delegation: "",
		"\x01\x01":                               "",
	} {
		if got := string(r.answer([]byte(asked))); got != answer {
			t.Errorf("to %q: %q, want %q", asked, got, answer)
		}
	}
}

// TestIPv6 plays two uplinks with router advertisements every few seconds. The first
// one's link has a link-local address alone, and its ISP delegates a prefix to the LAN;
// the second's has an address by autoconfiguration, and nothing for the LAN.
func TestIPv6(t *testing.T) {
	onNewest(t, setting{}, func(t *testing.T, s *site) {
		routers := s.route6()
		s.networkd6(routers)
		s.install()
		native := netip.PrefixFrom(nativeClient, 128)
		if err := s.lab.Client.AddAddr("eth0", netip.PrefixFrom(nativeClient, 64)); err != nil {
			t.Fatal(err)
		}
		c := s.follow6(traffic.UDPSessions)
		s.from(c, native)
		t.Run("renewals", func(t *testing.T) { s.in(t).renewals6(c, routers) })
		t.Run("black-hole", func(t *testing.T) { s.in(t).fault6(c, "black-hole=ipv6") })
		t.Run("withdrawn", func(t *testing.T) { s.in(t).withdrawn6(c, routers[0]) })
		t.Run("carrier", func(t *testing.T) { s.in(t).carrier6(c) })
	})
}

// The client's address of the prefix that the first ISP delegates.
var nativeClient = func() netip.Addr { _, _, a := lab.ClientAddresses(0); return a }()

const adverts = 4 * time.Second // between two

// route6 starts the routers of both ISPs.
func (s *site) route6() (routers [2]*Router6) {
	s.t.Helper()
	for i, with := range []Advert{
		{Delegate: netip.MustParsePrefix("2001:db8:1:50::/60"), Interval: adverts, Time: 8 * adverts},
		{Prefix: s.lab.Uplinks[lab.LTE].Prefix6, Interval: adverts, Time: 8 * adverts},
	} {
		r, err := Route6(s.lab.ISP[i], "cust", netip.MustParseAddr("fe80::1"), with)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(r.Close)
		routers[i] = r
	}
	return routers
}

// networkd6 has systemd-networkd lease both uplinks, take routers and addresses from
// advertisements, and give the LAN the delegated prefix.
func (s *site) networkd6(routers [2]*Router6) {
	s.t.Helper()
	for _, up := range s.lab.Uplinks {
		s.run(fmt.Sprintf("printf '[Match]\\nName=%[1]s\\n[Network]\\nDHCP=yes\\nIPv6AcceptRA=yes\\n[DHCPv4]\\nRouteMetric=%[2]d\\n"+
			"[DHCPv6]\\nUseAddress=no\\n[IPv6AcceptRA]\\nRouteMetric=%[2]d\\n' >/etc/systemd/network/20-%[1]s.network", up.Interface, up.Metric4))
	}
	s.run("printf 'DHCPPrefixDelegation=yes\\n[DHCPPrefixDelegation]\\nUplinkInterface=wan0\\nSubnetId=0\\nToken=::1\\nAnnounce=no\\n' >>/etc/systemd/network/20-lan0.network")
	s.run("systemctl enable --now systemd-networkd")
	s.await("both uplinks to be leased", func() bool { return s.providers[0].Acks() > 0 && s.providers[1].Acks() > 0 })
	s.await("a prefix to be delegated", func() bool {
		return routers[0].Replies() > 0 && strings.Contains(s.run("ip -6 -o address show dev lan0"), "2001:db8:1:50::1/64")
	})
	s.await("both uplinks to have routers", func() bool { return strings.Count(s.run("ip -6 route show default"), "via fe80::1") == 2 })
	s.t.Logf("%s", s.run("ip -6 -o address; ip -6 route"))
}

func (s *site) follow6(kind traffic.Kind) *traffic.Client {
	s.t.Helper()
	c, err := traffic.Start(s.lab.Client, kind, lab.Server6, traffic.Options{Rate: 10, Timeout: 2 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Stop)
	return c
}

// from waits until new requests reach the server from a prefix.
func (s *site) from(c *traffic.Client, p netip.Prefix) {
	s.t.Helper()
	since := time.Now()
	s.await(fmt.Sprintf("the LAN to come from %s", p), func() bool {
		for _, r := range c.Log() {
			if r.Sent.After(since) && p.Contains(r.Via) {
				return true
			}
		}
		return false
	})
}

// native and translated are where the client comes from: by the first uplink with its
// own address, by the second with that of the gateway.
func (s *site) native(c *traffic.Client)     { s.from(c, netip.PrefixFrom(nativeClient, 128)) }
func (s *site) translated(c *traffic.Client) { s.from(c, s.lab.Uplinks[lab.LTE].Prefix6) }

// renewals6 waits for five more advertisements of each router and renewals of the
// prefix, under traffic: nothing breaks, and nothing is an event.
func (s *site) renewals6(c *traffic.Client, routers [2]*Router6) {
	stream := s.follow6(traffic.TCPStream)
	before, begin := s.switches(), time.Now()
	sent := [2]int64{routers[0].Sent(), routers[1].Sent()}
	replies := routers[0].Replies()
	s.await("five advertisements of each router and five renewals of the prefix", func() bool {
		return routers[0].Sent() >= sent[0]+5 && routers[1].Sent() >= sent[1]+5 && routers[0].Replies() >= replies+5
	})
	stream.Stop()
	for _, c := range []*traffic.Client{c, stream} {
		o := c.Measure(begin, time.Now())
		s.t.Logf("%s over %d and %d advertisements, %d renewals: %v", c.Kind,
			routers[0].Sent()-sent[0], routers[1].Sent()-sent[1], routers[0].Replies()-replies, o)
		if o.Unanswered > 0 || len(c.Breaks()) > 0 {
			s.t.Errorf("%s: %v, broken %d times", c.Kind, o, len(c.Breaks()))
		}
	}
	if n := s.switches() - before; n > 0 {
		s.t.Errorf("%d switches:\n%s", n, s.run("swerve events"))
	}
	s.native(c)
}

// fault6 breaks IPv6 on the first uplink.
func (s *site) fault6(c *traffic.Client, spec string) {
	f, err := s.lab.Fault(lab.Fiber, spec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.translated(c)
	s.t.Logf("%s: %v", spec, c.Measure(f.Onset, time.Now()))
	if err := f.Undo(); err != nil {
		s.t.Fatal(err)
	}
	s.native(c)
	s.settled()
}

// withdrawn6 has the first router withdraw itself, and advertise itself again. Its line
// works all the same, so that nothing is lost, wherever the traffic goes.
func (s *site) withdrawn6(c *traffic.Client, router *Router6) {
	begin := time.Now()
	router.SetLifetime(0)
	s.await("the route to be withdrawn", func() bool { return !strings.Contains(s.run("ip -6 route show default dev wan0 proto ra"), "via") })
	sent := router.Sent()
	s.await("two more such advertisements", func() bool { return router.Sent() >= sent+2 })
	router.SetLifetime(8 * adverts)
	s.await("the route to be back", func() bool { return strings.Contains(s.run("ip -6 route show default dev wan0 proto ra"), "via") })
	o := c.Measure(begin, time.Now())
	s.t.Logf("withdrawn: %v\n%s", o, s.since(begin))
	if o.Unanswered > 0 {
		s.t.Errorf("withdrawn: %v", o)
	}
	s.native(c)
	s.settled()
}

// carrier6 pulls the plug of the first uplink, and plugs it in again: the prefix of the
// LAN is delegated anew.
func (s *site) carrier6(c *traffic.Client) {
	if err := s.guest.SetCarrier("wan0", false); err != nil {
		s.t.Fatal(err)
	}
	begin := time.Now()
	s.translated(c)
	s.t.Logf("carrier: %v", c.Measure(begin, time.Now()))
	if err := s.guest.SetCarrier("wan0", true); err != nil {
		s.t.Fatal(err)
	}
	s.native(c)
	s.settled()
}
