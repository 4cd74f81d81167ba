package daemon

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// threePolicies has a policy that never uses fiber.
const threePolicies = twoUplinks + `
policies:
  - {name: default, tiers: [fiber, lte]}
  - {name: office, tiers: [lte, fiber]}
  - {name: guests, tiers: [lte], last_resort: block}
rules:
  - {from: 192.0.2.0/24, use: guests}
  - {from: 198.51.100.0/24, use: office}
`

// said returns the operator's events since the last take.
func (r *rig) said() (all []control.OperatorDetail) {
	for _, e := range ofType(r.take(), control.EventOperator) {
		all = append(all, e.Detail.(control.OperatorDetail))
	}
	return all
}

func (r *rig) switchTo(o control.Order) control.Ordered {
	r.t.Helper()
	done, err := r.api().Switch(r.t.Context(), o)
	if err != nil || done.Unkept != "" {
		r.t.Fatalf("switch %+v: %+v, %v", o, done, err)
	}
	return done
}

func (r *rig) drain(o control.Order) control.Ordered {
	r.t.Helper()
	done, err := r.api().Drain(r.t.Context(), o)
	if err != nil || done.Unkept != "" {
		r.t.Fatalf("drain %+v: %+v, %v", o, done, err)
	}
	return done
}

// A switch and a drain say what they do, are in the status with their end, and end by
// themselves; each is an event.
func TestOrders(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		done := r.switchTo(control.Order{Uplink: "lte", For: time.Hour})
		if done.Text != "new flows go by it in IPv4 and IPv6" || len(done.Policies) != 1 || time.Until(done.Until.Time).Round(time.Second) != time.Hour {
			t.Errorf("%+v", done)
		}
		r.wantLadder(2, 1)
		lte, p := r.uplink("lte"), r.status().Policies[0]
		if lte.Admin != control.Switched || !lte.OverrideUntil.Equal(done.Until.Time) || p.SwitchedTo == nil || *p.SwitchedTo != "lte" || !p.OverrideUntil.Equal(done.Until.Time) {
			t.Errorf("status: %s until %v, policy %+v", lte.Admin, lte.OverrideUntil, p)
		}
		if said := r.said(); len(said) != 1 || said[0].Action != "switched" || said[0].Uplink != "lte" || said[0].Reason != done.Text || said[0].Until != done.Until {
			t.Errorf("events: %+v", said)
		}
		r.after(time.Hour - time.Minute)
		r.wantLadder(2, 1)
		r.after(2 * time.Minute)
		r.wantLadder(1, 2)
		if said := r.said(); len(said) != 1 || said[0].Action != "resumed" || said[0].Reason != "the time of its switch is over" {
			t.Errorf("events: %+v", said)
		}

		if done := r.drain(control.Order{Uplink: "fiber"}); done.Text != "it gets no new flows; those that it has stay" || !done.Until.IsZero() {
			t.Errorf("%+v", done)
		}
		r.wantLadder(2, 1)
		if u := r.uplink("fiber"); u.Admin != control.Drained || !u.OverrideUntil.IsZero() {
			t.Errorf("status: %s until %v", u.Admin, u.OverrideUntil)
		}
		// lte dies: better drained than none, and lte again once it is back.
		r.change("eth1", func(l *line) { l.black = [2]bool{true, true} })
		r.after(5 * time.Second)
		r.wantLadder(1, 2)
		r.change("eth1", func(l *line) { l.black = [2]bool{} })
		r.after(time.Minute)
		r.wantLadder(2, 1)
		r.take()
		resumed, err := r.api().Resume(t.Context(), "")
		if err != nil || strings.Join(resumed.Ended, " ") != "fiber" {
			t.Errorf("%+v, %v", resumed, err)
		}
		r.after(time.Second)
		r.wantLadder(1, 2)
		if said := r.said(); len(said) != 1 || said[0].Reason != "no longer drained or switched to: fiber" {
			t.Errorf("events: %+v", said)
		}
	})
}

