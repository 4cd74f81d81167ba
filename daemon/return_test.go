package daemon

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// What the status says while an uplink is down and while it returns is of now: no
// figure of before the outage, and since it answers again, for how long it has been
// good and when traffic returns to it.
func TestStatusWhileThingsReturn(t *testing.T) {
	inBubble(t, twoUplinks+"policies: [{name: default, tiers: [fiber, lte]}, {name: guests, tiers: [lte]}]\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		if u := r.uplink("fiber"); u.IPv4.RTTMS == nil || u.IPv4.Loss == nil || u.IPv4.Reason != "" {
			t.Errorf("before: %+v", u.IPv4)
		}
		if list := r.status().Policies; len(list) != 2 || list[0].Name != "default" || list[1].Name != "guests" {
			t.Errorf("policies: %+v", list)
		}
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 5*time.Second, r.isIn("fiber", control.Down))
		r.after(time.Minute)
		for _, f := range both {
			s := r.uplink("fiber").Family(f)
			if s.RTTMS != nil || s.Loss != nil || s.JitterMS != nil {
				t.Errorf("%s has figures of before: %+v", f, s)
			}
			for _, target := range s.Targets {
				if target.RTTMS != nil || target.Loss != nil || target.Answering == nil || *target.Answering {
					t.Errorf("%s: %+v", f, target)
				}
			}
		}
		r.blackHole("eth0", false, both...)
		r.until("fiber is recovering", 5*time.Second, r.isIn("fiber", control.Recovering))
		r.after(5 * time.Second)
		s := r.status()
		u := s.Uplinks[0]
		left := u.HeldUntil.Sub(s.Now.Time)
		if overall := control.Overall(*s); overall != control.OK || left < 15*time.Second || left > 30*time.Second {
			t.Errorf("overall %s, back in %v", overall, left)
		}
		if !regexp.MustCompile(`^good for [5-6](\.\d)?s, back in 2\d(\.\d)?s$`).MatchString(u.IPv4.Reason) {
			t.Errorf("the reason is of the first answer, and not of now: %q", u.IPv4.Reason)
		}
		for _, target := range u.IPv4.Targets {
			if target.Answering == nil || !*target.Answering {
				t.Errorf("%+v", target)
			}
		}
		r.until("traffic is back on fiber", time.Minute, func() bool { return r.status().LastSwitch.Kind == "failback" })
		if p := r.problem("uplink-down"); p != nil || strings.Contains(r.uplink("fiber").IPv4.Reason, "back in") {
			t.Errorf("after the return: %+v, %+v", p, r.uplink("fiber").IPv4)
		}
	})
}
