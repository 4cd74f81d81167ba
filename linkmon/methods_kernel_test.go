package linkmon

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// asked has, of a provider's servers, the addresses that asked them.
type asked struct {
	mu sync.Mutex
	by map[netip.Addr]int
}

func (a *asked) add(from net.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by[netip.MustParseAddrPort(from.String()).Addr().Unmap()]++
}

// take returns how often each address asked since the last time.
func (a *asked) take() map[netip.Addr]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	by := a.by
	a.by = map[netip.Addr]int{}
	return by
}

// serve has the targets of a provider answer by http on port 80 and as name servers.
func serve(t *testing.T, isp *netns.NS) *asked {
	t.Helper()
	a := &asked{by: map[netip.Addr]int{}}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	for _, host := range []string{target4, target6} {
		pages, err := isp.Listen("tcp", net.JoinHostPort(host, "80"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pages.Close() })
		all.Go(func() {
			for {
				conn, err := pages.Accept()
				if err != nil {
					return
				}
				a.add(conn.RemoteAddr())
				all.Go(func() {
					defer conn.Close()
					if strings.HasPrefix(readRequest(conn), "GET ") {
						io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
					}
				})
			}
		})
		names, err := isp.ListenPacket("udp", net.JoinHostPort(host, "53"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { names.Close() })
		all.Go(func() {
			for buf := make([]byte, 512); ; {
				n, from, err := names.ReadFrom(buf)
				if err != nil {
					return
				}
				a.add(from)
				buf[2] |= 0x80 // an answer that has nothing
				names.WriteTo(buf[:n], from)
			}
		})
	}
	return a
}

// methodTargets are targets of all methods with sockets of their own, in a family.
func methodTargets(f failover.Family) []string {
	host := [2]string{target4, "[" + target6 + "]"}[f]
	return []string{"tcp://" + host + ":80", "http://" + host + "/generate_204", "dns://" + host + "/example.org"}
}

// Whatever routes and rules others have, the probes of all methods leave by their uplink
// with its source, and are answered there, while the other one carries.
func TestConnectionsLeaveByTheirUplink(t *testing.T) {
	ns, isps := multihomed(t)
	servers := [2]*asked{serve(t, isps[0]), serve(t, isps[1])}
	runIP(t, ns, "tuntap add tun0 mode tun")
	runIP(t, ns, "link set tun0 up")
	paths := [2]Path{indexed(t, ns, 0), indexed(t, ns, 1)}
	c := startChild(t, ns)
	for _, d := range distractions {
		if d.target[0] != "" {
			continue
		}
		for _, f := range failover.Families {
			d.set(t, ns, f, true)
			for _, target := range methodTargets(f) {
				c.answered(f, target, paths[1])
				own := paths[1].Link.Family[f].Addresses[0].Addr()
				waitFor(t, "the server's count", func() bool {
					servers[1].mu.Lock()
					defer servers[1].mu.Unlock()
					return len(servers[1].by) > 0
				})
				if wrong, right := servers[0].take(), servers[1].take(); len(wrong) > 0 || len(right) != 1 || right[own] != 1 {
					t.Errorf("%s, %s: asked by %v at the wrong ISP, by %v at the right one", d.name, target, wrong, right)
				}
			}
			d.set(t, ns, f, false)
		}
	}
	for _, f := range failover.Families { // and the other uplink's, too
		for _, target := range methodTargets(f) {
			c.answered(f, target, paths[0])
		}
	}
	if n := len(servers[1].take()); n > 0 {
		t.Errorf("%d hosts asked the wrong ISP", n)
	}
	if over := c.end(); over.Cause != "" {
		t.Errorf("leaks: %s", over.Cause)
	}
}

// What comes in place of an answer: a host's reset is one; what a router or packet filter
// says is not, and neither is silence.
func TestConnectionsThatAreRefused(t *testing.T) {
	ns, isps := multihomed(t)
	for _, key := range []string{"net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit"} {
		if err := isps[1].SetSysctl(key, "0"); err != nil {
			t.Fatal(err)
		}
	}
	path := indexed(t, ns, 1)
	path.LostAfter = 200 * time.Millisecond
	c := startChild(t, ns)
	var silent []failover.ProbeID
	for _, rule := range []struct{ verdict, tcp, dns string }{
		{"accept", "answered", "failed: port unreachable"}, // nobody listens
		{"reject with tcp reset", "answered", ""},
		{"reject with icmpx type port-unreachable", "failed: refused by a router", "failed: port unreachable"},
		{"reject with icmpx type host-unreachable", "failed: no route to host", "lost"},
		{"reject with icmpx type admin-prohibited", "failed: ", "failed: "},
		{"drop", "lost", "lost"},
	} {
		nft(t, isps[1], fmt.Sprintf(`table inet refusing {
			chain c {
				type filter hook input priority -10
				tcp dport 80 %s
				udp dport 53 %s
			}
		}`, rule.verdict, map[bool]string{true: "drop", false: rule.verdict}[rule.dns == ""]))
		for _, f := range failover.Families {
			targets := methodTargets(f)
			for i, want := range []string{rule.tcp, "", rule.dns} {
				if want == "" {
					continue
				}
				id := c.send(f, targets[i], path)
				if r := c.outcome(id, 1); r.Kind != "sent" {
					t.Fatalf("%s, %s: %+v, want it sent", rule.verdict, targets[i], r)
				}
				if want == "lost" {
					silent = append(silent, id)
					continue // that nothing follows is seen at the end
				}
				r := c.outcome(id, 2)
				if got := strings.TrimSuffix(r.Kind+": "+r.Cause, ": "); !strings.HasPrefix(got, want) {
					t.Errorf("%s, %s: %s, want %s", rule.verdict, targets[i], got, want)
				}
			}
		}
		nft(t, isps[1], "delete table inet refusing")
	}
	if over := c.end(); over.Cause != "" {
		t.Errorf("leaks: %s", over.Cause)
	}
	for _, id := range silent {
		if len(c.seen[id]) != 1 {
			t.Errorf("probe %d, of which nothing should come: %+v", id, c.seen[id])
		}
	}
}

// Where nothing can be sent, the errno is told.
func TestConnectionsThatCannotBeSent(t *testing.T) {
	ns, _ := multihomed(t)
	path := indexed(t, ns, 1)
	gone := path
	gone.Link.Interface = "w9"
	c := startChild(t, ns)
	for _, f := range failover.Families {
		for _, target := range methodTargets(f) {
			if cause := c.refused(f, target, gone); !strings.Contains(cause, "the interface w9 is gone: no such device") {
				t.Errorf("%s by a missing device: %q", target, cause)
			}
		}
	}
	nft(t, ns, `table inet other { chain out { type filter hook output priority 0; udp dport 53 drop; }; }`)
	for _, f := range failover.Families {
		if cause := c.refused(f, methodTargets(f)[2], path); !strings.Contains(cause, "operation not permitted") {
			t.Errorf("%s: a packet filter in output: %q", f, cause)
		}
	}
	runIP(t, ns, "-6 route flush table 5302")
	for _, target := range methodTargets(failover.IPv6) {
		if cause := c.refused(failover.IPv6, target, path); !strings.Contains(cause, "network is unreachable") {
			t.Errorf("%s without a route: %q", target, cause)
		}
	}
	runIP(t, ns, "-6 rule add pref 100 fwmark 0x02000000/0x7f000000 prohibit")
	for _, target := range methodTargets(failover.IPv6) {
		if cause := c.refused(failover.IPv6, target, path); !strings.Contains(cause, "permission denied") {
			t.Errorf("%s prohibited: %q", target, cause)
		}
	}
	if over := c.end(); over.Cause != "" {
		t.Errorf("leaks: %s", over.Cause)
	}
}

// Many probes at once that nobody answers end with the prober, and leave nothing behind:
// no socket on this side, and no connection on the server's.
func TestConnectionsLeaveNothingBehind(t *testing.T) {
	ns, isps := multihomed(t)
	serve(t, isps[1])
	path := indexed(t, ns, 1)
	c := startChild(t, ns)
	const each = 30
	for range each {
		for _, f := range failover.Families {
			for _, target := range methodTargets(f) {
				c.answered(f, target, path)
			}
		}
	}
	for _, space := range []*netns.NS{ns, isps[1]} {
		waitFor(t, "the connections to be over", func() bool {
			out, err := space.Run("ss", "-Htan", "state", "all", "exclude", "listening")
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(out) == ""
		})
	}
	nft(t, isps[1], "table inet refusing { chain c { type filter hook input priority -10; tcp dport 80 drop; udp dport 53 drop; }; }")
	var ids []failover.ProbeID
	for range each {
		for _, f := range failover.Families {
			for _, target := range methodTargets(f) {
				ids = append(ids, c.send(f, target, path))
			}
		}
	}
	for _, id := range ids {
		if r := c.outcome(id, 1); r.Kind != "sent" {
			t.Errorf("probe %d: %+v", id, r)
		}
	}
	over := c.end()
	if over.Cause != "" {
		t.Errorf("leaks: %s", over.Cause)
	}
	if slices.ContainsFunc(ids, func(id failover.ProbeID) bool { return len(c.seen[id]) != 1 }) {
		t.Error("a probe that nobody answers has another outcome")
	}
	if out, err := ns.Run("ss", "-Htuan"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("sockets are left: %s, %v", out, err)
	}
}

// All packets of a probe bear the uplink's mark, and its best source, whatever the kernel
// would choose.
func TestConnectionsBearMarkAndSource(t *testing.T) {
	ns, isps := multihomed(t)
	servers := serve(t, isps[1])
	path := indexed(t, ns, 1)
	for f, own := range []string{"10.1.0.77/24", "2001:db8:1::77/64"} {
		runIP(t, ns, "addr add "+own+" dev w1"+[2]string{"", " nodad"}[f])
		path.Link.Family[f].Addresses = []netip.Prefix{prefix(own), path.Link.Family[f].Addresses[0]}
	}
	nft(t, ns, `table inet witness { chain out {
		type filter hook output priority 300
		oifname w1 meta l4proto { tcp, udp } meta mark != 0x02000000 counter drop
		oifname w1 meta l4proto { tcp, udp } ip saddr != 10.1.0.77 counter drop
		oifname w1 meta l4proto { tcp, udp } ip6 saddr != 2001:db8:1::77 counter drop
	}; }`)
	c := startChild(t, ns)
	for _, f := range failover.Families {
		for _, target := range methodTargets(f) {
			c.answered(f, target, path)
		}
	}
	c.end()
	if by := servers.take(); len(by) != 2 {
		t.Errorf("asked by %v", by)
	}
	out, err := ns.Run("nft", "list", "table", "inet", "witness")
	if err != nil || strings.Count(out, "packets 0 ") != 3 {
		t.Errorf("packets with another mark or source: %v\n%s", err, out)
	}
}

// A SYN that is lost is a probe that is lost, although the kernel sends another one and
// that is answered.
func TestSYNsThatAreLost(t *testing.T) {
	ns, isps := multihomed(t)
	serve(t, isps[1])
	nft(t, isps[1], `table inet losing { chain c {
		type filter hook prerouting priority -10
		tcp dport 80 tcp flags & (syn | ack) == syn numgen inc mod 2 == 0 counter drop
	}; }`)
	path := indexed(t, ns, 1)
	c := startChild(t, ns)
	var ids []failover.ProbeID
	for _, f := range failover.Families {
		for _, target := range methodTargets(f)[:2] {
			id := c.send(f, target, path)
			ids = append(ids, id)
			if r := c.outcome(id, 1); r.Kind != "sent" {
				t.Fatalf("%+v", r)
			}
			waitFor(t, "the second SYN", func() bool {
				out, err := isps[1].Run("nft", "list", "table", "inet", "losing")
				return err == nil && strings.Contains(out, fmt.Sprintf("counter packets %d ", len(ids)))
			})
			waitFor(t, "the connection to be over", func() bool {
				out, err := ns.Run("ss", "-Htan")
				return err == nil && strings.TrimSpace(out) == ""
			})
		}
	}
	c.end()
	for _, id := range ids {
		if len(c.seen[id]) != 1 {
			t.Errorf("probe %d came to %+v", id, c.seen[id])
		}
	}
}

// A SYN that this machine's own packet filter drops was not sent: of that the kernel says
// nothing, but conntrack does where it follows probes.
func TestSYNsThatAreDroppedHere(t *testing.T) {
	const track = "add table inet tracked; add chain inet tracked c { type filter hook output priority 0 ; }; add rule inet tracked c ct state established"
	const exempt = "add table inet exempt; add chain inet exempt c { type filter hook output priority raw ; }; add rule inet exempt c tcp dport 80 notrack"
	for _, tc := range []struct {
		name, rules string
		told        bool
	}{
		{"tracked", track, true},
		{"exempt from tracking", track + "; " + exempt, false},
		{"no tracking at all", "add table inet none", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ns, isps := multihomed(t)
			serve(t, isps[1])
			nft(t, ns, tc.rules)
			path := indexed(t, ns, 1)
			path.LostAfter = 100 * time.Millisecond
			c := startChild(t, ns)
			for _, f := range failover.Families {
				for _, target := range methodTargets(f)[:2] {
					c.answered(f, target, path)
				}
			}
			nft(t, ns, "add table inet other; add chain inet other out { type filter hook output priority 10 ; }; add rule inet other out tcp dport 80 drop")
			for _, f := range failover.Families {
				first := c.send(f, methodTargets(f)[0], path)
				if r := c.outcome(first, 1); r.Kind != "sent" {
					t.Errorf("%s: the first one is %+v", f, r)
				}
				for _, target := range methodTargets(f)[:2] {
					r := c.outcome(c.send(f, target, path), 1)
					if told := r.Kind == "not sent" && strings.Contains(r.Cause, "operation not permitted"); told != tc.told {
						t.Errorf("%s: %+v, want that it is told %v", target, r, tc.told)
					}
				}
			}
			nft(t, ns, "delete table inet other")
			for _, f := range failover.Families {
				for _, target := range methodTargets(f)[:2] {
					waitFor(t, "an answer again", func() bool {
						return c.outcome(c.send(f, target, path), 1).Kind == "sent"
					})
				}
			}
			if over := c.end(); over.Cause != "" {
				t.Errorf("leaks: %s", over.Cause)
			}
		})
	}
}
