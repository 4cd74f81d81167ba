package firewall

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// trackEarly keeps conntrack active before there is a table of ours.
const trackEarly = `table inet other { chain f { type filter hook forward priority 0; ct state new accept;
}
}`

// trackOwnEarly does the same also for what comes in for the gateway itself.
const trackOwnEarly = trackEarly + `
table inet other2 { chain i { type filter hook input priority 0; ct state new accept;
}
}`

// lanOf is the LAN's network in a family.
func lanOf(f failover.Family) netip.Prefix {
	return netip.PrefixFrom(netip.MustParseAddr(plans[f].client), plans[f].bits).Masked()
}

// carriesLAN has the internet answer the LAN's own addresses by the first uplink.
func (l *lab) carriesLAN(f failover.Family) {
	l.t.Helper()
	run(l.t, l.net, "ip", plans[f].flag, "route", "add", lanOf(f).String(), "via", plans[f].a)
}

// adopt adopts what the gateway's flows show, and has the goal follow it.
func (l *lab) adopt(uplinks ...lane.Lane) Adoption {
	l.t.Helper()
	var a Adoption
	inside(l.t, l.gw, func() (err error) {
		a, err = l.kernel.AdoptFlows(l.goal, uplinks...)
		return err
	})
	for i, u := range l.goal.Uplinks {
		l.goal.Uplinks[i].Native4 = ofFamily(a.Native[u.Lane], failover.IPv4)
		l.goal.Uplinks[i].Plain = a.Plain[u.Lane]
		l.goal.Uplinks[i].Native6 = append(l.goal.Uplinks[i].Native6, ofFamily(a.Native[u.Lane], failover.IPv6)...)
	}
	return a
}

// A LAN that the first uplink carried without NAT before the first start keeps its
// addresses there, on old flows and new ones, and is masqueraded on the other uplink.
// What was never answered begins anew.
func TestNativeLANKeepsItsSource(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			l.goal.Uplinks[1].Native6 = prefixes("2001:db8:2::/64")
			loadText(t, l.gw, trackEarly)
			serveUDP(t, l.net, at(p.host, 5000))
			serveTCP(t, l.net, at(p.host, 5000))
			unanswered := dialUDP(t, l.client, at(p.host, 5000))
			until(t, "a flow without an answer", func() bool {
				unanswered.Write([]byte("?"))
				return strings.Contains(l.flows("-p", "udp"), "UNREPLIED")
			})
			l.carriesLAN(f)
			udp, tcp := dialUDP(t, l.client, at(p.host, 5000)), dialTCP(t, l.client, at(p.host, 5000))
			if got := askUDP(t, udp); got != p.client {
				t.Fatalf("before the start the server saw %s", got)
			}
			askTCP(tcp)
			a := l.adopt(1, 2)
			if want := []netip.Prefix{lanOf(f)}; len(a.Native) != 1 || !slices.Equal(a.Native[1], want) {
				t.Fatalf("native: %v, want %v by lane 1", a.Native, want)
			}
			l.apply()
			for i := range 2 { // the second time with the other uplink preferred
				if got, err := askTCP(tcp); got != p.client {
					t.Errorf("%d: by TCP the server saw %q, %v", i, got, err)
				}
				if got := askUDP(t, udp); got != p.client {
					t.Errorf("%d: by UDP the server saw %s", i, got)
				}
				if i == 0 {
					if got := askUDP(t, dialUDP(t, l.client, at(p.host, 5000))); got != p.client {
						t.Errorf("by a new flow the server saw %s", got)
					}
					l.prefer("wan1", "wan0")
				}
			}
			if got := askUDP(t, dialUDP(t, l.client, at(p.host, 5000))); got != p.b {
				t.Errorf("on the other uplink the server saw %s", got)
			}
			l.lose()
			if _, err := askTCP(tcp); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
				t.Errorf("after the verdict TCP without NAT ended by %v, want a reset", err)
			}
			if got := askUDP(t, udp); got != p.b {
				t.Errorf("after the verdict the server saw %s", got)
			}
		})
	}
}

