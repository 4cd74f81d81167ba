package firewall

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// far are, by family, addresses in the internet: two that are gone by wan0, one that is well,
// and one that is gone by both uplinks.
var far = [2]struct{ gone, goneToo, well, nowhere string }{
	{"192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"},
	{"2001:db8:99::10", "2001:db8:99::11", "2001:db8:99::12", "2001:db8:99::13"},
}

// halfGone is a lab with these addresses. The internet counts what is gone by wan0, and
// reaches nobody there.
func halfGone(t *testing.T, change func(*Goal)) *lab {
	t.Helper()
	l := newLab(t)
	for f, p := range plans {
		bits := 8 * len(netip.MustParseAddr(p.host).AsSlice())
		for _, a := range []string{far[f].gone, far[f].goneToo, far[f].well, far[f].nowhere} {
			l.address(l.net, "lo", a, bits)
			serveTCP(t, l.net, at(a, 80))
		}
	}
	loadText(t, l.net, `table inet gone {
		set by_a { type ipv4_addr; elements = { 192.0.2.10, 192.0.2.11, 192.0.2.13 } }
		set by_a6 { type ipv6_addr; elements = { 2001:db8:99::10, 2001:db8:99::11, 2001:db8:99::13 } }
		counter dropped { }
		chain arriving {
			type filter hook prerouting priority raw; policy accept;
			iifname "ispA" ip daddr @by_a counter name dropped drop
			iifname "ispA" ip6 daddr @by_a6 counter name dropped drop
			iifname "ispB" ip daddr 192.0.2.13 drop
			iifname "ispB" ip6 daddr 2001:db8:99::13 drop
		}
	}`)
	change(&l.goal)
	l.apply()
	return l
}

// dropped returns how many packets the internet has dropped by wan0.
func (l *lab) dropped() (n int) {
	l.t.Helper()
	out := run(l.t, l.net, "nft", "list", "counter", "inet", "gone", "dropped")
	_, after, _ := strings.Cut(out, "packets ")
	if _, err := fmt.Sscan(after, &n); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	return n
}

// from connects from the client, and returns the address that the server sees.
func (l *lab) from(to string) string {
	l.t.Helper()
	c := dialTCP(l.t, l.client, at(to, 80))
	got, err := askTCP(c)
	if err != nil {
		l.t.Errorf("%s: %v", to, err)
	}
	return got
}

// silent tries to connect for a while, and returns whether that failed.
func (l *lab) silent(to string, wait time.Duration) bool {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), wait)
	defer cancel()
	c, err := l.client.DialTCP(ctx, netip.MustParseAddrPort(at(to, 80)))
	if err == nil {
		c.Close()
	}
	return err != nil
}

// rescued returns how many addresses a policy rescues in a family.
func (l *lab) rescued(p lane.Lane, f failover.Family) int {
	l.t.Helper()
	var n map[lane.Lane][2]int
	inside(l.t, l.gw, func() (err error) {
		n, err = l.kernel.Rescued([]lane.Lane{p})
		return err
	})
	return n[p][f]
}

// An address that wan0 does not reach is connected to by the third SYN, and at once from then
// on; others stay. A handshake by wan0 takes it back.
func TestRescue(t *testing.T) {
	for f, p := range plans {
		t.Run(p.family, func(t *testing.T) {
			t.Parallel()
			l, family := halfGone(t, func(*Goal) {}), failover.Family(f)
			if got := l.from(far[f].well); got != p.a {
				t.Errorf("a well address goes by %s, want %s", got, p.a)
			}
			began := time.Now()
			if got, n := l.from(far[f].gone), l.dropped(); got != p.b || n != 2 {
				t.Errorf("the first connection comes from %s after %d SYNs in vain, want %s after 2", got, n, p.b)
			}
			first, second := time.Since(began), time.Now()
			for range 3 {
				if got := l.from(far[f].gone); got != p.b {
					t.Errorf("a later connection comes from %s, want %s", got, p.b)
				}
			}
			t.Logf("the first connection took %v, three more %v", first, time.Since(second))
			if got := l.from(far[f].well); got != p.a {
				t.Errorf("a well address goes by %s, want %s", got, p.a)
			}
			own := dialTCP(t, l.gw, at(far[f].gone, 80))
			for range 2 {
				if got, err := askTCP(own); err != nil || got != p.b {
					t.Errorf("the gateway's own comes from %s, %v, want %s", got, err, p.b)
				}
			}
			if n := l.dropped(); n != 2 {
				t.Errorf("%d SYNs in vain, want still 2", n)
			}
			if n := l.rescued(64, family); n != 1 {
				t.Errorf("%d addresses are rescued, want 1", n)
			}
			l.takesBack(family)
			if got, err := askTCP(own); err != nil || got != p.b {
				t.Errorf("once the address is taken back the gateway's own connection comes from %s, %v, want still %s", got, err, p.b)
			}
			counts := l.counters()
			if began, again, done := counts.Begun[1][f].Packets, counts.Again[1][f].Packets, counts.Finished[1][f].Packets; began < 4 || again < 1 || done < 3 {
				t.Errorf("by wan0 %d handshakes began, %d SYNs were sent again, %d finished", began, again, done)
			}
			if counts.Stray.Packets != 0 {
				t.Errorf("%d strays", counts.Stray.Packets)
			}
		})
	}
}

