package daemon

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// An uplink that was held back is held back after a restart as long as it would have
// been, also where its gateway comes only later and whatever the wall clock shows; a boot
// begins with nothing owed.
func TestHoldOutlivesTheDaemon(t *testing.T) {
	for name, set := range map[string]time.Duration{
		"":            0,
		"clock back":  -100 * 24 * time.Hour,
		"clock ahead": 100 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, twoUplinks+"failback: {after: 20s}\n", func(t *testing.T, r *rig) {
				r.start()
				r.after(time.Minute)
				for range 4 {
					r.blackHole("eth0", true, both...)
					r.until("fiber is down", 20*time.Second, r.isIn("fiber", control.Down))
					r.blackHole("eth0", false, both...)
					r.until("fiber is recovering", 20*time.Second, r.isIn("fiber", control.Recovering))
					r.after(2 * time.Second)
				}
				until := r.uplink("fiber").HeldUntil
				r.after(time.Second)
				r.stop()
				// The next run begins without a gateway, and gets it after failback.after.
				was := r.net.lines["eth0"].link.Family
				r.net.lines["eth0"].link.Family = [2]failover.FamilyLink{{Addresses: was[0].Addresses}, {Addresses: was[1].Addresses}}
				r.set.Store(int64(set))
				r.take()
				r.start()
				r.after(30 * time.Second)
				r.change("eth0", func(l *line) { l.link.Family = was })
				r.after(5 * time.Second)
				u := r.uplink("fiber")
				if !r.isIn("fiber", control.Recovering)() {
					t.Fatalf("fiber is %s and %s, although it owes a proof", u.IPv4.State, u.IPv6.State)
				}
				left := u.HeldUntil.Sub(r.status().Now.Time)
				switch {
				case set > 0 && (left <= 0 || left > 20*time.Second):
					t.Errorf("back in %v, want what is left of failback.after", left)
				case set < 0 && (left < 20*time.Minute || left > time.Hour):
					t.Errorf("back in %v", left)
				case set == 0 && u.HeldUntil.Sub(until.Time).Abs() > 2*time.Second:
					t.Errorf("held until %v, before the restart until %v", u.HeldUntil, until)
				}
				r.stop()
				r.Reboot()
				r.start()
				r.until("fiber is up after a boot", 5*time.Second, r.isIn("fiber", control.Up))
			})
		})
	}
}

// What is kept of a hold is the same as long as nothing happens, so that nothing is
// written, and is dated anew once the wall clock was set.
func TestOwedOf(t *testing.T) {
	today := time.Date(2026, 11, 29, 10, 0, 0, 500, time.UTC)
	h := failover.Hold{Owes: true, Points: 3.5, Age: time.Minute, Held: 20 * time.Minute}
	first := owedOf(h, owed{}, today)
	if want := today.Add(-time.Minute).Truncate(time.Second); first.Since != want || !first.Owes || first.HeldMS != 1200000 {
		t.Errorf("first: %+v", first)
	}
	h.Age += 10*time.Second + 700*time.Millisecond
	if again := owedOf(h, first, today.Add(11*time.Second)); again != first {
		t.Errorf("a little later: %+v, want %+v", again, first)
	}
	if set := owedOf(h, first, today.Add(time.Hour)); set.Since == first.Since {
		t.Error("the date of before the clock was set is kept")
	}
	h.Points = 4.5
	if next := owedOf(h, first, today); next.Points != 4.5 || next == first {
		t.Errorf("another down: %+v", next)
	}
	for _, bad := range []string{`{"points": 101}`, `{"points": -1}`, `{"held_ms": -1}`, `{"held_ms": 1e12}`} {
		if _, err := decodeState([]byte(`{"version": 1, "holds": {"a": {"ipv4": ` + bad + `}}}`)); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}