// A flow that was never answered, because nobody masqueraded it, begins anew at the
// start, and so is answered with its ports.
func TestUnansweredFlowsBeginAnew(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			loadText(t, l.gw, trackEarly)
			serveUDP(t, l.net, at(plans[f].host, 5000))
			c := dialUDP(t, l.client, at(plans[f].host, 5000))
			until(t, "a flow without an answer", func() bool {
				c.Write([]byte("?"))
				return strings.Contains(l.flows("-p", "udp"), "UNREPLIED")
			})
			if a := l.adopt(1, 2); a.Flows != 1 || len(a.Native) > 0 {
				t.Errorf("adopted %+v", a)
			}
			l.apply()
			if got := askUDP(t, c); got != plans[f].a {
				t.Errorf("the server saw %s", got)
			}
		})
	}
}

// An answer of a network that is routed by the uplink explicitly, such as the modem's
// or another site's, does not show that the internet answers: new flows are
// masqueraded, but not those to that network.
func TestNetworkBehindAnUplinkSeesTheLAN(t *testing.T) {
	for _, f := range failover.Families {
		for _, routed := range []bool{false, true} {
			t.Run(fmt.Sprint(f, " routed ", routed), func(t *testing.T) {
				l := newLab(t)
				p := plans[f]
				loadText(t, l.gw, trackEarly)
				l.carriesLAN(f)
				site := p.nextA
				want := netip.PrefixFrom(netip.MustParseAddr(site), p.bits).Masked()
				if routed {
					want = [2]netip.Prefix{netip.MustParsePrefix("10.50.0.0/16"), netip.MustParsePrefix("fd50::/48")}[f]
					site = want.Addr().Next().String()
					l.address(l.net, "lo", site, want.Addr().BitLen())
					run(t, l.gw, "ip", p.flag, "route", "add", want.String(), "via", p.nextA)
				}
				serveUDP(t, l.net, at(site, 5000))
				serveUDP(t, l.net, at(p.host, 5000))
				old := dialUDP(t, l.client, at(site, 5000))
				if got := askUDP(t, old); got != p.client {
					t.Fatalf("the site saw %s", got)
				}
				if a := l.adopt(1, 2); a.Flows != 1 || len(a.Native) > 0 || len(a.Plain) != 1 || !slices.Equal(a.Plain[1], []Ends{{lanOf(f), want}}) {
					t.Errorf("adopted %+v", a)
				}
				l.apply()
				for what, c := range map[string]net.Conn{"the old": old, "a new": dialUDP(t, l.client, at(site, 5000))} {
					if got := askUDP(t, c); got != p.client {
						t.Errorf("%s flow's source became %s", what, got)
					}
				}
				if got := askUDP(t, dialUDP(t, l.client, at(p.host, 5000))); got != p.a {
					t.Errorf("a flow to the internet left as %s", got)
				}
			})
		}
	}
}

// The gateway's own sockets keep the address that they are bound to: another one of
// the uplink, or one that the uplink leads to without NAT, whether they asked or were
// asked before the start.
func TestOwnAddressesStay(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			loadText(t, l.gw, trackOwnEarly)
			second := netip.MustParseAddr(p.a).Next()
			service := [2]string{"203.0.114.9", "2001:db8:50::9"}[f]
			asked := [2]string{"203.0.114.10", "2001:db8:50::10"}[f]
			bits := second.BitLen()
			l.address(l.gw, "wan0", second.String(), p.bits)
			for _, own := range []string{service, asked} {
				l.address(l.gw, "lo", own, bits)
				run(t, l.net, "ip", p.flag, "route", "add", own, "via", p.a)
			}
			l.goal.Uplinks[0].Addresses = append(l.goal.Uplinks[0].Addresses, second)
			l.goal.Uplinks[0].SNAT6, l.goal.Uplinks[0].Native6 = Foreign, nil
			serveUDP(t, l.net, at(p.host, 5000))
			serveUDP(t, l.gw, at(asked, 5000))
			from := func(ns *netns.NS, source, to string) *net.UDPConn {
				var c *net.UDPConn
				inside(t, ns, func() (err error) {
					c, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(source)}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
					return err
				})
				t.Cleanup(func() { c.Close() })
				return c
			}
			old := from(l.gw, service, at(p.host, 5000))
			if got := askUDP(t, old); got != service {
				t.Fatalf("before the start the server saw %s", got)
			}
			askUDP(t, from(l.net, p.host, at(asked, 5000)))
			want := prefixes(service+"/"+fmt.Sprint(bits), asked+"/"+fmt.Sprint(bits))
			if a := l.adopt(1, 2); len(a.Native) != 1 || !slices.Equal(a.Native[1], want) || len(a.Plain) > 0 {
				t.Errorf("adopted %+v, want %v", a, want)
			}
			l.apply()
			if got := askUDP(t, old); got != service {
				t.Errorf("the old flow's source became %s", got)
			}
			for _, source := range []string{service, asked, second.String(), p.a} {
				if got := askUDP(t, from(l.gw, source, at(p.host, 5000))); got != source {
					t.Errorf("a new flow from %s left as %s", source, got)
				}
			}
		})
	}
}