// takesBack has the gateway itself connect by wan0 once that reaches the address again.
func (l *lab) takesBack(f failover.Family) {
	l.t.Helper()
	run(l.t, l.net, "nft", "flush", "chain", "inet", "gone", "arriving")
	if got := l.from(far[f].gone); got != plans[f].b {
		l.t.Errorf("before a handshake by wan0 it goes by %s, want %s", got, plans[f].b)
	}
	bound := l.connect(l.gw, far[f].gone, func(fd int) error { return unix.BindToDevice(fd, "wan0") })
	defer unix.Close(bound)
	if n := l.rescued(64, f); n != 0 {
		l.t.Errorf("%d addresses are rescued after a handshake by wan0", n)
	}
	if got := l.from(far[f].gone); got != plans[f].a {
		l.t.Errorf("after a handshake by wan0 it goes by %s, want %s", got, plans[f].a)
	}
}

// connect connects a socket to port 80 of an address; prepare is done with it before.
func (l *lab) connect(ns *netns.NS, to string, prepare func(fd int) error) (fd int) {
	l.t.Helper()
	inside(l.t, ns, func() (err error) {
		domain := unix.AF_INET
		if netip.MustParseAddr(to).Is6() {
			domain = unix.AF_INET6
		}
		if fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := prepare(fd); err != nil {
			return err
		}
		return unix.Connect(fd, socketAddress(to, 80))
	})
	return fd
}

func socketAddress(text string, port int) unix.Sockaddr {
	a := netip.MustParseAddr(text)
	if a.Is6() {
		return &unix.SockaddrInet6{Port: port, Addr: a.As16()}
	}
	return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
}

// What answers by no uplink is rescued by none, tried once, and left alone from then on.
func TestRescueNowhere(t *testing.T) {
	for f, p := range plans {
		t.Run(p.family, func(t *testing.T) {
			t.Parallel()
			l := halfGone(t, func(*Goal) {})
			if !l.silent(far[f].nowhere, 8*time.Second) {
				t.Error("it answers")
			}
			before := l.dropped()
			if !l.silent(far[f].nowhere, 4*time.Second) {
				t.Error("it answers")
			}
			if n := l.dropped() - before; n < 3 {
				t.Errorf("%d SYNs by wan0 in four seconds: it is tried again by the other one", n)
			}
			if n := l.rescued(64, failover.Family(f)); n != 0 {
				t.Errorf("%d addresses are rescued", n)
			}
		})
	}
}

// What the next uplink does not reach any more either is rescued no more.
func TestRescueLapses(t *testing.T) {
	l := halfGone(t, func(*Goal) {})
	l.from(far[0].gone)
	loadText(t, l.net, `table inet gone { chain arriving { iifname "ispB" ip daddr 192.0.2.10 drop; }; }`)
	if n := l.rescued(64, failover.IPv4); n != 1 || !l.silent(far[0].gone, 3500*time.Millisecond) {
		t.Errorf("%d addresses are rescued, or it answers", n)
	}
	if n := l.rescued(64, failover.IPv4); n != 0 {
		t.Errorf("%d addresses are rescued after two SYNs in vain", n)
	}
}

