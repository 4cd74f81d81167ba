package daemon

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// If too few probes left by their uplink, their results are ignored until they do
// so again.
func TestProbesElsewhere(t *testing.T) {
	c := newProbeCheck()
	send := func(n int) (believed int) {
		for range n {
			if _, ok := c.believed("fiber", failover.IPv6, failover.ProbeSent{ID: 1}).(failover.ProbeSent); ok {
				believed++
			}
		}
		return believed
	}
	severities := func() (out []control.Severity) {
		for _, p := range c.problems(func(string) string { return "wan0" }) {
			if p.Code != "probes-elsewhere" || p.Object != "fiber" {
				t.Errorf("problem %+v", p)
			}
			out = append(out, p.Severity)
		}
		return out
	}
	now := time.Now()
	for i, step := range []struct {
		send            int
		left, elsewhere uint64
		unknown         bool
		problem         bool
		believed        int // of the next probe
	}{
		{send: 10, left: 7, believed: 1},                               // the first reading
		{send: 11, left: 19, believed: 1},                              // all left
		{send: 3, left: 19, believed: 1},                               // too few to judge
		{send: 12, left: 19, problem: true},                            // none left
		{send: 12, left: 32, believed: 1},                              // all left
		{send: 12, left: 44, elsewhere: 9, problem: true, believed: 1}, // some were kept back
		{send: 12, left: 2, believed: 1},                               // a new table
		{send: 12, unknown: true, believed: 1},                         // none
	} {
		send(step.send)
		// Until there is a reading that began later, nothing is judged.
		count := ProbeCount{Left: [2]uint64{0, step.left}, Elsewhere: step.elsewhere, Began: now}
		before := len(severities())
		for range 2 {
			now = now.Add(time.Second)
			c.compare("fiber", count, !step.unknown, now)
		}
		if got := len(severities()); got > before {
			t.Errorf("step %d: judged by a reading that began before", i)
		}
		count.Began = now.Add(time.Second)
		c.compare("fiber", count, !step.unknown, now.Add(2*time.Second))
		if got := severities(); (len(got) == 1 && got[0] == control.Warning) != step.problem {
			t.Errorf("step %d: problems of severity %v", i, got)
		}
		if got := send(1); got != step.believed {
			t.Errorf("step %d: %d of 1 believed", i, got)
		}
	}
}

func TestProbeProblems(t *testing.T) {
	blind := failover.FamilyView{State: failover.Unknown, Unsent: 9, UnsentErrno: "EPERM", UnsentCause: "send to 1.1.1.1: operation not permitted", Blind: true}
	one := failover.FamilyView{State: failover.Up, Targets: []failover.TargetView{
		{Target: "2001:db8::1", Unsent: 3, UnsentErrno: "EINVAL", UnsentCause: "send to 2001:db8::1: invalid argument"},
		{Target: "2001:db8::2", SetAside: true},
		{Target: "2001:db8::3", Unsent: 2},
	}}
	view := failover.View{Uplinks: []failover.UplinkView{
		{Name: "fiber", Enabled: true, Family: [2]failover.FamilyView{blind, one}},
		{Name: "lte", Enabled: true, Family: [2]failover.FamilyView{blind, blind}},
		{Name: "off", Family: [2]failover.FamilyView{blind, blind}},
	}}
	for _, full := range []bool{false, true} {
		var got []string
		for _, p := range probeProblems(view, func() bool { return full }) {
			got = append(got, string(p.Severity)+" "+p.Code+" "+p.Object)
			if p.Text == "" || p.Remedy == "" {
				t.Errorf("%s lacks words: %+v", p.Code, p)
			}
			t.Log(p.Text, "|", p.Remedy)
		}
		want := []string{
			"warning probes-unsent fiber", "warning probes-unsent lte",
			"info target-set-aside 2001:db8::2", "warning target-unreachable 2001:db8::1",
		}
		if len(got) != len(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("got %q, want %q", got[i], want[i])
			}
		}
	}
}
