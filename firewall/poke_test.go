package firewall

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// watchServers counts, in the internet, what comes in the name of its own host, and what
// comes for that host at all.
func (l *lab) watchServers() {
	l.t.Helper()
	loadText(l.t, l.net, fmt.Sprintf(`table inet servers {
		counter spoofed { }
		counter reached { }
		chain arriving {
			type filter hook prerouting priority raw; policy accept;
			iifname "isp*" ip saddr %[1]s counter name spoofed
			iifname "isp*" ip6 saddr %[2]s counter name spoofed
			iifname "isp*" ip daddr %[1]s counter name reached
			iifname "isp*" ip6 daddr %[2]s counter name reached
		}
	}`, plans[0].host, plans[1].host))
}

// noneOf wants a counter of watchServers to be 0.
func (l *lab) noneOf(counter string) {
	l.t.Helper()
	if out := run(l.t, l.net, "nft", "list", "counter", "inet", "servers", counter); !strings.Contains(out, "packets 0 ") {
		l.t.Errorf("%s: %s", counter, out)
	}
}

// poke pokes the clients of one family, and returns how many it did, and how many more
// there are.
func (l *lab) poke(f failover.Family) (sent, left int) {
	l.t.Helper()
	inside(l.t, l.gw, func() error {
		p, err := l.kernel.Poke(l.goal.Layout, Loss{Pair{1, 64}, []failover.Family{f}})
		sent, left = p[0].Sent[f], p[0].Left[f]
		return err
	})
	return sent, left
}

// Clients that only listen learn that their uplink is lost, also behind a firewall of their
// own that drops what fits no connection. Their servers hear nothing.
func TestPokesEndListeners(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			p := plans[f]
			loadText(t, l.client, `table inet own { chain arriving {
				type filter hook input priority filter; policy drop;
				ct state invalid drop
				ct state { established, related } accept
				meta l4proto ipv6-icmp accept
			}
}
`)
			serveTCP(t, l.net, at(p.host, 5000))
			var clients []net.Conn
			const listening = 12
			for range listening {
				c := dialTCP(t, l.client, at(p.host, 5000))
				if _, err := askTCP(c); err != nil {
					t.Fatal(err)
				}
				clients = append(clients, c)
			}
			l.lose()
			l.watchServers()
			if sent, left := l.poke(f); sent != listening || left != 0 {
				t.Errorf("%d sent, %d left; want %d and 0", sent, left, listening)
			}
			for _, c := range clients {
				if line, err := heard(c); !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("heard %q, %v", line, err)
				}
			}
			l.noneOf("spoofed")
			l.noneOf("reached")
		})
	}
}

// So do those of an uplink that is used no more.
func TestDroppedListenersAreTold(t *testing.T) {
	l := newLab(t)
	l.apply()
	var conns []net.Conn
	for _, p := range plans {
		serveTCP(t, l.net, at(p.host, 5000))
		c := dialTCP(t, l.client, at(p.host, 5000))
		if _, err := askTCP(c); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	l.listed(new(Roster))
	l.prefer("wan1", "wan0")
	l.goal.Uplinks = l.goal.Uplinks[1:]
	l.apply()
	inside(t, l.gw, func() error {
		if err := l.kernel.Grace([]string{"wan1"}); err != nil {
			return err
		}
		p, err := l.kernel.DropFlows(l.goal.Layout, 1, failover.Families[:]...)
		if p.Sent != [2]int{1, 1} {
			t.Errorf("%+v", p)
		}
		return err
	})
	for _, c := range conns {
		if line, err := heard(c); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("heard %q, %v", line, err)
		}
	}
}

// So do connections of the gateway itself that went by the uplink from another address, such
// as the LAN's, or from a port on which it listens too; also by the roster, after their
// entries. Those on the lost address are closed already.
func TestOwnListenersAreTold(t *testing.T) {
	for _, f := range failover.Families {
		for _, remembered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %t", f, remembered), func(t *testing.T) {
				l := newLab(t)
				l.apply()
				p := plans[f]
				serveTCP(t, l.net, at(p.host, 5000))
				own := map[string]net.Conn{
					"from the LAN's address": dialFrom(t, l.gw, p.lan, at(p.host, 5000), 0),
					"from a listener's port": dialListening(t, l.gw, p.a, at(p.host, 5000)),
					"from the lost address":  dialTCP(t, l.gw, at(p.host, 5000)),
					"by the other uplink":    dialFrom(t, l.gw, p.b, at(p.host, 5000), 0),
				}
				for who, c := range own {
					if _, err := askTCP(c); err != nil {
						t.Fatalf("%s: %v", who, err)
					}
				}
				if remembered {
					l.kernel.Roster = new(Roster)
					l.listed(l.kernel.Roster)
					run(t, l.gw, "conntrack", "-F")
				}
				l.lose()
				l.watchServers()
				if sent, left := l.poke(f); sent != 2 || left != 0 {
					t.Errorf("%d sent, %d left; want 2 and 0", sent, left)
				}
				for who, c := range own {
					want := map[string]error{"from the lost address": unix.ECONNABORTED, "by the other uplink": os.ErrDeadlineExceeded}[who]
					if want == nil {
						want = unix.ECONNRESET
					}
					if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
						t.Fatal(err)
					}
					if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
						t.Errorf("%s: %v, want %v", who, err, want)
					}
				}
				l.noneOf("spoofed")
			})
		}
	}
}

