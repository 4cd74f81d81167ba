package firewall

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// unNATed has the internet send answers to the LAN's own addresses by an uplink.
func (l *lab) unNATed(f failover.Family, gateway string) {
	l.t.Helper()
	run(l.t, l.net, "ip", plans[f].flag, "route", "replace", lanOf(f).String(), "via", gateway)
}

// A connection of the gateway itself from one of its LAN's addresses, which no uplink
// translates, lives on by the other uplink, as one of a LAN client does. UDP does too.
func TestOwnSourceWithoutNATLivesOn(t *testing.T) {
	kinds := map[string]func(*Uplink){
		"none": func(u *Uplink) { u.SNAT, u.SNAT6 = false, None },
		"exceptions": func(u *Uplink) {
			u.SNATExcept, u.Native6 = prefixes(lanOf(failover.IPv4).String()), prefixes(lanOf(failover.IPv6).String())
		},
	}
	for name, kind := range kinds {
		for _, f := range failover.Families {
			t.Run(name+" "+f.String(), func(t *testing.T) {
				l := newLab(t)
				p := plans[f]
				kind(&l.goal.Uplinks[0])
				kind(&l.goal.Uplinks[1])
				l.apply()
				l.unNATed(f, p.a)
				serveTCP(t, l.net, at(p.host, 5000))
				serveUDP(t, l.net, at(p.host, 5000))
				all := map[string]net.Conn{
					"the gateway's":      dialFrom(t, l.gw, p.lan, at(p.host, 5000), 0),
					"the LAN client's":   dialFrom(t, l.client, p.client, at(p.host, 5000), 0),
					"one by the default": dialTCP(t, l.gw, at(p.host, 5000)),
				}
				want := map[string]string{"the gateway's": p.lan, "the LAN client's": p.client, "one by the default": p.a}
				for who, c := range all {
					if got, err := askTCP(c); got != want[who] {
						t.Fatalf("%s: the server saw %q, %v", who, got, err)
					}
				}
				udp := dialFromUDP(t, l.gw, p.lan, at(p.host, 5000))
				if got := askUDP(t, udp); got != p.lan {
					t.Fatalf("by UDP the server saw %s", got)
				}
				l.lose()
				l.unNATed(f, p.b)
				for _, who := range []string{"the gateway's", "the LAN client's"} {
					if got, err := askTCP(all[who]); got != want[who] {
						t.Errorf("%s: after the verdict the server saw %q, %v", who, got, err)
					}
				}
				if got := askUDP(t, udp); got != p.lan {
					t.Errorf("after the verdict the server saw %s by UDP", got)
				}
				if _, err := askTCP(all["one by the default"]); err == nil {
					t.Error("the connection from the lost address survives")
				}
			})
		}
	}
}

// What the next uplink would masquerade is reset. A connection whose address is gone
// sends nothing by another uplink, and ends with the uplink's sockets.
func TestOwnSourceThatCannotComeAlong(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			l.goal.Uplinks[0].SNATExcept = prefixes(lanOf(failover.IPv4).String())
			l.goal.Uplinks[0].Native6 = prefixes("2001:db8:1::/48", lanOf(failover.IPv6).String())
			l.goal.Uplinks[1].Native6 = prefixes("2001:db8:2::/48")
			l.apply()
			l.unNATed(f, p.a)
			serveTCP(t, l.net, at(p.host, 5000))
			lan := dialFrom(t, l.gw, p.lan, at(p.host, 5000), 0)
			if got, err := askTCP(lan); got != p.lan {
				t.Fatalf("the server saw %q, %v", got, err)
			}
			gone := dialTCP(t, l.gw, at(p.host, 5000))
			if got, err := askTCP(gone); got != p.a {
				t.Fatalf("the server saw %q, %v", got, err)
			}
			l.watchWrong()
			run(t, l.gw, "ip", "addr", "del", fmt.Sprintf("%s/%d", p.a, p.bits), "dev", "wan0")
			fmt.Fprintln(gone, "?")
			l.lose()
			if _, err := heard(gone); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("the connection of the address that is gone ended by %v", err)
			}
			if _, err := askTCP(lan); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
				t.Errorf("the connection that the other uplink masquerades ended by %v, want a reset", err)
			}
			l.noneWrong()
		})
	}
}

// A UDP flow of the gateway that the first uplink did not translate never leaves by one
// that masquerades with its old source, whether its next packet or the deletion of its
// entry comes first.
func TestOwnSourceDoesNotLeak(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			l.goal.Uplinks[0].SNAT, l.goal.Uplinks[0].SNAT6 = false, None
			l.apply()
			l.unNATed(f, p.a)
			serveUDP(t, l.net, at(p.host, 5000))
			c := dialFromUDP(t, l.gw, p.lan, at(p.host, 5000))
			if got := askUDP(t, c); got != p.lan {
				t.Fatalf("the server saw %s", got)
			}
			l.watchWrong()
			l.prefer("wan1", "wan0")
			l.move(func(g *Goal) { g.Lost = [2][]Pair{{{1, 64}}, {{1, 64}}} })
			before := l.counters().Stray.Packets
			c.Write([]byte("?")) // refused, or sent and dropped
			if n := l.counters().Stray.Packets; n != before+1 {
				t.Errorf("%d strays, want 1", n-before)
			}
			l.deleteFlows(f, 1, 64)
			if got := askUDP(t, c); got != p.b {
				t.Errorf("after the verdict the server saw %s", got)
			}
			l.noneWrong()
		})
	}
}
