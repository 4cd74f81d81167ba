package daemon

import (
	"reflect"
	"testing"
	"time"

	"swerve/control"
)

// setClock sets the wall clock forward by a duration, as NTP does on a gateway that
// boots without a clock.
func (r *rig) setClock(by time.Duration) { r.set.Store(int64(by)) }

// times returns all past times in a status, as ages.
func times(s *control.Status) map[string]time.Duration {
	age := func(t control.Time) time.Duration { return s.Now.Sub(t.Time).Round(2 * clockSlack) }
	out := map[string]time.Duration{"daemon": age(s.Daemon.Since)}
	for _, u := range s.Uplinks {
		out[u.Name+" proven"] = age(u.LastProven)
		out[u.Name+" ipv4"], out[u.Name+" ipv6"] = age(u.IPv4.Since), age(u.IPv6.Since)
		if !u.HeldUntil.IsZero() {
			out[u.Name+" held"] = age(u.HeldUntil)
		}
	}
	for _, p := range s.Problems {
		out[p.Code] = age(p.Since)
	}
	if s.LastSwitch != nil {
		out["switch"] = age(s.LastSwitch.Time)
	}
	return out
}

// A wall clock that jumps by years changes nothing: no verdict, no hold, and no age
// of a past event.
func TestClockThatJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, by := range map[string]time.Duration{"forward": 30 * year, "back": -25 * year} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks+"health: {damping: {suppress: 2, reuse: 1}}\n", func(t *testing.T, r *rig) {
				r.Sysctls.Report = true // a standing problem
				r.start()
				r.after(10 * time.Second)
				r.flapUntilHeld("eth0", "fiber")
				r.after(10 * time.Second)
				r.take()
				before := times(r.status())
				if before["switch"] == 0 || before["sysctl"] == 0 || before["fiber held"] >= 0 {
					t.Fatalf("the test proves nothing: %v", before)
				}

				r.setClock(by)
				r.after(2 * time.Second)
				after := times(r.status())
				for what, age := range before {
					want := age + 2*time.Second
					if what == "fiber proven" || what == "lte proven" {
						want = 0
					}
					if off := (after[what] - want).Abs(); off > 1100*time.Millisecond {
						t.Errorf("%s: %v ago, and then %v ago", what, age, after[what])
					}
				}
				if now := r.status().Now; time.Until(now.Time).Abs() < year {
					t.Errorf("now is %v", now)
				}
				r.after(time.Minute)
				if events := r.take(); len(ofType(events, control.EventSwitch)) > 0 || !r.isIn("lte", control.Up)() {
					t.Errorf("the jump did something: %+v", events)
				}
				r.blackHole("eth1", true, both...)
				r.after(5 * time.Second)
				for _, e := range r.take() {
					if e.Type() != control.EventHealth {
						continue
					}
					if off := e.Time.Sub(r.status().Now.Time).Abs(); off > time.Minute {
						t.Errorf("an event of now is reported at %v", e.Time)
					}
				}
			})
		})
	}
}

// flapUntilHeld makes a line fail and recover until damping holds its uplink.
func (r *rig) flapUntilHeld(name, uplink string) {
	r.t.Helper()
	for range 6 {
		r.change(name, func(l *line) { l.link.Carrier = false })
		r.after(3 * time.Second)
		r.change(name, func(l *line) { l.link.Carrier = true })
		r.after(3 * time.Second)
		if u := r.uplink(uplink); u.HeldUntil.Sub(r.status().Now.Time) > time.Minute { // by damping, not only until it is good for long enough
			return
		}
	}
	r.t.Fatalf("%s is not held: %+v", uplink, r.uplink(uplink))
}

// Dates of the state move with a clock that is set, not beyond the present one, and back.
func TestDatesMoveWithTheClock(t *testing.T) {
	today := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := state{
		Auto:      []autoUplink{{Interface: "eth0", Last: today.Add(-time.Hour)}},
		UsedMarks: []usedBits{{Bits: 1, Seen: today.Add(-2 * time.Hour)}},
		Patience:  patiences{"lte": {"ipv4": {MS: 2000, Since: today.Add(-3 * time.Hour)}}},
		Lapses:    patiences{"lte": {"ipv6": {MS: 1000, Since: today}}},
	}
	const year = 365 * 24 * time.Hour
	back := s.moved(-year, today.Add(-year), "")
	if got, want := back.Auto[0].Last, today.Add(-year-time.Hour); !got.Equal(want) {
		t.Errorf("a year back: seen %v, want %v", got, want)
	}
	if again := back.moved(year, today, ""); !reflect.DeepEqual(again, s) {
		t.Errorf("there and back: %+v, want %+v", again, s)
	}
	if far := s.moved(3*year, today.Add(year), ""); !far.Lapses["lte"]["ipv6"].Since.Equal(today.Add(year)) {
		t.Errorf("beyond the present: %+v", far)
	}
	if s.Patience["lte"]["ipv4"].Since != today.Add(-3*time.Hour) {
		t.Error("the state itself was changed")
	}
}

// Only a clock that was set counts, not one that is slewed.
func TestClockIsSet(t *testing.T) {
	var set time.Duration
	c := clock{start: time.Now(), today: func() time.Time { return time.Now().Add(set) }}
	for _, step := range []struct{ set, want time.Duration }{{0, 0}, {30 * time.Second, 0}, {time.Minute, 0}, {time.Hour, 59 * time.Minute}, {-time.Hour, -2 * time.Hour}} {
		set = step.set
		if got := c.setBy(); (got - step.want).Abs() > 10*time.Second {
			t.Errorf("set by %v: %v, want %v", step.set, got, step.want)
		}
	}
}