// A flow bound to an interface that may become an uplink, as its probes are, leaves by
// that, and does not show that its source is native on the uplink to which an unbound one
// would go.
func TestFlowOfACandidateShowsNothing(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			loadText(t, l.gw, trackOwnEarly)
			for dev, via := range map[string]string{"wan0": p.nextA, "wan1": p.nextB} {
				run(t, l.gw, "ip", p.flag, "route", "add", "default", "via", via, "dev", dev, "metric", map[string]string{"wan0": "1", "wan1": "2000"}[dev])
			}
			run(t, l.gw, "ip", p.flag, "rule", "del", "from", p.b, "lookup", "5302")
			l.goal.Uplinks = l.goal.Uplinks[:1]
			l.goal.Candidates = []netip.Addr{netip.MustParseAddr(p.b)}
			run(t, l.gw, "ping", p.flag, "-c", "1", "-W", "5", "-I", "wan1", p.host)
			if !strings.Contains(l.flows(), "src="+p.b) {
				t.Fatalf("no flow is tracked: %s", l.flows())
			}
			if a := l.adopt(1); len(a.Native)+len(a.Plain)+a.Flows > 0 {
				t.Errorf("adopted %+v", a)
			}
		})
	}
}

// A port forward from one uplink to a host in the network of the other one's modem, and
// its answers, whichever uplink is preferred.
func TestForwardFromUplinkToUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			l.apply()
			l.watchWrong()
			loadText(t, l.gw, fmt.Sprintf(`table inet forwards { chain pre {
				type nat hook prerouting priority dstnat; tcp dport 8080 dnat %s to %s;
}
}`, p.family, at(p.nextB, 80)))
			serveTCP(t, l.net, at(p.nextB, 80))
			for _, first := range []string{"wan0", "wan1"} {
				second := map[string]string{"wan0": "wan1", "wan1": "wan0"}[first]
				l.prefer(first, second)
				c := dialFrom(t, l.net, p.host, at(p.a, 8080), 0)
				for range 2 {
					if got, err := askTCP(c); got != p.b {
						t.Errorf("%s preferred: the host behind wan1 saw %q, %v; want %s", first, got, err, p.b)
					}
				}
			}
			l.noneWrong()
		})
	}
}

// A LAN interface that is an uplink by mistake: what comes in by it is forwarded as
// without us.
func TestLANTakenForAnUplink(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			l.goal.Uplinks = append(l.goal.Uplinks, Uplink{
				Lane: 3, Name: "lan", Interface: "lan0", SNAT: true, Addresses: addresses(plans[0].lan, plans[1].lan),
			})
			for _, q := range plans {
				l.batch(q.flag, "rule add pref 5303 fwmark 0x03000000/0x7f000000 lookup 5303\n"+
					"route add default table 5303 via "+q.client+" dev lan0 onlink\n")
			}
			l.apply()
			l.watchWrong()
			serveUDP(t, l.net, at(p.host, 5000))
			serveTCP(t, l.net, at(p.host, 5000))
			if got := askUDP(t, dialUDP(t, l.client, at(p.host, 5000))); got != p.a {
				t.Errorf("the server saw %s", got)
			}
			if got, err := askTCP(dialTCP(t, l.client, at(p.host, 5000))); got != p.a {
				t.Errorf("the server saw %q, %v", got, err)
			}
			l.noneWrong()
		})
	}
}

