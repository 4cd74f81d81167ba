package linkmon

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// remotes are hosts behind the first ISP of wan, by family.
var remotes = [2][3]string{
	{"198.18.0.1", "198.18.0.2", "198.18.0.3"},
	{"2001:db8:ffff::1", "2001:db8:ffff::2", "2001:db8:ffff::3"},
}

// near are addresses of the ISP on the link itself.
var near = [2]string{"10.0.0.1", "2001:db8:0::1"}

// withRemotes is wan with the remotes, and routes to them.
func withRemotes(t *testing.T) (ns, isp *netns.NS) {
	t.Helper()
	ns, isps := wan(t)
	for f, bits := range []int{32, 128} {
		for _, a := range remotes[f] {
			runIP(t, isps[0], fmt.Sprintf("addr add %s/%d dev lo", a, bits))
		}
		runIP(t, ns, fmt.Sprintf("-%d route add default via %s dev w0", []int{4, 6}[f], near[f]))
	}
	waitFor(t, "the remote hosts", func() bool { // the kernel makes IPv6's local routes later
		for _, a := range remotes[failover.IPv6] {
			if runIP(t, isps[0], "-6 route show table local "+a) == "" {
				return false
			}
		}
		return true
	})
	return ns, isps[0]
}

// answerUDP has a host answer, or swallow, whatever comes to a port.
func answerUDP(t *testing.T, ns *netns.NS, at netip.AddrPort, answers bool) {
	t.Helper()
	server, err := ns.ListenPacket("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return // closed
			}
			if answers {
				_, _ = server.WriteTo(b[:n], from) // a lost answer is none
			}
		}
	}()
}

// answerTCP has a host answer on each connection to a port.
func answerTCP(t *testing.T, ns *netns.NS, at netip.AddrPort) {
	t.Helper()
	l, err := ns.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer c.Close()
				b := make([]byte, 64)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					_, _ = c.Write(b[:n])
				}
			}()
		}
	}()
}

// keepSending sends over a connection until the test ends, often enough for the witness.
func keepSending(t *testing.T, c net.Conn) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		c.Close()
		<-stopped
	})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				_, _ = c.Write([]byte("question")) // refused where nobody listens
			}
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			if _, err := c.Read(b); err != nil && !isRefusal(err) {
				return // closed
			}
		}
	}()
}

func isRefusal(err error) bool {
	n, ok := err.(*net.OpError)
	return ok && !n.Timeout() && n.Err.Error() == "read: connection refused"
}

// flow is a conversation with a host, as a test of the witness has it.
type flow struct {
	host     int // of remotes; nearHost: the ISP's router
	tcp      bool
	port     uint16 // 0: 7007
	answers  bool
	stranger bool // the host sends, and nothing is sent to it
}

const nearHost = -1

func (w flow) start(t *testing.T, ns, isp *netns.NS, f failover.Family) {
	t.Helper()
	a := near[f]
	if w.host != nearHost {
		a = remotes[f][w.host]
	}
	port := uint16(7007)
	if w.port != 0 {
		port = w.port
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(a), port)
	switch {
	case w.stranger:
		// It sends from its own address to a port where nobody listens.
		var c net.Conn
		err := isp.Do(func() (err error) {
			local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr(), 0))
			c, err = net.DialUDP("udp", local, &net.UDPAddr{IP: net.ParseIP([2]string{"10.0.0.2", "2001:db8:0::2"}[f]), Port: 9})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		keepSending(t, c)
	case w.tcp:
		answerTCP(t, isp, to)
		c, err := ns.DialTCP(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		keepSending(t, c)
	default:
		answerUDP(t, isp, to, w.answers)
		c, err := ns.DialUDP(to)
		if err != nil {
			t.Fatal(err)
		}
		keepSending(t, c)
	}
}

// TestWitness has real packets pass an uplink that is suspected. What established flows
// receive counts if it comes from two remote hosts; one may be the provider's, and what
// leaves proves nothing.
func TestWitness(t *testing.T) {
	for _, c := range []struct {
		name  string
		flows []flow
		// want: two hosts are heard; alone: a single one is.
		want, alone bool
	}{
		{"two by UDP", []flow{{host: 0, answers: true}, {host: 1, answers: true}}, true, false},
		{"two by TCP", []flow{{host: 0, tcp: true}, {host: 1, tcp: true}}, true, false},
		{"one by each", []flow{{host: 0, tcp: true}, {host: 1, answers: true}}, true, false},
		{"one remote alone", []flow{{host: 0, tcp: true}, {host: 0, answers: true}, {host: 0, answers: true, port: 7008}}, false, true},
		{"one, and two that are silent", []flow{{host: 0, tcp: true}, {host: 1}, {host: 2}}, false, false},
		{"outgoing alone", []flow{{host: 0}, {host: 1}, {host: 2}}, false, false},
		{"one, and the router", []flow{{host: 0, tcp: true}, {host: nearHost, answers: true}}, false, true},
		{"one, and name servers", []flow{{host: 0, tcp: true}, {host: 1, answers: true, port: 53}, {host: 2, answers: true, port: 53}}, false, true},
		{"one, and a stranger", []flow{{host: 0, tcp: true}, {host: 1, stranger: true}}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ns, isp := withRemotes(t)
			for _, f := range failover.Families {
				for _, w := range c.flows {
					w.start(t, ns, isp, f)
				}
			}
			o := observe(t, ns, uplink("fiber", "w0"))
			before := received(t, ns)
			for round := 0; ; round++ {
				two, one := hear(t, ns, o.links["fiber"])
				if !c.want && (two[failover.IPv4] > 0 || two[failover.IPv6] > 0) {
					t.Fatalf("flows received %v times, by family", two)
				}
				as := func(f failover.Family) bool { return (two[f] > 0) == c.want && (c.want || (one[f] > 0) == c.alone) }
				if as(failover.IPv4) && as(failover.IPv6) {
					break
				}
				if round == 4 {
					t.Fatalf("flows received %v times from two hosts, %v times from one, by family", two, one)
				}
				// On a busy machine packets are too far apart.
			}
			if c.want && received(t, ns) < before+10 {
				t.Error("hardly anything passed")
			}
		})
	}
}

// hear has the witness listen once to a suspected uplink, and returns how often it
// reported that flows receive from two hosts, and from one, by family.
func hear(t *testing.T, ns *netns.NS, link failover.Link) (n, one [2]int) {
	t.Helper()
	out := newOutbox()
	w := newWitness(Options{Clock: clockFrom(time.Now()), Log: slog.New(slog.DiscardHandler)}, out, newProbedEnds())
	w.until["fiber"] = w.clock() + listenFor
	if err := ns.Inside(func() { w.run("fiber", link) }); err != nil {
		t.Fatal(err)
	}
	for _, seen := range out.take() {
		event, ok := seen.Event.(failover.Traffic)
		if !ok || event.Uplink != "fiber" || event.Heard < 0 || event.Unanswered >= 0 {
			t.Fatalf("reported %T %+v", seen.Event, seen.Event)
		}
		if event.Received >= 0 {
			n[event.Family]++
		} else {
			one[event.Family]++
		}
	}
	return n, one
}

// received is how many packets w0 received.
func received(t *testing.T, ns *netns.NS) uint64 {
	t.Helper()
	l, err := ns.Netlink().LinkByName("w0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Statistics.RxPackets
}
