package system

import (
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
)

// Sessions that began on the second uplink stay there when the first one is back; new
// ones return. The long UDP and TCP sessions are not affected.
func TestFailback(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts lab.Options
	}{
		{"plain", usual},
		// The answers of sessions on lte arrive on a link that main would not
		// use for them.
		{"strict rp_filter", lab.Options{RPFilter: 1}},
		{"the owner masquerades", masqueraded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, tc.opts, quickRecovery)
				f := g.Break(fiber, "carrier")
				g.Await("lte to carry", lab.CarriedBy("lte"))
				p := g.clients(lte)
				repaired := time.Now()
				g.Mend(f)
				g.Await("fiber to carry", lab.Settled)
				g.goBy(fiber, p.fresh[:]...)
				g.goBy(lte, p.long()...)
				for _, s := range p.all() {
					s.undisturbed("failback", repaired)
				}
			})
		})
	}
}

// An uplink that damping holds back is told with a way out, and that is one: swerve resume
// ends the hold, new sessions return at once, and the events tell who asked. A restart
// does not hold it again.
func TestResumeEndsAHold(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, twoUplinks+"health: {damping: {half_life: 10m, suppress: 1, reuse: 0.5}}\nfailback: {after: 1s, min_interval: 1s}\n")
		for range 2 {
			f := g.Break(fiber, "carrier")
			g.Await("lte to carry", lab.CarriedBy("lte"))
			g.Mend(f)
			g.Await("fiber to carry, or to be held", func(s *control.Status) bool { return lab.Settled(s) || held(s) != nil })
		}
		s := g.Status()
		p := held(s)
		if p == nil || p.Object != uplinkNames[fiber] || !strings.Contains(p.Remedy, "`swerve resume fiber`") {
			t.Fatalf("fiber is not held: %+v", s.Problems)
		}
		out, errs, code := g.swerve("resume", "fiber")
		if code != 0 || errs != "" || out != "resumed fiber; no longer held back: fiber\n" {
			t.Errorf("exit code %d: %s%s", code, out, errs)
		}
		g.Await("fiber to carry", lab.Settled)
		told := false
		for _, e := range g.Events() {
			d, ok := e.Detail.(control.OperatorDetail)
			told = told || ok && d.Action == "resumed" && d.Uplink == "fiber"
		}
		if !told {
			t.Error("no event tells of it")
		}
		g.goBy(fiber, g.clients(fiber).fresh[:]...)
		g.Stop()
		g.Start()
		g.Await("all to be as before", lab.Settled)
		if p := held(g.Status()); p != nil {
			t.Errorf("after a restart: %+v", p)
		}
		g.exits(2, "resume", "fibre")
	})
}

// held returns the problem of an uplink that damping holds back.
func held(s *control.Status) *control.Problem {
	for i, p := range s.Problems {
		if p.Code == "uplink-held" {
			return &s.Problems[i]
		}
	}
	return nil
}
