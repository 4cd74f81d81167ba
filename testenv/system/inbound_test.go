package system

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

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