// Flows that began by a VPN's route do not leak the LAN's addresses onto an uplink when
// that route is gone, and go on when it is back.
func TestVPNFlowsDoNotLeak(t *testing.T) {
	for _, f := range failover.Families {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t)
			p := plans[f]
			l.goal.Uplinks[0].Native6 = prefixes("2001:db8:1::/64")
			l.apply()
			l.watchWrong()
			l.veth(l.gw, "vpn0", l.net, "vpn1")
			near, far, bits := "10.9.0.1", "10.9.0.2", 24
			if f == failover.IPv6 {
				near, far, bits = "fd09::1", "fd09::2", 64
			}
			l.address(l.gw, "vpn0", near, bits)
			l.address(l.net, "vpn1", far, bits)
			run(t, l.net, "ip", p.flag, "route", "add", lanOf(f).String(), "via", near)
			route := []string{p.flag, "route", "add", p.host, "via", far}
			run(t, l.gw, "ip", route...)
			serveUDP(t, l.net, at(p.host, 5000))
			c := dialUDP(t, l.client, at(p.host, 5000))
			if got := askUDP(t, c); got != p.client {
				t.Fatalf("by the VPN the server saw %s", got)
			}
			run(t, l.gw, "ip", p.flag, "route", "del", p.host)
			before := l.counters().Stray.Packets
			until(t, "three strays", func() bool {
				c.Write([]byte("?"))
				return l.counters().Stray.Packets >= before+3
			})
			l.noneWrong()
			run(t, l.gw, "ip", route...)
			if got := askUDP(t, c); got != p.client {
				t.Errorf("with the VPN back the server saw %s", got)
			}
		})
	}
}

// A connection that begins between the ports of one that was reset meets no reset, and
// begins anew when the pair's flows are deleted again, whether its old entry is
// translated or not. The entry is as kernels before 6.3 leave it.
func TestNewConnectionBetweenOldPorts(t *testing.T) {
	for name, nat := range map[string]string{"bare": "", "translated": " --src-nat 203.0.113.2"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			p := plans[0]
			l.apply()
			l.watchWrong()
			serveTCP(t, l.net, at(p.host, 5000))
			addFlow(t, l.gw, 0x01c00000, "-p tcp --state ESTABLISHED -u SEEN_REPLY,ASSURED -s 192.168.1.10 -d 192.0.2.2 "+
				"--sport 1000 --dport 5000"+nat)
			l.lose()
			done := make(chan string, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
				defer cancel()
				var c net.Conn
				err := l.client.Do(func() (err error) {
					d := net.Dialer{LocalAddr: &net.TCPAddr{Port: 1000}}
					c, err = d.DialContext(ctx, "tcp", at(p.host, 5000))
					return err
				})
				if err != nil {
					done <- err.Error()
					return
				}
				defer c.Close()
				got, _ := askTCP(c)
				done <- got
			}()
			for {
				select {
				case got := <-done:
					if got != p.b {
						t.Errorf("the server saw %q, want %s", got, p.b)
					}
					if n := l.counters().Resets.Packets; n > 0 {
						t.Errorf("%d resets", n)
					}
					if n := l.counters().Anew.Packets; n != 1 {
						t.Errorf("%d flows were counted that begin anew, want 1", n)
					}
					l.noneWrong()
					return
				case <-time.After(50 * time.Millisecond):
					l.deleteFlows(failover.IPv4, 1, 64)
				}
			}
		})
	}
}

// What a helper expects begins with its master's mark, the bit for the established
// included. Where it is no TCP it cannot be reset: it is deleted like other flows.
func TestExpectedUDPMoves(t *testing.T) {
	l := newLab(t)
	p := plans[0]
	l.apply()
	l.watchWrong()
	serveUDP(t, l.net, at(p.host, 5000))
	c := dialUDP(t, l.client, at(p.host, 5000))
	if got := askUDP(t, c); got != p.a {
		t.Fatalf("the server saw %s", got)
	}
	inside(t, l.gw, func() error {
		n, err := eachFlow(l.goal.Layout.CTMask, func(flow) (flowChange, uint32) { return markFlow, 0x01c00000 })
		if n != 1 {
			t.Errorf("%d flows, want 1", n)
		}
		return err
	})
	l.lose()
	c.Write([]byte("?"))
	until(t, "the end of its entry", func() bool {
		l.deleteFlows(failover.IPv4, 1, 64)
		return !strings.Contains(l.flows("-p", "udp"), "dst="+p.a)
	})
	if got := askUDP(t, c); got != p.b {
		t.Errorf("the server saw %s", got)
	}
	if n := l.counters().Anew.Packets; n != 1 {
		t.Errorf("%d flows were counted that wait for a deletion, want 1", n)
	}
	l.noneWrong()
}

