package system

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
)

// otherMethods has one target of each method beside ICMP, in both families.
const otherMethods = quickRecovery + `probe:
  targets:
    - tcp://1.1.1.1:443
    - http://8.8.8.8/generate_204
    - dns://9.9.9.9/example.org
    - tcp://[2606:4700:4700::1111]:443
    - http://[2001:4860:4860::8888]/generate_204
    - dns://[2620:fe::fe]/example.org
`

// web serves http in a namespace at addresses, and returns who has asked.
func (g *gateway) web(ns *netns.NS, handler http.HandlerFunc, at ...string) func() map[netip.Addr]int {
	g.Helper()
	var mu sync.Mutex
	by := map[netip.Addr]int{}
	server := &http.Server{Handler: handler, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			mu.Lock()
			defer mu.Unlock()
			by[netip.MustParseAddrPort(c.RemoteAddr().String()).Addr().Unmap()]++
		}
	}}
	g.Cleanup(func() { server.Close() })
	for _, a := range at {
		l, err := ns.Listen("tcp", a)
		if err != nil {
			g.Fatal(err)
		}
		go server.Serve(l)
	}
	return func() map[netip.Addr]int {
		mu.Lock()
		defer mu.Unlock()
		out := by
		by = map[netip.Addr]int{}
		return out
	}
}

// names serves as a name server that says that it has no such record.
func (g *gateway) names(ns *netns.NS, at ...string) {
	g.Helper()
	for _, a := range at {
		conn, err := ns.ListenPacket("udp", a)
		if err != nil {
			g.Fatal(err)
		}
		g.Cleanup(func() { conn.Close() })
		go func() {
			for buf := make([]byte, 512); ; {
				n, from, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				buf[2] |= 0x80 // the question as an answer
				conn.WriteTo(buf[:n], from)
			}
		}()
	}
}

// startMethods starts a gateway with targets of those methods.
func startMethods(t *trial) (g *gateway, asked func() map[netip.Addr]int) {
	t.Helper()
	g = newGateway(t, usual, otherMethods)
	asked = g.web(g.Internet, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"1.1.1.1:443", "8.8.8.8:80", "[2606:4700:4700::1111]:443", "[2001:4860:4860::8888]:80")
	g.names(g.Internet, "9.9.9.9:53", "[2620:fe::fe]:53")
	g.Start()
	g.Await("the first uplink to carry, and all to be up", lab.Settled)
	g.Await("all targets to answer", func(s *control.Status) bool { return answering(s, fiber) == 6 && answering(s, lte) == 6 })
	return g, asked
}

// answering counts the targets of an uplink that answer.
func answering(s *control.Status, uplink int) (n int) {
	for _, f := range failover.Families {
		for _, t := range s.Uplinks[uplink].Family(f).Targets {
			if t.Answering != nil && *t.Answering {
				n++
			}
		}
	}
	return n
}

// Uplinks are judged by connections and queries as they are by echo requests: those of each
// leave by it with its own address, whichever carries, and are counted; and a line that
// dies is left.
func TestOtherMethods(t *testing.T) {
	scenario(t, func(t *trial) {
		g, asked := startMethods(t)
		p := g.clients(fiber)
		asked()
		time.Sleep(3 * time.Second) // three rounds
		by := asked()
		for _, uplink := range []int{fiber, lte} {
			for _, f := range failover.Families {
				if n := by[g.addressOf(uplink, f)]; n < 2 {
					t.Errorf("%s: %d connections from %s's address, of %v", f, n, uplinkNames[uplink], by)
				}
			}
		}
		g.Await("the packet filter's counts to be compared, without a problem", func(s *control.Status) bool {
			bytes := s.Uplinks[lte].Counters.ProbeBytes
			return bytes != nil && *bytes > 10_000 && len(s.Problems) == 0
		})
		// Some probes of lte, and each once.
		out := g.out("nft list counter inet swerve probes_2")
		var packets, bytes int
		if _, err := fmt.Sscanf(out[strings.Index(out, "packets"):], "packets %d bytes %d", &packets, &bytes); err != nil || packets < 12 || packets > 600 {
			t.Errorf("%v: %s", err, out)
		}
		fault := g.Break(fiber, "black-hole")
		g.goBy(lte, p.fresh[:]...)
		g.Await("fiber to be down", func(s *control.Status) bool {
			return s.Uplinks[fiber].IPv4.State == control.Down && s.Uplinks[fiber].IPv6.State == control.Down
		})
		g.Mend(fault)
		g.Await("fiber to carry again", lab.CarriedBy("fiber"))
	})
}