// A drain says which policies the uplink goes on carrying, and why; a switch of all policies
// leaves those alone that do not have the uplink, and says so, and that it ends a drain.
func TestOrdersNamePolicies(t *testing.T) {
	inBubble(t, threePolicies, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		const alone = ", since no other uplink answers that is not drained"
		if done := r.drain(control.Order{Uplink: "lte"}); done.Text != "it gets no new flows but these; it goes on carrying IPv4 and IPv6 of policy guests"+alone {
			t.Errorf("the only one of guests: %s", done.Text)
		}
		if done := r.drain(control.Order{Uplink: "fiber"}); done.Text != "it gets no new flows but these; it goes on carrying IPv4 and IPv6 of policies default and office"+alone {
			t.Errorf("the last one: %s", done.Text)
		}
		r.after(time.Minute)
		r.wantLadder(1, 2)
		r.take()
		done := r.switchTo(control.Order{Uplink: "fiber"})
		if done.Text != "new flows go by it in IPv4 and IPv6; it is drained no more, for any policy; not of policy guests, without it in their tiers (--policy)" ||
			strings.Join(done.Policies, " ") != "default office" {
			t.Errorf("%+v", done)
		}
		r.after(time.Second)
		if p := r.status().Policies[2]; p.SwitchedTo != nil || p.IPv4[0].Uplink != "lte" {
			t.Errorf("guests: %+v", p)
		}
		r.switchTo(control.Order{Uplink: "lte", Policy: "guests", For: time.Hour})
		if done := r.switchTo(control.Order{Uplink: "fiber", For: time.Minute}); strings.Contains(done.Text, "drained") {
			t.Errorf("%+v", done)
		}
		r.after(time.Second)
		if p := r.status().Policies[2]; p.SwitchedTo == nil || time.Until(p.OverrideUntil.Time) < 50*time.Minute {
			t.Errorf("guests keep their own switch: %+v", p)
		}
	})
}

// The time of an order goes on while the daemon is restarted, however often: it ends when
// it would have.
func TestOrderEndsInSpiteOfRestarts(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		end := r.drain(control.Order{Uplink: "fiber", For: 10 * time.Second}).Until
		for range 4 {
			r.after(2 * time.Second)
			r.restart()
			if u := r.uplink("fiber"); u.Admin != control.Drained || u.OverrideUntil.Sub(end.Time).Abs() > 10*time.Millisecond {
				t.Errorf("%s until %v, want %v", u.Admin, u.OverrideUntil, end)
			}
		}
		r.after(3 * time.Second)
		if u := r.uplink("fiber"); u.Admin != control.Auto {
			t.Errorf("%s until %v", u.Admin, u.OverrideUntil)
		}
		// The end of the switch, not the operator, is the reason of the way back, and each
		// event is of the moment at which it was decided.
		r.switchTo(control.Order{Uplink: "lte", For: 5 * time.Second})
		r.after(4 * time.Second)
		r.take()
		r.after(2 * time.Second)
		back := ofType(r.take(), control.EventSwitch)
		if len(back) != 2 || back[0].Detail.(control.SwitchDetail).Reason != "the time of the switch to lte is over" {
			t.Errorf("events: %+v", back)
		}
	})
}

// A switch to a dead uplink moves nothing, and says so; it comes into force once the
// uplink answers.
func TestSwitchToADeadUplink(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.change("eth1", func(l *line) { l.black = [2]bool{true, true} })
		r.after(5 * time.Second)
		r.Journal.Take()
		done := r.switchTo(control.Order{Uplink: "lte"})
		if !strings.Contains(done.Text, "lte is down in IPv4") || !strings.Contains(done.Text, "once it answers") {
			t.Errorf("%+v", done)
		}
		r.after(time.Minute)
		r.wantLadder(1, 2)
		r.change("eth1", func(l *line) { l.black = [2]bool{} })
		r.after(5 * time.Second)
		r.wantLadder(2, 1)
	})
}

