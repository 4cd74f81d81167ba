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

// A shared first tier waits as well, and each policy for itself; the answer to the resume
// says who returns.
func TestManualFailbackOfEachPolicy(t *testing.T) {
	const file = `
uplinks:
  - {name: fiber, interface: eth0}
  - {name: cable, interface: eth1}
  - {name: lte, interface: eth2}
policies:
  - {name: default, tiers: [{fiber: 3, cable: 1}, lte]}
  - {name: voice, tiers: [fiber, cable]}
  - {name: video, tiers: [cable, lte]}
rules:
  - {from: 192.0.2.0/24, use: voice}
  - {from: 198.51.100.0/24, use: video}
failback: {mode: manual, after: 5s}
`
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 5*time.Second, r.isIn("fiber", control.Down))
		r.blackHole("eth0", false, both...)
		r.until("fiber is up", time.Minute, r.isIn("fiber", control.Up))
		r.after(time.Minute)
		p := r.problem("failback-manual")
		if p == nil || p.Text != "fiber is up and preferred in ipv4 and ipv6, and failback is manual: policies default and voice stay where they are" {
			t.Fatalf("%+v", r.status().Problems)
		}
		done, err := r.api().Resume(t.Context(), "fiber")
		if err != nil || strings.Join(done.Returned, " ") != "default voice" {
			t.Errorf("%+v, %v", done, err)
		}
		if p := r.problem("failback-manual"); p != nil {
			t.Errorf("afterwards: %+v", p)
		}
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