// Behind a captive portal an uplink carries nothing: its targets by http are answered in
// their place, which is told and moves the traffic away.
func TestCaptivePortal(t *testing.T) {
	scenario(t, func(t *trial) {
		g, _ := startMethods(t)
		p := g.clients(fiber)
		g.web(g.ISP[fiber], func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://login.hotel.example/?to="+r.Host, http.StatusFound)
		}, "0.0.0.0:8080", "[::]:8081")
		out, err := g.ISP[fiber].Run("nft", `table inet portal {
			chain catch {
				type nat hook prerouting priority dstnat
				meta nfproto ipv4 tcp dport 80 redirect to :8080
				meta nfproto ipv6 tcp dport 80 redirect to :8081
			}
			chain shut { type filter hook forward priority 0; drop; }
		}`)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		g.goBy(lte, p.fresh[:]...)
		s := g.Await("the portal to be named", func(s *control.Status) bool {
			p := problem(s, "captive-portal", "fiber")
			return p != nil && strings.Contains(p.Text, "ipv4") && strings.Contains(p.Text, "ipv6") && s.Uplinks[fiber].IPv4.State == control.Down
		})
		if w := problem(s, "captive-portal", "fiber"); !strings.Contains(w.Text, "captive portal at login.hotel.example") || w.Severity != control.Warning {
			t.Errorf("the problem is %+v", w)
		}
		if r := s.Uplinks[fiber].IPv4.Reason; !strings.Contains(r, "captive portal at login.hotel.example") {
			t.Errorf("the reason is %q", r)
		}
		for _, target := range s.Uplinks[fiber].IPv4.Targets {
			if http := strings.HasPrefix(target.Target, "http:"); http != (target.Fault != nil) {
				t.Errorf("%s has the fault %v", target.Target, target.Fault)
			}
		}
		if out, err := g.ISP[fiber].Run("nft", "delete table inet portal"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		g.Await("fiber to carry again", lab.CarriedBy("fiber"))
		g.Await("the problem to be gone", func(s *control.Status) bool { return problem(s, "captive-portal", "fiber") == nil })
	})
}

// A rule in output drops all connections and queries of probes. Of a SYN the kernel does not
// tell that; all the same nothing is known then, and no traffic moves.
func TestConnectionsUnsent(t *testing.T) {
	scenario(t, func(t *trial) {
		g, _ := startMethods(t)
		g.foreignOutput("filter", "meta mark & 0x7f000000 != 0 tcp dport { 80, 443 } drop", "meta mark & 0x7f000000 != 0 udp dport 53 drop")
		s := g.Await("the problem, and both families to be unknown", func(s *control.Status) bool {
			for _, uplink := range []int{fiber, lte} {
				for _, f := range failover.Families {
					if s.Uplinks[uplink].Family(f).State != control.Unknown {
						return false
					}
				}
			}
			return problem(s, "probes-unsent", "fiber") != nil && problem(s, "probes-unsent", "lte") != nil
		})
		for _, f := range failover.Families {
			if h := s.Uplinks[fiber].Family(f); h.Unsent == 0 || h.UnsentErrno == nil || *h.UnsentErrno != "EPERM" {
				t.Errorf("%s is %+v", f, h)
			}
			for _, uplink := range []int{fiber, lte} {
				for _, state := range g.entered(uplink, f) {
					if state == control.Down || state == control.Shunned {
						t.Errorf("%s of %s was %s", f, uplinkNames[uplink], state)
					}
				}
			}
		}
		if n := len(g.switches()); n > 0 || !lab.Carries(s, "fiber") {
			t.Errorf("traffic was moved: %+v", g.switches())
		}
		g.out("nft delete table inet other")
		g.Await("the uplinks to be up again", lab.Settled)
	})
}
