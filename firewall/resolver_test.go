package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	match "swerve/rule"
	"swerve/testenv/netns"
)

// resolverOf are hosts of the internet that a lab's second uplink names as its resolvers.
var resolverOf = [2]string{"192.0.2.53", "2001:db8:99::53"}

// resolving returns a lab whose second uplink has resolvers, while the first one carries.
func resolving(t *testing.T, f failover.Family, change func(*Goal)) *lab {
	t.Helper()
	l := newLab(t)
	a := netip.MustParseAddr(resolverOf[f])
	l.address(l.net, "lo", resolverOf[f], a.BitLen())
	l.goal.Uplinks[1].DNS = []netip.Addr{a}
	change(&l.goal)
	l.apply()
	l.watchWrong()
	loadText(t, l.net, fmt.Sprintf(`table inet asked { counter elsewhere { }; chain pre { type filter hook prerouting priority raw; iifname "ispA" %s daddr %s counter name elsewhere; }; }`,
		plans[f].family, resolverOf[f]))
	serveUDP(t, l.net, at(resolverOf[f], 53))
	serveTCP(t, l.net, at(resolverOf[f], 53))
	serveUDP(t, l.net, at(plans[f].host, 53))
	return l
}

// neverElsewhere checks that nothing for the resolver left by the first uplink.
func (l *lab) neverElsewhere() {
	l.t.Helper()
	if out := run(l.t, l.net, "nft", "list", "counter", "inet", "asked", "elsewhere"); !strings.Contains(out, "packets 0 ") {
		l.t.Errorf("the resolver was asked by another uplink: %s", out)
	}
}

// refused checks that a question is answered with an error at once.
func refused(t *testing.T, ns *netns.NS, what, to string) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		began := time.Now()
		var c net.Conn
		err := ns.Do(func() (err error) {
			c, err = net.DialTimeout(network, to, 10*time.Second)
			return err
		})
		if err == nil {
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err = c.Write([]byte("?")); err == nil {
				_, err = c.Read(make([]byte, 9))
			}
		}
		// What a socket of the gateway sends by UDP is refused to itself.
		if !errors.Is(err, unix.ECONNREFUSED) && !(network == "udp" && errors.Is(err, unix.EPERM)) {
			t.Errorf("%s by %s: %v after %v", what, network, err, time.Since(began))
		}
	}
}

// An uplink's resolver is asked through it by the LAN and by the gateway, by UDP and TCP,
// whichever carries and whatever the rules say; also where it translates nothing else.
func TestResolversAreAskedThroughTheirUplink(t *testing.T) {
	for _, f := range failover.Families {
		for name, change := range map[string]func(*Goal){
			"plain": func(*Goal) {},
			"rules": func(g *Goal) {
				g.Policies = append(g.Policies, Policy{Lane: 65, Name: "first", Uplinks: []lane.Lane{1}, Block: true})
				g.Rules = []Rule{{Match: match.Match{Proto: 17}, Policy: 65}, {Match: match.Match{Proto: 6}, Policy: 65}}
			},
			"no NAT": func(g *Goal) { g.Uplinks[1].SNAT, g.Uplinks[1].SNAT6 = false, None },
		} {
			t.Run(f.String()+" "+name, func(t *testing.T) {
				p := plans[f]
				l := resolving(t, f, change)
				want := p.b
				if name == "no NAT" {
					l.unNATed(f, p.b)
					want = p.client
				}
				to := at(resolverOf[f], 53)
				if got := askUDP(t, dialUDP(t, l.client, to)); got != want {
					t.Errorf("the LAN by UDP: %s", got)
				}
				if got, err := askTCP(dialTCP(t, l.client, to)); got != want {
					t.Errorf("the LAN by TCP: %s, %v", got, err)
				}
				if got := askUDP(t, dialUDP(t, l.gw, to)); got != p.b {
					t.Errorf("the gateway by UDP: %s", got)
				}
				if got, err := askTCP(dialTCP(t, l.gw, to)); got != p.b {
					t.Errorf("the gateway by TCP: %s, %v", got, err)
				}
				if name == "plain" {
					if got := askUDP(t, dialUDP(t, l.client, at(p.host, 53))); got != p.a {
						t.Errorf("another host: %s", got)
					}
				}
				l.neverElsewhere()
			})
		}
	}
}

// The resolvers of an uplink that is drained and not down are asked on, in connections of
// before and by new ones, while all else that it had leaves it.
func TestResolversOfADrainedUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l, p := resolving(t, f, func(*Goal) {}), plans[f]
			to := at(resolverOf[f], 53)
			tcp, own := dialTCP(t, l.client, to), dialTCP(t, l.gw, to)
			for _, c := range []net.Conn{tcp, own} {
				if got, err := askTCP(c); err != nil || got != p.b {
					t.Fatalf("before: %s, %v", got, err)
				}
			}
			l.move(func(g *Goal) { g.Lost[f], g.Drained[f] = []Pair{{2, 64}}, []lane.Lane{2} })
			l.deleteFlows(f, 2, 64)
			for i, c := range []net.Conn{tcp, own, dialTCP(t, l.client, to), dialTCP(t, l.gw, to)} {
				for range 2 {
					if got, err := askTCP(c); err != nil || got != p.b {
						t.Errorf("connection %d: %s, %v", i, got, err)
					}
				}
			}
			for i, c := range []net.Conn{dialUDP(t, l.client, to), dialUDP(t, l.gw, to)} {
				for range 3 {
					if got := askUDP(t, c); got != p.b {
						t.Errorf("by UDP, %d: %s", i, got)
					}
				}
			}
			l.neverElsewhere()
		})
	}
}

// While its uplink is lost a resolver is answered for with an error at once, and never
// asked by another one; afterwards it is asked again. Without a daemon, its carrier lost,
// nothing leaves by another one either.
func TestResolversOfALostUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := resolving(t, f, func(*Goal) {})
			to := at(resolverOf[f], 53)
			udp, tcp := dialUDP(t, l.client, to), dialTCP(t, l.client, to)
			askUDP(t, udp)
			askTCP(tcp)
			l.move(func(g *Goal) { g.Lost[f], g.Deaf[f] = []Pair{{2, 64}}, []lane.Lane{2} })
			l.deleteFlows(f, 2, 64)
			refused(t, l.client, "the LAN", to)
			refused(t, l.gw, "the gateway", to)
			if _, err := askTCP(tcp); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
				t.Errorf("a connection of before: %v", err)
			}
			udp.Write([]byte("?"))
			l.neverElsewhere()
			l.move(func(g *Goal) { g.Lost, g.Deaf = [2][]Pair{}, [2][]lane.Lane{} })
			if got := askUDP(t, dialUDP(t, l.client, to)); got != plans[f].b {
				t.Errorf("afterwards: %s", got)
			}
			l.must(l.net.SetDown("ispB"))
			until(t, "the loss of carrier", func() bool {
				return strings.Contains(run(t, l.gw, "ip", plans[f].flag, "route", "show", "table", "5302"), "linkdown")
			})
			before := l.counters().Guard.Packets
			dialUDP(t, l.client, to).Write([]byte("?"))
			until(t, "the drop", func() bool { return l.counters().Guard.Packets > before })
			l.neverElsewhere()
		})
	}
}
