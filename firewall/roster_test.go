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
)

// listed has the roster list the clients.
func (l *lab) listed(r *Roster) {
	l.t.Helper()
	l.kernel.Roster = r
	inside(l.t, l.gw, func() error {
		_, err := r.List(l.goal.Layout)
		return err
	})
}

// Clients that only listen learn of it too where the kernel took all entries before the
// verdict: those whose interface has lost its address, or is gone.
func TestPokesWithoutEntries(t *testing.T) {
	for _, c := range []struct {
		what string
		lose func(*lab)
	}{
		{"addresses gone", func(l *lab) { run(t, l.gw, "ip", "addr", "flush", "dev", "wan0", "scope", "global") }},
		{"interface gone", func(l *lab) { run(t, l.gw, "ip", "link", "del", "wan0") }},
		{"interface down", func(l *lab) { run(t, l.gw, "ip", "link", "set", "wan0", "down") }},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := newLab(t)
			l.apply()
			var conns []net.Conn
			for _, p := range plans {
				serveTCP(t, l.net, at(p.host, 5000))
				conn := dialTCP(t, l.client, at(p.host, 5000))
				if _, err := askTCP(conn); err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			l.listed(new(Roster))
			c.lose(l)
			until(t, "the kernel to take the entries", func() bool {
				return l.flows("-p", "tcp", "--mark", "0x01c00000/0x7fff0000") == ""
			})
			for _, p := range plans {
				l.batch(p.flag, fmt.Sprintf("route replace default table 5364 metric 1 via %s dev wan1 onlink", p.nextB))
			}
			l.move(func(g *Goal) { g.Lost = [2][]Pair{{{1, 64}}, {{1, 64}}} })
			inside(t, l.gw, func() error { return l.kernel.Grace([]string{"wan1"}) })
			for _, f := range failover.Families {
				if sent, left := l.poke(f); sent != 1 || left != 0 {
					t.Errorf("%s: %d sent, %d left", f, sent, left)
				}
			}
			for _, conn := range conns {
				if line, err := heard(conn); !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("heard %q, %v", line, err)
				}
			}
		})
	}
}

// The roster pokes each client once for one loss, and those that it had not listed yet too.
func TestRosterAndWalkTogether(t *testing.T) {
	l := newLab(t)
	l.apply()
	p := plans[0]
	r := new(Roster)
	for i := range 3 {
		l.track(trackedLine(failover.IPv4, p.client, 4000+i, 431990))
	}
	l.listed(r)
	l.track(trackedLine(failover.IPv4, p.client, 4003, 431990))
	l.lose()
	if sent, left := l.poke(failover.IPv4); sent != 4 || left != 0 {
		t.Errorf("%d sent, %d left; want 4 and 0", sent, left)
	}
	if len(r.known) != 0 {
		t.Errorf("%d are remembered for another loss", len(r.known))
	}
}

// An open connection whose entry is gone is remembered for a minute after its last packet,
// one that was being closed is not, and there is room for so many.
func TestRosterRemembers(t *testing.T) {
	now := time.Now()
	one := func(port int, idle time.Duration, open bool) client {
		at := netip.AddrPortFrom(netip.MustParseAddr("192.168.1.10"), uint16(port))
		return client{client: at, server: at, active: now.Add(-idle), open: open}
	}
	found := func(list ...client) clients {
		return clients{most: mostPokes, found: list, left: map[int][2]int{}}
	}
	r := new(Roster)
	r.merge(found(one(1, 0, true), one(2, 50*time.Second, true), one(3, 0, false)), now)
	r.merge(found(one(4, time.Second, true)), now.Add(5*time.Second))
	if got := ports(r); got != "1 4 2" {
		t.Errorf("after 5 s: %s", got)
	}
	r.merge(found(), now.Add(15*time.Second))
	if got := ports(r); got != "1 4" {
		t.Errorf("after 15 s: %s", got)
	}
	var many []client
	for i := range mostPokes {
		many = append(many, one(10+i, 0, true))
	}
	r.merge(found(many...), now.Add(16*time.Second))
	if len(r.known) != mostPokes {
		t.Errorf("%d are remembered", len(r.known))
	}
}

// A connection that has ended since the last list is over, and its client is not remembered
// as one whose entry the kernel took.
func TestRosterForgetsWhatEnded(t *testing.T) {
	l := newLab(t)
	l.apply()
	for i := range 3 {
		l.track(trackedLine(failover.IPv4, plans[0].client, 4000+i, 431990))
	}
	r := new(Roster)
	l.listed(r)
	if len(r.known) != 3 {
		t.Fatalf("listed: %s", ports(r))
	}
	for i, state := range []string{"CLOSE", "TIME_WAIT"} {
		run(t, l.gw, "conntrack", "-D", "-p", "tcp", "--orig-port-src", fmt.Sprint(4000+i))
		run(t, l.gw, "conntrack", strings.Fields("-I -p tcp --state "+state+" -u SEEN_REPLY,ASSURED --mark 0x01c00000 "+
			trackedLine(failover.IPv4, plans[0].client, 4000+i, 60))...)
	}
	l.listed(r)
	if got := ports(r); got != "4002" {
		t.Errorf("remembered: %s", got)
	}
	run(t, l.gw, "conntrack", "-D", "-p", "tcp")
	l.listed(r)
	if got := ports(r); got != "4002" {
		t.Errorf("remembered after the kernel took the entries: %s", got)
	}
}

func ports(r *Roster) (list string) {
	for i, c := range r.known {
		if i > 0 {
			list += " "
		}
		list += fmt.Sprint(c.client.Port())
	}
	return list
}

// A flow table's connections are in use, though the kernel tells neither their state nor
// their time.
func TestOffloadedIsInUse(t *testing.T) {
	f := flow{protocol: unix.IPPROTO_TCP, status: ctStatusOffload, hasStatus: true}
	if !f.established() || readTCPTimes().idle(f) != 0 {
		t.Error("an offloaded connection does not count as established and active")
	}
	if f.protocol = unix.IPPROTO_UDP; f.established() {
		t.Error("an offloaded UDP flow counts as TCP")
	}
}
