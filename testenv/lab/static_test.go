package lab

import (
	"net/netip"
	"testing"
	"time"

	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// A kernel with two default routes, configured to skip routes without carrier, and
// masquerading: no program runs. It validates lab, wires and clients without a daemon,
// and is what must hold when the daemon is dead.
func staticKernel(t *testing.T) (*Lab, *traffic.Server) {
	t.Helper()
	lab := NewTest(t, Options{Announce: AnnounceNone, Firewall: FirewallMasquerade})
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, up := range lab.Uplinks {
			key := "net/" + family + "/conf/" + up.Interface + "/ignore_routes_with_linkdown"
			if err := lab.Gateway.SetSysctl(key, "1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, route := range []string{
		"ip -4 route add default via 203.0.113.1 dev wan0 metric 1",
		"ip -4 route add default via 198.51.100.1 dev wan1 metric 2",
		"ip -6 route add default via 2001:db8:1::1 dev wan0 metric 1",
		"ip -6 route add default via 2001:db8:2::1 dev wan1 metric 2",
	} {
		run(t, lab.Gateway, route)
	}
	server, err := traffic.Serve(lab.Internet, Server4, Server6)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return lab, server
}

func TestStaticKernelMovesOnCarrierLoss(t *testing.T) {
	lab, _ := staticKernel(t)
	warmUp(t, lab)
	var clients []*traffic.Client
	for _, to := range []netip.Addr{Server4, Server6} {
		for _, kind := range []traffic.Kind{traffic.UDPSessions, traffic.UDPStream} {
			c, err := traffic.Start(lab.Client, kind, to, traffic.Options{Rate: 200, Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Stop)
			clients = append(clients, c)
		}
	}
	time.Sleep(300 * time.Millisecond)
	lab.MarkLateness()
	f, err := lab.Fault(0, "carrier")
	if err != nil {
		t.Fatal(err)
	}
	end := f.Onset.Add(time.Second)
	for _, c := range clients {
		o := c.Measure(f.Onset, end)
		late := max(o.Lateness, lab.Lateness())
		t.Logf("%s to %s: %v (late by %v; reported after %v)", c.Kind, c.To.Addr(), o, late, f.Reported.Sub(f.Onset))
		// A busy machine is not the kernel's fault.
		if !o.Over || o.Interruption > 500*time.Millisecond+late {
			t.Errorf("%s to %s: %v; the kernel alone should take a few ms", c.Kind, c.To.Addr(), o)
		}
		checkVia(t, c, f, lab.Uplinks)
	}
}

// checkVia checks which uplink carried the requests: the first until the fault, the
// second once the kernel had reported it.
func checkVia(t *testing.T, c *traffic.Client, f *Fault, up []Uplink) {
	t.Helper()
	want := []netip.Addr{up[0].Address4, up[1].Address4}
	if c.To.Addr().Is6() {
		want = []netip.Addr{up[0].Address6, up[1].Address6}
	}
	moved := 0
	for _, r := range c.Log() {
		switch {
		case r.Answered.IsZero():
		case r.Answered.Before(f.Onset) && r.Via != want[0]:
			t.Fatalf("before the fault request %d went by %v, want %v", r.Seq, r.Via, want[0])
		case r.Sent.After(f.Reported) && r.Via == want[1]:
			moved++
		case r.Sent.After(f.Reported):
			t.Fatalf("request %d, sent %v after the kernel's report, went by %v", r.Seq, r.Sent.Sub(f.Reported), r.Via)
		}
	}
	if moved < 20 {
		t.Errorf("%s: only %d requests went by the second uplink", c.Kind, moved)
	}
}

// The kernel alone does not notice a black-hole. A lab in which it does is broken.
func TestStaticKernelStaysInABlackHole(t *testing.T) {
	lab, _ := staticKernel(t)
	warmUp(t, lab)
	c, err := traffic.Start(lab.Client, traffic.UDPSessions, Server4, traffic.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	time.Sleep(100 * time.Millisecond)
	f, err := lab.Fault(0, "black-hole")
	if err != nil {
		t.Fatal(err)
	}
	if o := c.Measure(f.Onset, f.Onset.Add(500*time.Millisecond)); o.Over || o.Interruption < 400*time.Millisecond {
		t.Errorf("black-hole: %v", o)
	}
}

// warmUp resolves the neighbours of both uplinks, as probes would.
func warmUp(t *testing.T, lab *Lab) {
	t.Helper()
	for i := range lab.Uplinks {
		wait.For(t, "the uplink to work", func() bool {
			up := lab.Uplinks[i]
			return pings(lab.Gateway, up.Interface, up.Router4) == nil && pings(lab.Gateway, up.Interface, up.Router6) == nil
		})
	}
}