// FTP's data connection, which the kernel's helper expects, has its master's lanes and
// is reset with it.
func TestFTPDataEndsWithItsMaster(t *testing.T) {
	l := newLab(t)
	p := plans[0]
	l.ftpHelper()
	l.apply()
	l.watchWrong()
	serveTCP(t, l.net, at(p.host, 5000))
	ln, err := l.net.Listen("tcp", at(p.host, 21))
	l.must(err)
	defer ln.Close()
	served, accepted := make(chan struct{}), make(chan net.Conn, 1)
	go func() {
		defer close(served)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		accepted <- c
		fmt.Fprint(c, "220 ready\r\n") // the helper reads lines that follow one
		for lines := bufio.NewScanner(c); lines.Scan(); {
			fmt.Fprint(c, "227 Entering Passive Mode (192,0,2,2,19,136)\r\n") // port 5000
		}
	}()
	control := dialTCP(t, l.client, at(p.host, 21))
	if got, err := heard(control); !strings.HasPrefix(got, "220") {
		t.Fatalf("the server said %q, %v", got, err)
	}
	fmt.Fprint(control, "PASV\r\n")
	if got, err := heard(control); !strings.HasPrefix(got, "227") {
		t.Fatalf("the server said %q, %v", got, err)
	}
	l.prefer("wan1", "wan0") // the data follows its master, not the routes
	data := dialTCP(t, l.client, at(p.host, 5000))
	if got, err := askTCP(data); got != p.a {
		t.Errorf("the data's server saw %q, %v; want %s, as its master", got, err, p.a)
	}
	l.lose()
	for name, c := range map[string]net.Conn{"control": control, "data": data} {
		if _, err := askTCP(c.(*net.TCPConn)); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			t.Errorf("%s ended by %v, want a reset", name, err)
		}
	}
	l.noneWrong()
	(<-accepted).Close()
	<-served
}

// ftpHelper has the gateway's conntrack follow FTP.
func (l *lab) ftpHelper() {
	l.t.Helper()
	cmd := l.gw.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(`table inet helpers {
		ct helper ftp { type "ftp" protocol tcp; }
		chain pre { type filter hook prerouting priority filter; tcp dport 21 ct helper set "ftp"; }
	}`)
	l.must(l.gw.Start(cmd))
	if err := cmd.Wait(); err != nil {
		l.t.Fatalf("the helper for FTP (nf_conntrack_ftp): %v", err)
	}
}

// In FTP's active mode the server opens the data connection, to the address by which it
// knows the client. The kernel expects it: it is its master's, stays with it on the
// uplink where it came in, and is reset with it.
func TestActiveFTPStaysWithItsMaster(t *testing.T) {
	l := newLab(t)
	p := plans[0]
	l.ftpHelper()
	l.apply()
	l.watchWrong()
	ln, err := l.net.Listen("tcp", at(p.host, 21))
	l.must(err)
	defer ln.Close()
	ports, accepted, served := make(chan string, 1), make(chan net.Conn, 1), make(chan struct{})
	go func() {
		defer close(served)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		accepted <- c
		fmt.Fprint(c, "220 ready\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if port, ok := strings.CutPrefix(lines.Text(), "PORT "); ok {
				ports <- port
			}
			fmt.Fprint(c, "200 done\r\n")
		}
	}()
	serveTCP(t, l.client, at(p.client, 5000))
	control := dialTCP(t, l.client, at(p.host, 21))
	if got, err := heard(control); !strings.HasPrefix(got, "220") {
		t.Fatalf("the server said %q, %v", got, err)
	}
	for _, line := range []string{"USER me", "PORT 192,168,1,10,19,136"} { // port 5000
		fmt.Fprint(control, line+"\r\n")
		if got, err := heard(control); !strings.HasPrefix(got, "200") {
			t.Fatalf("the server said %q, %v", got, err)
		}
	}
	if got := <-ports; got != "203,0,113,2,19,136" {
		t.Fatalf("the server was told %s, want the address of the first uplink", got)
	}
	l.prefer("wan1", "wan0") // the data's answers follow their flow, not the routes
	data := dialFrom(t, l.net, p.host, at(p.a, 5000), 0)
	if got, err := askTCP(data); got != p.host {
		t.Errorf("the client saw %q, %v; want %s", got, err, p.host)
	}
	l.lose()
	if _, err := askTCP(control); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		t.Errorf("control ended by %v, want a reset", err)
	}
	// What came in by an uplink is answered by it, whatever happens to it.
	if got, err := askTCP(data); got != p.host {
		t.Errorf("after the verdict the client saw %q, %v; want %s", got, err, p.host)
	}
	l.noneWrong()
	(<-accepted).Close()
	<-served
}
