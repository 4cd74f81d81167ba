package system

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
)

// portForward is a gateway owner's own ruleset: what arrives on wan1 for a port is
// forwarded to a host on the LAN.
const portForward = `nft -f - <<'EOF'
table inet forwards {
  chain prerouting {
    type nat hook prerouting priority dstnat
    iifname "wan1" meta nfproto ipv4 meta l4proto { tcp, udp } th dport %d dnat ip to 192.168.10.10
    iifname "wan1" meta nfproto ipv6 meta l4proto { tcp, udp } th dport %d dnat ip6 to [fd00:10::10]
  }
}
EOF`

// A client in the internet connects by the second uplink, to a host on the LAN and to
// the gateway itself, while the first one carries. The answers leave by the uplink of
// the requests, whatever happens to the first.
func TestInbound(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts lab.Options
	}{
		{"plain", usual},
		{"strict rp_filter", lab.Options{RPFilter: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, tc.opts, quickRecovery)
				g.shell(fmt.Sprintf(portForward, traffic.Port, traffic.Port))
				g.Start()
				g.Await("fiber to carry", lab.Settled)
				host, err := traffic.Serve(g.Client, lanClient[:]...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(host.Close)
				g.answersCallers()
			})
		})
	}
}

// answersCallers has clients in the internet send requests to the gateway's addresses of
// lte, and to further ones, while fiber fails and comes back, and checks that every request
// is answered.
func (g *gateway) answersCallers(further ...netip.Addr) {
	g.Helper()
	var callers []*session
	for _, to := range append([]netip.Addr{g.Uplinks[lte].Address4, g.Uplinks[lte].Address6}, further...) {
		for _, kind := range []traffic.Kind{traffic.UDPSessions, traffic.UDPStream, traffic.TCPStream, traffic.TCPSessions} {
			callers = append(callers, g.session(g.Internet, kind, to, 50))
		}
	}
	g.goOn(callers...)
	f := g.Break(fiber, "carrier")
	g.Await("lte to carry", lab.CarriedBy("lte"))
	g.Mend(f)
	g.Await("fiber to carry", lab.Settled)
	for _, c := range callers {
		c.allAnswered()
	}
}

// allAnswered checks that every request of a session was answered.
func (s *session) allAnswered() {
	s.g.Helper()
	s.Stop()
	log := s.sinceAnswered()
	for _, r := range log {
		if r.Answered.IsZero() {
			s.g.Errorf("%s: request %d of %d, sent %v: %s", s, r.Seq, len(log), r.Sent.Format(time.StampMilli), r.Err)
			return
		}
	}
	s.g.Logf("%s: all of %d answered", s, len(log))
}

// A program that listens on the gateway itself is reachable by every uplink, and
// answers by it.
func TestInboundToTheGateway(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, quickRecovery)
		own, err := traffic.Serve(g.Gateway, g.Uplinks[lte].Address4, g.Uplinks[lte].Address6)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(own.Close)
		g.answersCallers()
	})
}

// A program that listens on the gateway at no address in particular, and knows nothing of
// the addresses that it is asked at, is reached at all of them: UDP's answers come from the
// one that was asked, in the middle of the sessions too, while the other uplink is lost, and
// when their own is back.
func TestInboundToAWildcard(t *testing.T) {
	for name, config := range map[string]string{"by default": quickRecovery, "with rules": quickRecovery + ownTrafficByLTE} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, config)
				own, err := traffic.Serve(g.Gateway, netip.IPv6Unspecified())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(own.Close)
				var callers [2][]*session
				for i, u := range g.Uplinks {
					for _, to := range []netip.Addr{u.Address4, u.Address6} {
						for _, kind := range []traffic.Kind{traffic.UDPSessions, traffic.UDPStream, traffic.TCPSessions} {
							callers[i] = append(callers[i], g.session(g.Internet, kind, to, 50))
						}
					}
				}
				g.goOn(slices.Concat(callers[fiber], callers[lte])...)
				for _, lost := range []int{fiber, lte} {
					began := time.Now()
					f := g.Break(lost, "black-hole")
					g.Await("an uplink to be lost", func(s *control.Status) bool { return !lab.AllUp(s) })
					g.goOn(callers[1-lost]...)
					g.Mend(f)
					g.Await("fiber to carry, and all to be up", lab.Settled)
					g.goOn(callers[lost]...)
					for _, c := range callers[1-lost] {
						c.answeredSince(began)
					}
				}
			})
		})
	}
}

// ownTrafficByLTE leads what the gateway itself begins to a policy of lte.
const ownTrafficByLTE = `policies: [{name: own, tiers: [lte]}]
rules: [{from: [203.0.113.2, 198.51.100.2, "2001:db8:1::2", "2001:db8:2::2"], use: own}]
`

// answeredSince checks that every request of a session since an instant was answered.
func (s *session) answeredSince(since time.Time) {
	s.g.Helper()
	if o := s.Measure(since, time.Now()); o.Unanswered > 0 || !o.Over {
		s.g.Errorf("%s: %v", s, o)
	}
}

// Rules lead all that the servers and the gateway begin themselves to a policy of fiber
// alone, which blocks. What came in by lte is answered by it all the same, from the address
// that was asked: a host on the LAN behind a port forward, one that is reached without NAT,
// and the gateway itself, also while fiber fails.
func TestInboundWithPolicies(t *testing.T) {
	routed := netip.MustParseAddr("2001:db8:2:70::10")
	for name, forwarded := range map[string]bool{"forwarded": true, "to the gateway and without NAT": false} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, usual, quickRecovery+`policies: [{name: out, tiers: [fiber], last_resort: block}]
rules: [{from: [192.168.10.0/24, "fd00:10::/64", "2001:db8:2:70::/64"], use: out}, {proto: udp, use: out}, {proto: tcp, use: out}]
`)
				servers, further := map[*netns.NS][]netip.Addr{g.Client: lanClient[:]}, []netip.Addr(nil)
				if forwarded {
					g.shell(fmt.Sprintf(portForward, traffic.Port, traffic.Port))
				} else {
					g.shell("ip -6 route add 2001:db8:2:70::10/128 via fd00:10::10 dev lan0")
					g.in(g.ISP[lte], "ip -6 route add 2001:db8:2:70::/64 via 2001:db8:2::2")
					g.in(g.Client, "ip -6 addr add 2001:db8:2:70::10/128 dev eth0 nodad")
					further = []netip.Addr{routed}
					servers = map[*netns.NS][]netip.Addr{g.Client: further, g.Gateway: {g.Uplinks[lte].Address4, g.Uplinks[lte].Address6}}
				}
				g.Start()
				g.Await("all to be up", lab.Settled)
				for ns, at := range servers {
					s, err := traffic.Serve(ns, at...)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(s.Close)
				}
				g.answersCallers(further...)
			})
		})
	}
}
