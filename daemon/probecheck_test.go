package daemon

import (
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// checked is a probe check whose uplink sends a probe each 100 ms, and whose counts are
// read at the same time.
type checked struct {
	probeCheck
	now  failover.Instant
	left uint64
}

func (c *checked) send(n int) (believed int) {
	for range n {
		c.now += 100 * time.Millisecond
		if _, ok := c.believed("fiber", failover.IPv6, c.now, failover.ProbeSent{ID: 1}).(failover.ProbeSent); ok {
			believed++
		}
	}
	return believed
}

// reading is what the packet filter counts now.
func (c *checked) reading(elsewhere uint64) probeMark {
	begun := c.now + time.Millisecond
	c.now += 2 * time.Millisecond
	return probeMark{ProbeCount{Left: [2]uint64{0, c.left}, Elsewhere: elsewhere}, begun, c.now}
}

func (c *checked) severities(t *testing.T) (out []control.Severity) {
	t.Helper()
	for _, p := range c.problems(func(string) string { return "wan0" }) {
		if p.Code != "probes-elsewhere" || p.Object != "fiber" {
			t.Errorf("problem %+v", p)
		}
		out = append(out, p.Severity)
	}
	return out
}

// If too few probes left by their uplink, their results are ignored until they do
// so again.
func TestProbesElsewhere(t *testing.T) {
	c := checked{probeCheck: newProbeCheck()}
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
		c.send(step.send)
		c.left = step.left
		c.compare("fiber", c.reading(step.elsewhere), !step.unknown)
		if got := c.severities(t); (len(got) == 1 && got[0] == control.Warning) != step.problem {
			t.Errorf("step %d: problems of severity %v", i, got)
		}
		if got := c.send(1); got != step.believed {
			t.Errorf("step %d: %d of 1 believed", i, got)
		}
	}
}

// Where the machine is busy a reading may be old, or late, and probes may be told of
// late; and a table made anew counts from 0. None of that says that probes went astray.
func TestLateCountsAreNoEvidence(t *testing.T) {
	c := checked{probeCheck: newProbeCheck()}
	quiet := func(what string) {
		t.Helper()
		if got := c.severities(t); got != nil {
			t.Errorf("%s: %v", what, got)
		}
	}
	c.compare("fiber", c.reading(0), true)
	c.left += 12
	old := c.reading(0)
	c.send(20)
	c.compare("fiber", c.reading(0), true)
	c.left += 20
	for range 5 {
		c.send(20)
		c.compare("fiber", old, true)
		quiet("the reading of before")
	}

	c = checked{probeCheck: newProbeCheck()}
	c.compare("fiber", c.reading(0), true)
	c.send(20)
	c.left += 20
	early := c.reading(0)
	c.send(60) // after the reading, before it is looked at
	c.compare("fiber", early, true)
	quiet("a reading that is looked at late")
	c.left += 60
	c.compare("fiber", c.reading(0), true)
	quiet("the next one")

	c.send(40)
	c.anew = c.now
	c.left = 80 // in the new table, as many as in the old one
	c.send(20)
	c.compare("fiber", c.reading(0), true)
	quiet("a new table")
	for range mostSent {
		c.send(1)
	}
	if n := len(c.sent["fiber"][failover.IPv6]); n > mostSent {
		t.Errorf("%d times are kept", n)
	}
}

func TestProbeProblems(t *testing.T) {
	blind := failover.FamilyView{State: failover.Unknown, Unsent: 9, UnsentErrno: "EPERM", UnsentCause: "send to 1.1.1.1: operation not permitted", Blind: true}
	one := failover.FamilyView{State: failover.Up, Targets: []failover.TargetView{
		{Target: "2001:db8::1", Unsent: 3, UnsentErrno: "EINVAL", UnsentCause: "send to 2001:db8::1: invalid argument"},
		{Target: "http://[2001:db8::2]/", SetAside: true, Fault: failover.Fault{Cause: "status 404"}},
		{Target: "2001:db8::3", Unsent: 2},
	}}
	policed := failover.FamilyView{State: failover.Up, Policed: 4.17, Gap: 343 * time.Millisecond, Targets: []failover.TargetView{{Target: "1.1.1.1"}}}
	portal := failover.FamilyView{State: failover.Down, Targets: []failover.TargetView{
		{Target: "http://1.1.1.1/", Answering: new(false), Fault: failover.Fault{Cause: "captive portal at login.example", Portal: true}},
		{Target: "dns://9.9.9.9/.", Answering: new(false), Fault: failover.Fault{Cause: "the name server answers REFUSED"}},
		{Target: "dns://8.8.8.8/.", Answering: new(true), Fault: failover.Fault{Cause: "once"}},
	}}
	view := failover.View{Uplinks: []failover.UplinkView{
		{Name: "hotel", Enabled: true, Link: failover.Link{Interface: "wlan0"}, Family: [2]failover.FamilyView{portal, portal}},
		{Name: "fiber", Enabled: true, Family: [2]failover.FamilyView{blind, one}},
		{Name: "lte", Enabled: true, Family: [2]failover.FamilyView{blind, blind}},
		{Name: "cable", Enabled: true, Family: [2]failover.FamilyView{policed, policed}},
		{Name: "off", Family: [2]failover.FamilyView{blind, blind}},
	}}
	for _, full := range []bool{false, true} {
		var got []string
		for _, p := range probeProblems(view, func() bool { return full }, func(string) uint64 { return 0 }) {
			got = append(got, string(p.Severity)+" "+p.Code+" "+p.Object)
			if p.Text == "" || p.Remedy == "" {
				t.Errorf("%s lacks words: %+v", p.Code, p)
			}
			t.Log(p.Text, "|", p.Remedy)
		}
		want := []string{
			"warning target-unreachable 2001:db8::1", "warning target-fault dns://9.9.9.9/.", "warning probes-unsent fiber",
			"warning captive-portal hotel", "warning probes-unsent lte", "info icmp-policed cable", "info target-set-aside http://[2001:db8::2]/",
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

// EPERM of our own packet filter is told from that of others.
func TestProbesOfOurOwnGuard(t *testing.T) {
	blind := failover.FamilyView{State: failover.Unknown, Unsent: 9, UnsentErrno: "EPERM", UnsentCause: "operation not permitted", Blind: true}
	view := failover.View{Uplinks: []failover.UplinkView{
		{Name: "fiber", Enabled: true, Family: [2]failover.FamilyView{{State: failover.Up}, blind}},
		{Name: "lte", Enabled: true, Family: [2]failover.FamilyView{{State: failover.Up}, blind}},
	}}
	view.Uplinks[1].Link.Interface = "wan1"
	kept := func(uplink string) uint64 { return map[string]uint64{"lte": 6}[uplink] }
	found := probeProblems(view, func() bool { return false }, kept)
	if len(found) != 2 || !strings.Contains(found[0].Remedy, "iptables") || !strings.Contains(found[1].Remedy, "ip rule") ||
		!strings.Contains(found[1].Text, "than wan1") || strings.Contains(found[1].Text, "packet filter in output") {
		t.Errorf("problems: %+v", found)
	}
}
