package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/fake"
)

// leaveFiber has lte carry for a while, until fiber is good again and carries.
func (r *rig) leaveFiber() {
	r.t.Helper()
	r.change("eth0", func(l *line) { l.link.Carrier = false })
	r.after(5 * time.Second)
	r.change("eth0", func(l *line) { l.link.Carrier = true })
	r.until("fiber to carry", 2*time.Minute, func() bool { return slices.Equal(r.Routes.Ladder(failover.IPv4, 5364), []int{1, 2}) })
	r.after(time.Second)
}

// A drain after a failback goes on over a restart, and ends once: its sessions move, and
// sockets on the uplink's address with them; what uses it because it is there, a rule or its
// own resolvers, stays while it is merely drained. It is not down, also not after another
// restart, and the state file says no more than that.
func TestDrainAfterAFailback(t *testing.T) {
	inBubble(t, strings.Replace(twoUplinks, "eth1}", "eth1, dns: [198.51.100.53]}", 1)+"sessions: {on_failback: drain 10m}\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.leaveFiber()
		until := r.uplink("lte").DrainingUntil
		if left := until.Sub(r.status().Now.Time); left < 9*time.Minute || left > 10*time.Minute {
			t.Fatalf("the drain ends in %v", left)
		}
		r.after(4 * time.Minute)
		r.restart()
		r.after(5 * time.Second)
		if again := r.uplink("lte").DrainingUntil; again.Sub(until.Time).Abs() > 2*time.Second {
			t.Errorf("after a restart the drain ends at %v, before it at %v", again, until)
		}
		r.Journal.Take()
		r.take()
		took := r.until("the end of the drain", 10*time.Minute, func() bool { return r.uplink("lte").DrainingUntil.IsZero() })
		if took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("it ended %v after the restart", took)
		}
		r.after(time.Second)
		did := r.Journal.Take()
		for _, f := range failover.Families {
			if n := len(fake.With(fake.With(did, f.String()), "flows of 2 by 64")); n != 1 {
				t.Errorf("%s flows of lte were deleted %d times: %v", f, n, did)
			}
		}
		if len(r.Routes.RuleTexts("from 192.0.2.2 ")) != 0 {
			t.Error("sockets bound to the address of lte are led there")
		}
		if text := r.Packets.Text(); strings.Contains(text, "goto unanswered_2") || !strings.Contains(text, "jump ask_on_2") {
			t.Errorf("the resolver of lte is not asked on:\n%s", text)
		}
		for _, e := range ofType(r.take(), control.EventSessions) {
			if d := e.Detail.(control.SessionsDetail); d.Action == "moved" && (d.SilentMS != nil || !strings.Contains(d.Reason, "after the failback")) {
				t.Errorf("told as %+v", d)
			}
		}
		if n := strings.Count(r.log.String(), `msg=moved event=sessions uplink=lte policy=default family=ipv`); n != 2 {
			t.Errorf("%d lines of the log tell of it", n)
		}
		r.restart()
		r.after(5 * time.Second)
		if got := r.uplink("lte"); got.IPv4.State != control.Up || !got.DrainingUntil.IsZero() {
			t.Errorf("after another restart lte is %s, drained until %v", got.IPv4.State, got.DrainingUntil)
		}
		if did := fake.With(r.Journal.Take(), "flows of 2 by 64"); len(did) > 0 {
			t.Errorf("after another restart: %v", did)
		}
		r.wantQuiet("with a drain that is over")
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.wantLadder(2, 1)
		if len(r.Routes.RuleTexts("from 192.0.2.2 ")) != 1 {
			t.Error("lte carries, and sockets bound to its address are not led there")
		}
	})
}

// After a boot nothing is drained, whatever the state file says.
func TestNoDrainAfterABoot(t *testing.T) {
	inBubble(t, twoUplinks+"sessions: {on_failback: drain 10m}\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.leaveFiber()
		r.stop()
		r.reboot("second")
		r.emptyKernel()
		r.start()
		r.after(20 * time.Minute)
		if until := r.uplink("lte").DrainingUntil; !until.IsZero() {
			t.Errorf("lte is drained until %v", until)
		}
		if did := fake.With(r.Journal.Take(), "flows of 2 by 64"); len(did) > 0 {
			t.Errorf("sessions were moved: %v", did)
		}
	})
}

func TestDepartures(t *testing.T) {
	now := 100 * time.Minute
	c := &clock{today: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(now) },
		boot: boot{name: "this", uptime: func() time.Duration { return now }}}
	c.now() // begins to count
	view := func(since failover.Instant) failover.View {
		return failover.View{Policies: []failover.PolicyView{{Name: "default", Draining: [2][]failover.Draining{{{Uplink: "lte", Since: since}}}}}}
	}
	first := departures(nil).updated(view(c.now()-time.Minute), c)
	now += 5 * time.Minute
	if again := first.updated(view(c.now()-6*time.Minute), c); again["default"]["ipv4"]["lte"] != first["default"]["ipv4"]["lte"] {
		t.Errorf("the same departure is written anew: %+v, %+v", first, again)
	}
	if got := first.after(c)["default"][failover.IPv4]; len(got) != 1 || got[0].Uplink != "lte" || (got[0].Age-6*time.Minute).Abs() > time.Second {
		t.Errorf("after 6 minutes: %+v", got)
	}
	if later := first.updated(view(c.now()-time.Minute), c).after(c)["default"][failover.IPv4]; (later[0].Age - time.Minute).Abs() > time.Second {
		t.Errorf("another departure: %+v", later)
	}
	if got := first.renamed(map[string]string{"modem": "lte"}, map[string]string{"all": "default"}); len(got["all"]["ipv4"]) != 1 || got["all"]["ipv4"]["modem"] != first["default"]["ipv4"]["lte"] {
		t.Errorf("renamed: %+v", got)
	}
	if err := first.check(); err != nil {
		t.Error(err)
	}
	if bad := first.with("default", "ipv4", "x", deadline{UptimeMS: -1}); bad.check() == nil {
		t.Error("a departure before the boot passes")
	}
	if none := first.updated(failover.View{}, c); none != nil {
		t.Errorf("nothing drained: %+v", none)
	}
}