// Under manual failback an uplink that is resumed before it is up is returned to once it
// is, also after a restart; the status says so meanwhile. A switch ends it.
func TestResumeTooEarly(t *testing.T) {
	inBubble(t, twoUplinks+"failback: {mode: manual}\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.change("eth0", func(l *line) { l.black = [2]bool{true, true} })
		r.after(5 * time.Minute)
		r.change("eth0", func(l *line) { l.black = [2]bool{} })
		r.after(5 * time.Second)
		resume := func() {
			t.Helper()
			if done, err := r.api().Resume(t.Context(), "fiber"); err != nil || len(done.Waiting) != 1 || done.Waiting[0] != "fiber" || len(done.Ended) != 0 {
				t.Errorf("%+v, %v", done, err)
			}
			if !r.uplink("fiber").ResumePending || r.uplink("lte").ResumePending {
				t.Error("the status does not say it")
			}
		}
		resume()
		r.switchTo(control.Order{Uplink: "lte"})
		if r.uplink("fiber").ResumePending {
			t.Error("a switch does not end it")
		}
		if done, err := r.api().Resume(t.Context(), ""); err != nil || !slices.Equal(done.Waiting, control.List[string]{"fiber"}) || !slices.Equal(done.Ended, control.List[string]{"lte"}) {
			t.Errorf("%+v, %v", done, err)
		}
		resume() // again
		r.wantLadder(2, 1)
		r.restart()
		if !r.uplink("fiber").ResumePending {
			t.Error("a restart has forgotten it")
		}
		took := r.until("it to be returned to", 5*time.Minute, func() bool { return r.uplink("fiber").IPv4.State == control.Up && !r.uplink("fiber").ResumePending })
		r.after(2 * time.Second)
		r.wantLadder(1, 2)
		t.Logf("it was back after %v", took)
		if s := r.status().LastSwitch; s == nil || s.Reason != "resumed by the operator" {
			t.Errorf("the last switch: %+v", s)
		}
		if done, err := r.api().Resume(t.Context(), "fiber"); err != nil || len(done.Waiting) != 0 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

// What cannot be carried out is refused, with the names that there are, and changes nothing.
func TestOrdersAreRefused(t *testing.T) {
	inBubble(t, threePolicies, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.take()
		for _, c := range []struct {
			order control.Order
			want  string
		}{
			{control.Order{Uplink: "fibre"}, "switch to uplink fibre: there is no such uplink; did you mean fiber? the uplinks are fiber, lte"},
			{control.Order{Uplink: "x"}, "switch to uplink x: there is no such uplink; the uplinks are fiber, lte"},
			{control.Order{Uplink: "fiber", Policy: "guest"}, "switch to uplink fiber: policy guest: there is no such policy; did you mean guests? the policies are default, office, guests"},
			{control.Order{Uplink: "fiber", Policy: "guests"}, "switch to uplink fiber: policy guests never uses it; add it to the tiers of the policy, or switch default, office, which can use it"},
		} {
			_, err := r.api().Switch(t.Context(), c.order)
			if err == nil || err.Error() != c.want || !errors.Is(err, control.ErrRefused) {
				t.Errorf("%+v: %v", c.order, err)
			}
		}
		if _, err := r.api().Drain(t.Context(), control.Order{Uplink: "lt"}); err == nil || !strings.Contains(err.Error(), "drain uplink lt: there is no such uplink; did you mean lte?") {
			t.Errorf("drain: %v", err)
		}
		r.after(time.Second)
		r.wantQuiet("by what is refused")
		if said := r.said(); len(said) > 0 {
			t.Errorf("events: %+v", said)
		}
	})
}

// Overrides survive a restart, and a boot, and end when they would have ended, whatever
// happens to the wall clock.
func TestOrdersSurvive(t *testing.T) {
	for name, c := range map[string]survival{
		"restart":          {away: func(*rig) {}, left: hours - 3*time.Minute},
		"restart, set":     {away: func(r *rig) { r.set.Add(int64(30 * 24 * time.Hour)) }, left: hours - 3*time.Minute},
		"restart, set now": {away: func(*rig) {}, set: func(r *rig) { r.set.Add(-int64(30 * 24 * time.Hour)) }, left: hours - 3*time.Minute},
		"boot": {away: func(r *rig) {
			time.Sleep(off)
			r.reboot("second")
		}, left: hours - off - 3*time.Minute},
		"boot, over": {away: func(r *rig) {
			time.Sleep(hours + off)
			r.reboot("second")
		}},
		// The clock stands in 1970 until it is set: then the time for which the machine was
		// off counts.
		"boot, clock not set": {away: func(r *rig) {
			time.Sleep(off)
			r.reboot("second")
			r.set.Store(-int64(20 * 365 * 24 * time.Hour))
		}, set: func(r *rig) { r.set.Store(0) }, left: hours - off - 3*time.Minute},
		"boot, clock never set": {away: func(r *rig) {
			time.Sleep(off)
			r.reboot("second")
			r.set.Store(-int64(20 * 365 * 24 * time.Hour))
		}, left: hours - 2*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks+"failback: {mode: manual}\n", c.check)
		})
	}
}

// survival is a case of TestOrdersSurvive.
type survival struct {
	// away is what happens before the next start, and set when that has run for a minute.
	away func(*rig)
	set  func(*rig)
	// left is how long the drain lasts from then on.
	left time.Duration
}

// hours is for how long the drain is commanded, off for how long the machine is off.
const (
	hours = 40 * time.Minute
	off   = 15 * time.Minute
)

