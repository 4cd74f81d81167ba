package daemon

import (
	"testing"

	"swerve/control"
	"swerve/failover"
)

// Answers by another device prove an uplink where they always came so, or where those
// of its other flows do; not where they began to while the uplink itself fell silent.
func TestAnswerCheck(t *testing.T) {
	type reading struct{ came, away, returned uint64 }
	for name, c := range map[string]struct {
		readings []reading
		counts   bool
		severity control.Severity // empty for no problem
	}{
		"by itself":              {[]reading{{}, {6, 0, 0}, {12, 0, 0}}, true, ""},
		"in part":                {[]reading{{}, {6, 0, 0}, {8, 4, 0}}, true, ""},
		"from the beginning":     {[]reading{{}, {0, 6, 0}, {0, 12, 0}}, true, control.Info},
		"later":                  {[]reading{{}, {6, 0, 0}, {6, 6, 0}}, false, control.Warning},
		"later, for good":        {[]reading{{}, {6, 0, 0}, {6, 6, 0}, {6, 12, 0}}, false, control.Warning},
		"later, and silent then": {[]reading{{}, {6, 0, 0}, {6, 6, 0}, {6, 6, 0}}, false, control.Warning},
		"later, too few":         {[]reading{{}, {6, 0, 0}, {6, 2, 0}}, true, ""},
		"later, few by few":      {[]reading{{}, {6, 0, 0}, {6, 2, 0}, {6, 4, 0}}, false, control.Warning},
		"later, as flows do":     {[]reading{{}, {6, 0, 0}, {6, 6, 50}}, true, control.Info},
		"back":                   {[]reading{{}, {6, 0, 0}, {6, 6, 0}, {9, 9, 0}}, true, ""},
		"over a new table":       {[]reading{{}, {6, 0, 0}, {1, 0, 0}, {1, 6, 0}}, false, control.Warning},
	} {
		for _, f := range failover.Families {
			check := newAnswerCheck()
			for _, r := range c.readings {
				var n AnswerCount
				n.Came[f], n.Away[f], n.Returned = r.came, r.away, r.returned
				check.compare("fiber", n, true)
			}
			if got := check.counts("fiber", f); got != c.counts {
				t.Errorf("%s, %s: answers count: %t", name, f, got)
			}
			if !check.counts("fiber", f.Other()) || !check.counts("lte", f) {
				t.Errorf("%s, %s: others do not count", name, f)
			}
			var severity control.Severity
			for _, p := range check.problems(func(string) string { return "wan0" }) {
				severity = p.Severity
				if p.Code != "answers-elsewhere" || p.Object != "fiber" || p.Text == "" || p.Remedy == "" {
					t.Errorf("%s: %+v", name, p)
				}
			}
			if severity != c.severity {
				t.Errorf("%s, %s: severity %q", name, f, severity)
			}
			check.retain(func(string) bool { return false })
			if !check.counts("fiber", f) {
				t.Errorf("%s: an uplink that is gone is remembered", name)
			}
		}
	}
}

// What is known of where answers come in goes on under an uplink's new name.
func TestAnswersOfARenamedUplink(t *testing.T) {
	c := newProbeCheck()
	for _, n := range []AnswerCount{{}, {Came: [2]uint64{6, 6}}, {Came: [2]uint64{6, 6}, Away: [2]uint64{6, 0}}} {
		c.answers.compare("fiber", n, true)
	}
	c.rename(map[string]string{"glass": "fiber", "fiber": "lte"})
	if c.answers.counts("glass", failover.IPv4) || !c.answers.counts("glass", failover.IPv6) || !c.answers.counts("fiber", failover.IPv4) {
		t.Errorf("%+v", c.answers.source)
	}
	c.answers.compare("glass", AnswerCount{Came: [2]uint64{12, 12}, Away: [2]uint64{6, 0}}, true)
	if !c.answers.counts("glass", failover.IPv4) {
		t.Error("answers that come by it again do not count")
	}
	c.retain(func(string) bool { return false })
	if a := c.answers; len(a.from)+len(a.came)+len(a.source) > 0 {
		t.Errorf("uplinks that are gone are remembered: %+v", a)
	}
}