// A verdict and a return forget what was rescued; a reload that changes rules and a restart
// do not.
func TestRescueOverChanges(t *testing.T) {
	l := halfGone(t, func(*Goal) {})
	for f := range plans {
		l.from(far[f].gone)
	}
	count := func(want int, when string) {
		t.Helper()
		for _, f := range failover.Families {
			if n := l.rescued(64, f); n != want {
				t.Errorf("%s %d addresses are rescued in %s, want %d", when, n, f, want)
			}
		}
	}
	count(1, "at first")
	l.apply()
	count(1, "after the same")
	l.move(func(g *Goal) { g.Uplinks[0].SNATExcept = prefixes("192.168.77.0/24") })
	count(1, "after other rules")
	inside(t, l.gw, func() error { return newKernel(t).Apply(Ruleset(l.goal)) })
	count(1, "after a restart")
	l.move(func(g *Goal) { g.Policies[0].Detour = [2]Detour{} })
	count(0, "after a verdict")
	l.move(func(g *Goal) { g.Policies[0].Detour = [2]Detour{{1, 2}, {1, 2}} })
	for f := range plans {
		l.from(far[f].gone)
	}
	count(1, "anew")
	l.goal.Policies[0].Detour = [2]Detour{{2, 1}, {2, 1}}
	l.apply()
	count(0, "after another pair")
	l.goal.Rescue = Rescue{}
	l.apply()
	count(-1, "switched off")
	if d := drift(t, l.gw, l.kernel, Ruleset(l.goal)); len(d) > 0 {
		t.Errorf("it differs: %q", d)
	}
}

// Without a detour, as where the next uplink is metered, nothing is rescued.
func TestNoRescueWithoutDetour(t *testing.T) {
	l := halfGone(t, func(g *Goal) { g.Policies[0].Detour = [2]Detour{} })
	if !l.silent(far[0].gone, 5*time.Second) {
		t.Error("it is rescued")
	}
	if c := l.counters(); c.Again[1][0].Packets < 2 || c.Begun[2][0].Packets != 0 {
		t.Errorf("%d SYNs again by wan0, %d begun by wan1", c.Again[1][0].Packets, c.Begun[2][0].Packets)
	}
}

// Addresses of a policy of its own are rescued within its uplinks, and those of one that
// blocks never by another; the default policy's stay where they are.
func TestRescueByPolicy(t *testing.T) {
	for _, block := range []bool{false, true} {
		for f, p := range plans {
			t.Run(fmt.Sprintf("block %t %s", block, p.family), func(t *testing.T) {
				t.Parallel()
				l := halfGone(t, func(g *Goal) {
					own := []lane.Lane{1, 2}
					if block {
						own = own[:1]
					}
					g.Policies = append(g.Policies, Policy{Lane: 66, Name: "web", Uplinks: own, Block: block, Detour: [2]Detour{{1, 2}, {1, 2}}})
					g.Policies[0].Detour = [2]Detour{}
					g.Rules = []Rule{toPort(unix.IPPROTO_TCP, 80)}
				})
				for _, p := range plans {
					l.batch(p.flag, fmt.Sprintf(`
						rule add pref 5366 fwmark 0x42000000/0x7f000000 lookup 5366
						route replace default table 5366 metric 1 via %s dev wan0 onlink
					`, p.nextA))
				}
				if block {
					if !l.silent(far[f].gone, 5*time.Second) || l.rescued(66, failover.Family(f)) > 0 {
						t.Error("a policy that blocks uses another uplink")
					}
					return
				}
				if got := l.from(far[f].gone); got != p.b {
					t.Errorf("the first one goes by %s, want %s", got, p.b)
				}
				before := l.dropped()
				if got := l.from(far[f].gone); got != p.b || l.dropped() != before {
					t.Errorf("the next one goes by %s, want %s at once", got, p.b)
				}
				if n, other := l.rescued(66, failover.Family(f)), l.rescued(64, failover.Family(f)); n != 1 || other != 0 {
					t.Errorf("%d and %d addresses are rescued", n, other)
				}
			})
		}
	}
}

// A scan of 4,096 dead addresses has a few of them tried and none rescued, and another host's
// rescue takes no SYN more.
func TestRescueBesideAScan(t *testing.T) {
	l, p := halfGone(t, func(*Goal) {}), plans[0]
	const scanned = 1 << 12
	l.address(l.client, "eth0", "192.168.1.11", 24)
	inside(t, l.client, func() error {
		for i := range scanned {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { unix.Close(fd) })
			to := &unix.SockaddrInet4{Port: 80, Addr: [4]byte{198, 18, byte(i >> 8), byte(i)}}
			if err := errors.Join(unix.Bind(fd, socketAddress(p.client, 0)), unix.Connect(fd, to)); !errors.Is(err, unix.EINPROGRESS) {
				return err
			}
		}
		return nil
	})
	fd := l.connect(l.client, far[0].gone, func(fd int) error { return unix.Bind(fd, socketAddress("192.168.1.11", 0)) })
	defer unix.Close(fd)
	if n := l.dropped(); n != 2 {
		t.Errorf("the other host's first connection took %d SYNs in vain, want 2", n)
	}
	if n := l.rescued(64, failover.IPv4); n != 1 {
		t.Errorf("%d addresses are rescued, want that of the other host alone", n)
	}
	until(t, "the scan's third SYNs", func() bool { return l.counters().Again[1][0].Packets >= 2*scanned })
	if c := l.counters(); c.Tried.Packets < 2 || c.Tried.Packets > 20 || c.Rescued.Packets != 1 {
		t.Errorf("%d addresses were tried and %d rescued", c.Tried.Packets, c.Rescued.Packets)
	}
}

