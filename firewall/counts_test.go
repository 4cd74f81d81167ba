package firewall

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Each flow that leaves a lost uplink counts once: those that send before anybody deleted
// their entries by the kernel's counter, the others by the entries that are left. Each TCP
// connection that is reset counts once, whatever it has sent, and so does one of the
// gateway's own.
func TestCountsWhatLeaves(t *testing.T) {
	const flows, early = 9, 4
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.apply()
			p := plans[f]
			serveUDP(t, l.net, at(p.host, 5000))
			serveTCP(t, l.net, at(p.host, 5000))
			var udp []net.Conn
			for range flows {
				c := dialUDP(t, l.client, at(p.host, 5000))
				askUDP(t, c)
				udp = append(udp, c)
			}
			tcp := []net.Conn{dialTCP(t, l.client, at(p.host, 5000)), dialTCP(t, l.client, at(p.host, 5000)), dialTCP(t, l.gw, at(p.host, 5000))}
			for _, c := range tcp {
				askTCP(c)
			}
			l.prefer("wan1", "wan0")
			l.batch(p.flag, fmt.Sprintf("rule del pref 5451 from %s fwmark 0/0xffffffff lookup 5301", p.a))
			l.move(func(g *Goal) { g.Lost[f] = []Pair{{1, 64}} })
			for range 2 {
				for _, c := range udp[:early] {
					if got := askUDP(t, c); got != p.b {
						t.Errorf("after the verdict the server saw %q, want %s", got, p.b)
					}
				}
			}
			for _, c := range tcp {
				l.resetOnce(c)
			}
			l.counted("before the deletion", early, flows-early, len(tcp), f)
			l.deleteFlows(f, 1, 64)
			for _, c := range udp {
				askUDP(t, c)
			}
			l.counted("after the deletion", early, 0, len(tcp), f)
		})
	}
}

// resetOnce sends until a connection is reset, several segments at once if it can.
func (l *lab) resetOnce(c net.Conn) {
	l.t.Helper()
	until(l.t, "a reset", func() bool {
		_, err := c.Write([]byte("more\n"))
		return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
	})
}

// counted wants so many flows to have moved by themselves, so many to be left, and so many
// connections to have been reset, all of the first uplink.
func (l *lab) counted(when string, moved, left, resets int, f failover.Family) {
	l.t.Helper()
	c := l.counters()
	if got := c.Moved[1].Packets; got != uint64(moved) {
		l.t.Errorf("%s: %d flows moved by themselves, want %d", when, got, moved)
	}
	if got := c.Reset[1].Packets; got != uint64(resets) {
		l.t.Errorf("%s: %d connections were reset, want %d", when, got, resets)
	}
	if c.Moved[2].Packets+c.Reset[2].Packets+c.Graced.Packets > 0 || c.Resets.Packets < c.Reset[1].Packets {
		l.t.Errorf("%s: of the other uplink %+v %+v, of none %+v, in all %+v", when, c.Moved[2], c.Reset[2], c.Graced, c.Resets)
	}
	inside(l.t, l.gw, func() error {
		var n [2]int
		err := listFlows(nil, func(flow flow) bool {
			if flow.mark&lane.DefaultLayout.CTMask == lane.DefaultLayout.CTPair(1, 64) {
				n[flow.family]++
			}
			return true
		})
		if n[f] != left || n[1-f] != 0 {
			l.t.Errorf("%s: %v flows are left, want %d of %s:\n%s", when, n, left, f, l.flows())
		}
		return err
	})
}

// A flow that keeps its address goes on by the other uplink with its entry, and counts too.
func TestCountsWhatKeepsItsAddress(t *testing.T) {
	l := newLab(t)
	p := plans[failover.IPv4]
	for i := range l.goal.Uplinks {
		l.goal.Uplinks[i].SNATExcept = prefixes(lanOf(failover.IPv4).String())
	}
	l.apply()
	run(t, l.net, "ip", "route", "add", lanOf(failover.IPv4).String(), "via", p.a)
	serveUDP(t, l.net, at(p.host, 5000))
	var all []net.Conn
	for range 5 {
		c := dialUDP(t, l.client, at(p.host, 5000))
		askUDP(t, c)
		all = append(all, c)
	}
	l.prefer("wan1", "wan0")
	l.move(func(g *Goal) { g.Lost[failover.IPv4] = []Pair{{1, 64}} })
	for range 2 {
		for _, c := range all[:3] {
			if got := askUDP(t, c); got != p.client {
				t.Errorf("after the verdict the server saw %q", got)
			}
		}
	}
	l.counted("before the deletion", 3, 2, 0, failover.IPv4)
}
