package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// With manual failback the status says that the preferred uplink waits, and how it
// returns, and the way that it names leads there.
func TestManualFailbackIsTold(t *testing.T) {
	manual := twoUplinks + "failback: {mode: manual, after: 5s}\n"
	inBubble(t, manual, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		if p := r.problem("failback-manual"); p != nil {
			t.Errorf("while all is well: %+v", p)
		}
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 5*time.Second, r.isIn("fiber", control.Down))
		r.after(time.Minute)
		if p := r.problem("failback-manual"); p != nil {
			t.Errorf("while fiber is down: %+v", p)
		}
		r.blackHole("eth0", false, both...)
		r.until("fiber is up", time.Minute, r.isIn("fiber", control.Up))
		r.after(time.Minute)
		p := r.problem("failback-manual")
		if p == nil || p.Severity != control.Info || p.Object != "default" ||
			p.Since != r.uplink("fiber").IPv4.Since && p.Since != r.uplink("fiber").IPv6.Since ||
			!strings.HasPrefix(p.Text, "fiber is up and preferred in ipv4 and ipv6, and failback is manual") ||
			!strings.Contains(p.Remedy, "`swerve resume fiber`") {
			t.Fatalf("it waits: %+v", r.status().Problems)
		}
		r.wantLadder(2, 1)
		if _, err := r.api().Resume(t.Context(), "fiber"); err != nil {
			t.Fatal(err)
		}
		r.until("traffic is back", 5*time.Second, func() bool { return r.problem("failback-manual") == nil && r.status().LastSwitch.Kind == "failback" })
		r.after(time.Minute)
		r.wantLadder(1, 2)
	})
}

// An uplink that damping holds is a note with the cause, in the reason too. One that
// only has to be good for failback.after is none.
func TestHeldUplinkIsTold(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 5*time.Second, r.isIn("fiber", control.Down))
		r.after(time.Minute)
		r.blackHole("eth0", false, both...)
		r.until("fiber is recovering", 5*time.Second, r.isIn("fiber", control.Recovering))
		if p := r.problem("uplink-held"); p != nil {
			t.Errorf("after one outage: %+v", p)
		}
		r.until("fiber is up", time.Minute, r.isIn("fiber", control.Up))
		r.flapUntilHeld("eth0", "fiber")
		r.until("fiber is recovering", 5*time.Second, r.isIn("fiber", control.Recovering))
		p := r.problem("uplink-held")
		if p == nil || p.Severity != control.Info || p.Object != "fiber" || !strings.Contains(p.Text, "held back in ipv4 and ipv6 although") || !strings.Contains(p.Text, "health.damping") {
			t.Fatalf("it is held: %+v", r.status().Problems)
		}
		if reason := r.uplink("fiber").IPv4.Reason; !strings.Contains(reason, "held for its repeated downs, back in ") {
			t.Errorf("the reason is %q", reason)
		}
		if s := control.Overall(*r.status()); s != control.OK {
			t.Errorf("overall is %s", s)
		}
		r.until("fiber is up", time.Hour, r.isIn("fiber", control.Up))
		if p := r.problem("uplink-held"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

// The way out that is named for a held uplink is one: a resume ends the hold, so that the
// uplink carries at once; the events tell it, also the state, so that a restart does not
// hold it again.
func TestResumeReleasesAHeldUplink(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.flapUntilHeld("eth0", "fiber")
		r.until("fiber is recovering", 5*time.Second, r.isIn("fiber", control.Recovering))
		r.after(time.Minute)
		r.wantLadder(2, 1)
		p := r.problem("uplink-held")
		if p == nil || !strings.Contains(p.Remedy, "`swerve resume fiber`") {
			t.Fatalf("it is held: %+v", r.status().Problems)
		}
		r.take()
		if _, err := r.api().Resume(t.Context(), "fibre"); !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "the uplinks are fiber, lte") {
			t.Errorf("one that does not exist: %v", err)
		}
		if done, err := r.api().Resume(t.Context(), "lte"); err != nil || len(done.Released) != 0 || r.problem("uplink-held") == nil {
			t.Errorf("another one: %+v, %v", done, err)
		}
		done, err := r.api().Resume(t.Context(), "fiber")
		if err != nil || !slices.Equal(done.Released, []string{"fiber"}) {
			t.Fatalf("%+v, %v", done, err)
		}
		if p := r.problem("uplink-held"); p != nil || !r.isIn("fiber", control.Up)() {
			t.Errorf("resumed: %+v, %+v", p, r.uplink("fiber"))
		}
		r.until("fiber carries", time.Second, func() bool { return r.status().Policies[0].IPv4[0].Uplink == "fiber" })
		r.wantLadder(1, 2)
		told := ofType(r.take(), control.EventOperator)
		if len(told) != 2 || told[1].Detail.(control.OperatorDetail) != (control.OperatorDetail{
			Action: "resumed", Uplink: "fiber", Reason: "no longer held back for repeated downs: fiber"}) {
			t.Errorf("told: %+v", told)
		}
		r.stop()
		r.start()
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 5*time.Second, r.isIn("fiber", control.Down))
		r.after(time.Minute)
		r.blackHole("eth0", false, both...)
		r.until("fiber is up, as after a first down", time.Minute, r.isIn("fiber", control.Up))
	})
}