// While a tenth of all packets is lost in each direction, no address is tried that the uplink
// has reached of late.
func TestNoRescueOfWellAddresses(t *testing.T) {
	l, p := halfGone(t, func(*Goal) {}), plans[0]
	const wells = 12
	var all []string
	for i := range wells {
		a := fmt.Sprintf("192.0.2.%d", 100+i)
		l.address(l.net, "lo", a, 32)
		serveTCP(t, l.net, at(a, 80))
		l.from(a)
		all = append(all, a)
	}
	loadText(t, l.net, `table inet loss {
		chain arriving { type filter hook prerouting priority raw; policy accept; iifname "ispA" tcp flags & (syn | ack) == syn numgen random mod 10 == 0 drop; }
		chain leaving { type filter hook postrouting priority raw; policy accept; oifname "ispA" tcp flags & (syn | ack) == syn|ack numgen random mod 10 == 0 drop; }
	}`)
	var done sync.WaitGroup
	for _, a := range all {
		done.Go(func() {
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
				c, err := l.client.DialTCP(ctx, netip.MustParseAddrPort(at(a, 80)))
				cancel()
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := askTCP(c); err != nil || got != p.a {
					t.Errorf("%s goes by %s, %v, want %s", a, got, err, p.a)
				}
				c.Close()
			}
		})
	}
	done.Wait()
	if c := l.counters(); c.Again[1][0].Packets < wells || c.Tried.Packets != 0 {
		t.Errorf("%d SYNs were sent again, and %d addresses tried", c.Again[1][0].Packets, c.Tried.Packets)
	}
}

// With all sources taken nothing is tried: it fails closed.
func TestRescueWithManySources(t *testing.T) {
	l := halfGone(t, func(*Goal) {})
	var elements []string
	for i := range mostSources {
		elements = append(elements, fmt.Sprintf("10.0.%d.%d", i/256, i%256))
	}
	run(t, l.gw, "nft", "add", "element", "inet", "swerve", "sources4", "{ "+strings.Join(elements, ", ")+" }")
	if !l.silent(far[0].gone, 5*time.Second) {
		t.Error("it is rescued")
	}
	if c := l.counters(); c.Limited.Packets == 0 || c.Tried.Packets != 0 {
		t.Errorf("limited %d times, %d tried", c.Limited.Packets, c.Tried.Packets)
	}
}

// What belongs to an established flow meets the same rules with rescues as without, and so
// does every packet of other protocols.
func TestEstablishedMeetNothingOfRescues(t *testing.T) {
	for name, g := range goals() {
		t.Run(name, func(t *testing.T) {
			with := Ruleset(g)
			g.Rescue = Rescue{}
			without := Ruleset(g)
			same := func(chain, until string) {
				t.Helper()
				got, want := rulesUntil(with, chain, until), rulesUntil(without, chain, until)
				sameLines(t, got, want)
			}
			same("prerouting", "jump by_rules")
			same("inner", "jump by_rules")
			same("output", "jump by_rules")
			same("forward", "")
			same("local", "")
			same("postrouting", "")
			same("srcnat", "")
			same("own", "")
			same("own_tcp", "")
			for _, u := range g.Uplinks {
				same(of("in", u.Lane), "")
				same(of("came", u.Lane), "")
				same(of("lane", u.Lane), "")
				same(of("out", u.Lane), `comment "a probe"`)
			}
		})
	}
}

// rulesUntil returns the rules of a chain before the one that ends so.
func rulesUntil(t Table, name, end string) string {
	var b strings.Builder
	for _, c := range t.chains {
		if c.name != name {
			continue
		}
		for _, r := range c.rules {
			if end != "" && strings.HasSuffix(r.String(), end) {
				break
			}
			fmt.Fprintln(&b, r)
		}
	}
	return b.String()
}