// Where another program's filter lets nothing out that it does not know, that is told; what
// it has to let out is known by its mark.
func TestFilteredPokesAreTold(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		l := newLab(t)
		l.apply()
		p := plans[0]
		serveTCP(t, l.net, at(p.host, 5000))
		c := dialTCP(t, l.client, at(p.host, 5000))
		if _, err := askTCP(c); err != nil {
			t.Fatal(err)
		}
		rule := map[bool]string{true: "meta mark & 0x7f000000 == 0x7f000000 accept"}[allowed]
		loadText(t, l.gw, `table inet strict { chain leaving {
			type filter hook output priority filter; policy drop;
			ct state { established, related } accept
			`+rule+`
		}
}
`)
		l.lose()
		var sent int
		var told error
		inside(t, l.gw, func() error {
			p, err := l.kernel.Poke(l.goal.Layout, Loss{Pair{1, 64}, []failover.Family{failover.IPv4}})
			sent, told = p[0].Sent[0], err
			return nil
		})
		if allowed && (sent != 1 || told != nil) {
			t.Errorf("allowed: %d sent, %v", sent, told)
		}
		if !allowed && (sent != 0 || told == nil || !strings.Contains(told.Error(), "0x7f000000/0x7f000000")) {
			t.Errorf("not allowed: %d sent, %v", sent, told)
		}
	}
}

// track adds conntrack entries, by one line of conntrack(8) each, without the command and
// what is the same for all.
func (l *lab) track(lines ...string) {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), "entries")
	var all strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&all, "-I -p tcp --state ESTABLISHED -u SEEN_REPLY,ASSURED --mark 0x01c00000 %s\n", line)
	}
	l.must(os.WriteFile(path, []byte(all.String()), 0o600))
	run(l.t, l.gw, "conntrack", "--load-file", path)
}

func trackedLine(f failover.Family, from string, port, left int) string {
	p := plans[f]
	return fmt.Sprintf("-s %s -d %s --sport %d --dport 5000 -r %s -q %s --reply-port-src 5000 --reply-port-dst %[3]d -t %[6]d",
		from, p.host, port, p.host, p.a, left)
}

// Those are poked whose flow was active in the last minute, and that are in the LAN.
func TestWhoIsPoked(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			l.apply()
			l.lose()
			l.watchServers()
			p := plans[f]
			elsewhere := [2]string{"10.99.0.1", "fd00:99::1"}[f]
			for _, c := range []struct {
				what  string
				entry string
				sent  int
			}{
				{"active", trackedLine(f, p.client, 4000, 431990), 1},
				{"idle for two minutes", trackedLine(f, p.client, 4001, 431880), 0},
				{"waiting for an acknowledgement", trackedLine(f, p.client, 4002, 290), 1},
				{"waiting for long", trackedLine(f, p.client, 4003, 200), 0},
				{"its own", trackedLine(f, p.lan, 4004, 431990), 0},
				{"where only an uplink leads", trackedLine(f, elsewhere, 4005, 431990), 0},
			} {
				run(t, l.gw, "conntrack", "-F")
				l.track(c.entry)
				if sent, left := l.poke(f); sent != c.sent || left != 0 {
					t.Errorf("%s: %d sent, %d left; want %d and 0", c.what, sent, left, c.sent)
				}
			}
			other := [2]failover.Family{failover.IPv6, failover.IPv4}[f]
			l.track(trackedLine(f, p.client, 4006, 431990))
			if sent, left := l.poke(other); sent+left != 0 {
				t.Errorf("of the other family: %d sent, %d left", sent, left)
			}
			time.Sleep(50 * time.Millisecond) // for what may come late
			l.noneOf("spoofed")
			l.noneOf("reached") // nor what a client answers that knows of nothing
		})
	}
}

// Of too many, the latest active are poked, and the others are told.
func TestMostPokes(t *testing.T) {
	l := newLab(t)
	l.apply()
	l.lose()
	const more = 500
	var all []string
	for i := range mostPokes + more {
		left := 431_999
		if i < more {
			left -= 30
		}
		all = append(all, trackedLine(failover.IPv4, "192.168.1."+fmt.Sprint(10+i/50_000), 1024+i, left))
	}
	l.track(all...)
	loadText(t, l.client, `table inet witness {
		set asked { typeof th dport; flags dynamic; size 65535; }
		chain arriving {
			type filter hook prerouting priority raw; policy accept;
			tcp sport 5000 add @asked { th dport }
		}
	}`)
	began := time.Now()
	if sent, left := l.poke(failover.IPv4); sent != mostPokes || left != more {
		t.Errorf("%d sent, %d left; want %d and %d", sent, left, mostPokes, more)
	}
	t.Logf("%d took %v", mostPokes, time.Since(began))
	asked := run(t, l.client, "nft", "list", "set", "inet", "witness", "asked")
	if n := strings.Count(asked, ",") + 1; n < mostPokes*9/10 {
		t.Errorf("only %d came", n)
	}
	for _, port := range []string{" 1024,", fmt.Sprintf(" %d,", 1024+more-1)} {
		if strings.Contains(asked, port) {
			t.Errorf("port%s of the longest idle, was asked", port)
		}
	}
}