func (c survival) check(t *testing.T, r *rig) {
	r.start()
	r.after(3 * time.Second)
	r.drain(control.Order{Uplink: "fiber", For: hours})
	r.after(time.Minute)
	r.stop()
	c.away(r)
	r.take()
	r.start()
	r.after(time.Minute)
	if c.set != nil {
		c.set(r)
	}
	r.after(time.Minute)
	if c.left > 0 {
		u := r.uplink("fiber")
		now := r.loop.clock.today()
		if left := u.OverrideUntil.Sub(now); u.Admin != control.Drained || (left-c.left).Abs() > 10*time.Second {
			t.Errorf("%s for %v, want %v", u.Admin, left, c.left)
		}
		r.wantLadder(2, 1)
		r.after(c.left - time.Minute)
		r.wantLadder(2, 1)
		r.after(2 * time.Minute)
	}
	if u := r.uplink("fiber"); u.Admin != control.Auto {
		t.Errorf("%s until %v", u.Admin, u.OverrideUntil)
	}
	r.wantLadder(1, 2)
	said := r.said()
	if len(said) != 1 || said[0].Action != "resumed" || said[0].Reason != "the time of its drain is over" {
		t.Errorf("events: %+v", said)
	}
	r.restart()
	r.after(time.Minute)
	if u := r.uplink("fiber"); u.Admin != control.Auto {
		t.Errorf("again: %s until %v", u.Admin, u.OverrideUntil)
	}
}

// A switch of all policies survives a restart as such: a policy that a reload brings has
// it. One whose uplink is removed is over, and told; a renamed one goes on.
func TestOrdersAndReloads(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.switchTo(control.Order{Uplink: "lte", For: time.Hour})
		r.restart()
		r.after(3 * time.Second)
		if err := r.reload(threePolicies); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		for _, o := range r.loop.state.Overrides {
			if o.Uplink != "lte" || !o.All || o.End == nil {
				t.Errorf("%+v", o)
			}
		}
		if n := len(r.loop.state.Overrides); n != 3 {
			t.Errorf("%d of 3 policies are switched", n)
		}
		r.take()
		if err := r.reload(strings.ReplaceAll(threePolicies, "lte", "modem")); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if u := r.uplink("modem"); u.Admin != control.Switched || u.OverrideUntil.IsZero() {
			t.Errorf("renamed: %s until %v", u.Admin, u.OverrideUntil)
		}
		if said := r.said(); len(said) > 0 {
			t.Errorf("events: %+v", said)
		}
		r.restart()
		r.after(3 * time.Second)
		if u := r.uplink("modem"); u.Admin != control.Switched {
			t.Errorf("renamed, restarted: %s", u.Admin)
		}
		if err := r.reload("uplinks:\n  - {name: fiber, interface: eth0}\n"); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if said := r.said(); len(said) != 1 || said[0].Uplink != "modem" || said[0].Reason != "it is not configured any more" {
			t.Errorf("events: %+v", said)
		}
		if n := len(r.loop.state.Overrides); n != 0 {
			t.Errorf("%d are kept", n)
		}
	})
}

// Where the state folder cannot be written, the order is carried out, and the answer says
// that a restart forgets it.
func TestOrderThatIsNotKept(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.loop.keeper.folder = "/proc/none"
		done, err := r.api().Drain(t.Context(), control.Order{Uplink: "fiber"})
		if err != nil || !strings.Contains(done.Unkept, "/proc/none") {
			t.Errorf("%+v, %v", done, err)
		}
		r.wantLadder(2, 1)
	})
}

// A state file of another hand is not believed.
func TestOverridesAreChecked(t *testing.T) {
	for _, text := range []string{
		`{"version":1,"overrides":[{"verb":"drain"}]}`,
		`{"version":1,"overrides":[{"verb":"drain","uplink":"a","policy":"b"}]}`,
		`{"version":1,"overrides":[{"verb":"switch","uplink":"a"}]}`,
		`{"version":1,"overrides":[{"verb":"hold","uplink":"a"}]}`,
		`{"version":1,"overrides":[{"verb":"resume","uplink":"a","policy":"b"}]}`,
		`{"version":1,"overrides":[{"verb":"drain","uplink":"a","end":{"set":"2026-01-01T00:00:00Z","until":"2025-01-01T00:00:00Z"}}]}`,
		`{"version":1,"overrides":[{"verb":"drain","uplink":"a","end":{"set":"2026-01-01T00:00:00Z","until":"2030-01-01T00:00:00Z"}}]}`,
		`{"version":1,"overrides":[` + strings.Repeat(`{"verb":"drain","uplink":"a"},`, mostOverrides) + `{"verb":"drain","uplink":"a"}]}`,
	} {
		if _, err := decodeState([]byte(text)); err == nil {
			t.Errorf("accepted: %.100s", text)
		}
	}
}
