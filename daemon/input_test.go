package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/fake"
)

// withdraw sets whether the IPv4 gateway of eth0 has lost its route.
func withdraw(gone bool) func(*line) {
	return func(l *line) { l.link.Family[failover.IPv4].Withdrawn = gone }
}

// A withdrawn gateway stays in use while probes through it are answered. After a
// minute that is a problem.
func TestWithdrawnGateway(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.take()
		for range 5 {
			r.change("eth0", withdraw(true))
			r.after(300 * time.Millisecond)
			r.change("eth0", withdraw(false))
			r.after(10 * time.Second)
		}
		if events := r.take(); len(events) > 0 {
			t.Errorf("renewals were reported: %+v", events)
		}
		r.change("eth0", withdraw(true))
		r.after(55 * time.Second)
		if p := r.problem("gateway-withdrawn"); p != nil {
			t.Errorf("after 55 s: %+v", p)
		}
		r.after(6 * time.Second)
		p := r.problem("gateway-withdrawn")
		if p == nil || p.Object != "fiber" || p.Severity != control.Warning || !strings.Contains(p.Remedy, "swerve drain fiber") {
			t.Fatalf("after a minute: %+v", r.status().Problems)
		}
		r.wantLadder(1, 2)
		if s := r.status(); s.SwitchesTotal > 0 {
			t.Errorf("%d switches", s.SwitchesTotal)
		}
		r.change("eth0", withdraw(false))
		if p := r.problem("gateway-withdrawn"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

// With one uplink nothing goes by what the daemon decides, so a route that is gone is told
// at once, and not said to be in use.
func TestWithdrawnGatewayOfAWatchedUplink(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.net.setDefaults(leads("eth0", 1, 100))
		r.start()
		r.after(time.Minute)
		r.change("eth0", withdraw(true))
		r.after(8 * time.Second)
		p := r.problem("gateway-withdrawn")
		if p == nil || !strings.Contains(p.Text, "only watches") || strings.Contains(p.Remedy, "enabled: false") || control.Overall(*r.status()) != control.Warning {
			t.Errorf("after 8 s: %+v", r.status().Problems)
		}
	})
}

// An uplink that never answers is not an outage, but a problem after half a minute.
// A policy without any other uplink is critical from then on.
func TestSilentSinceTheStart(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.blackHole("eth0", true, both...)
		r.blackHole("eth1", true, both...)
		r.start()
		r.after(25 * time.Second)
		if s := r.status(); control.Overall(*s) != control.Warning || r.problem("starting") == nil || r.problem("uplink-silent") != nil {
			t.Errorf("overall is %s after 25 s: %+v", control.Overall(*s), s.Problems)
		}
		r.after(6 * time.Second)
		if s := r.status(); control.Overall(*s) != control.Critical || r.problem("policy-dead") == nil || r.problem("starting") != nil {
			t.Errorf("overall is %s after 31 s: %+v", control.Overall(*s), s.Problems)
		}
		if p := r.problem("uplink-silent"); p == nil || p.Severity != control.Warning || !strings.Contains(p.Text, "ipv4 and ipv6") {
			t.Errorf("after 31 s: %+v", r.status().Problems)
		}
		r.Journal.Take()
		r.take()
		r.blackHole("eth1", false, both...)
		r.until("lte carries", 3*time.Second, func() bool { return r.isIn("lte", control.Up)() })
		r.after(time.Second)
		r.wantLadder(2, 1)
		if did := fake.With(r.Journal.Take(), "flows"); len(did) > 0 {
			t.Errorf("sessions were touched: %v", did)
		}
		r.blackHole("eth0", false, both...)
		r.until("fiber is up", 3*time.Second, r.isIn("fiber", control.Up))
		if p := r.problem("uplink-silent"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

// The address is missing for 300 ms: packets that the flows would send by the other
// uplink are held back, no flow is moved, and the uplink is not down.
func TestRenewedAddress(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.blackHole("eth0", true, failover.IPv4) // a stall, from which a longer patience is learnt
		r.until("fiber is down", 5*time.Second, func() bool { return r.uplink("fiber").IPv4.State == control.Down })
		r.blackHole("eth0", false, failover.IPv4)
		r.after(2 * time.Minute)
		r.take()
		r.Journal.Take()
		var had []netip.Prefix
		r.change("eth0", func(l *line) {
			had, l.link.Family[failover.IPv4].Addresses = l.link.Family[failover.IPv4].Addresses, nil
		})
		r.after(300 * time.Millisecond)
		r.change("eth0", func(l *line) { l.link.Family[failover.IPv4].Addresses = had })
		r.after(time.Second)
		r.wantLadder(1, 2)
		did := r.Journal.Take()
		if len(fake.With(did, "hold eth0 off eth1 for 1s")) != 1 || len(fake.With(did, "end misled of 1 by 2")) != 1 || len(fake.With(did, "delete ")) > 0 || len(fake.With(did, "grace")) > 0 {
			t.Errorf("did:\n%s", strings.Join(did, "\n"))
		}
		for _, e := range r.take() {
			if d, ok := e.Detail.(control.HealthDetail); ok && (d.To == control.Down || d.To == control.Recovering) {
				t.Errorf("%+v", d)
			}
		}
	})
}

// Addresses that come back after an uplink was down end what was masqueraded meanwhile
// with those of another device.
func TestAddressAfterNone(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		var had []netip.Prefix
		r.change("eth0", func(l *line) {
			had, l.link.Family[failover.IPv4].Addresses = l.link.Family[failover.IPv4].Addresses, nil
		})
		r.until("fiber is down", 5*time.Second, func() bool { return r.uplink("fiber").IPv4.State == control.Down })
		r.Journal.Take()
		r.change("eth0", func(l *line) { l.link.Family[failover.IPv4].Addresses = had })
		r.after(time.Second)
		if did := r.Journal.Take(); len(fake.With(did, "end misled of 1 by ")) != 1 || len(fake.With(did, "hold")) > 0 {
			t.Errorf("did:\n%s", strings.Join(did, "\n"))
		}
	})
}

// The engine's view is built once between two of its steps, however many need it.
func TestViewIsBuiltOnce(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		_ = r.loop.ask(t.Context(), func() {
			l := r.loop
			a, b := l.view(), l.engineView()
			if &a.Uplinks[0] != &b.Uplinks[0] {
				t.Error("two views for one step")
			}
			l.step(l.clock.now(), failover.Tick{})
			if c := l.view(); &a.Uplinks[0] == &c.Uplinks[0] {
				t.Error("the view is of before the step")
			}
		})
	})
}