// In a shared tier the one that carries speaks for all of it.
func TestWaitingIn(t *testing.T) {
	share := func(names ...string) (out []failover.Share) {
		for _, n := range names {
			out = append(out, failover.Share{Uplink: n, Weight: 1})
		}
		return out
	}
	tiers := [][]failover.Share{share("a", "b"), share("c"), share("d")}
	for _, c := range []struct {
		carrying []failover.Share
		up, want string
	}{
		{share("c"), "a c", "a"},
		{share("c"), "a b c", "a b"},
		{share("c"), "c d", ""},
		{share("a"), "a b c", ""},
		{share("d"), "c d", "c"},
		{nil, "a", ""},
	} {
		got := strings.Join(waitingIn(tiers, c.carrying, func(n string) bool { return strings.Contains(c.up, n) }), " ")
		if got != c.want {
			t.Errorf("%v carries, %s are up: %q wait, want %q", c.carrying, c.up, got, c.want)
		}
	}
}

// A gateway that does not answer ARP is named, with the key if the file names it.
func TestMuteGatewayIsTold(t *testing.T) {
	file := strings.Replace(twoUplinks, "interface: eth1", "interface: eth1, gateway: 10.99.99.1", 1)
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.change("eth1", func(l *line) {
			l.link.Family[failover.IPv4].Gateway, l.link.Family[failover.IPv4].Addresses = netip.MustParseAddr("10.99.99.1"), prefixes("198.51.100.9/24")
		})
		r.start()
		r.loop.reporter.mute = func(index int, gateway netip.Addr) bool { return gateway.Is4() }
		r.after(time.Minute)
		for _, c := range []struct{ device, uplink, text, remedy string }{
			{"eth1", "lte", "its gateway 10.99.99.1 does not answer ARP on eth1, and is in none of its networks (", "whether gateway: of this uplink is right"},
			{"eth0", "fiber", "does not answer ARP on eth0", "check the cable and the modem on eth0, and whether the modem has another address"},
		} {
			r.blackHole(c.device, true, both...)
			r.until(c.uplink+" is down", 5*time.Second, r.isIn(c.uplink, control.Down))
			p := r.problem("uplink-down")
			if p == nil || !strings.Contains(p.Text, c.text) || !strings.Contains(p.Remedy, c.remedy) || strings.Contains(p.Remedy, "provider") {
				t.Errorf("%s: %+v", c.uplink, p)
			}
			if c.uplink == "fiber" && strings.Contains(p.Text, "none of its networks") {
				t.Errorf("%s: %+v", c.uplink, p)
			}
			r.blackHole(c.device, false, both...)
			r.until(c.uplink+" is up", time.Minute, r.isIn(c.uplink, control.Up))
		}
	})
}

// The prefixes that are not probed for are told where there is any IPv6, and nowhere
// else.
func TestPrefix6IsToldWhereThereIsIPv6(t *testing.T) {
	lan := []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fe80::1")}
	for _, c := range []struct {
		name   string
		own    []netip.Addr
		uplink bool
		want   bool
	}{
		{"no IPv6", lan, false, false},
		{"an uplink with IPv6", lan, true, true},
		{"a public address in the LAN", append(lan, netip.MustParseAddr("2001:db8:9::1")), false, true},
	} {
		inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
			for _, device := range []string{"eth0", "eth1"} {
				if !c.uplink {
					r.change(device, func(l *line) { l.link.Family[failover.IPv6] = failover.FamilyLink{} })
				}
			}
			r.net.own = c.own
			r.start()
			r.after(time.Minute)
			if p := r.problem("not-built"); (p != nil) != c.want || p != nil && p.Object != "uplinks[].prefix6" {
				t.Errorf("%s: %+v", c.name, p)
			}
		})
	}
}
