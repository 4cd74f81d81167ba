package daemon

import (
	"testing"
	"time"

	"swerve/control"
	"swerve/lane"
)

// counted is what a status says of the first uplink.
func counted(c *counters) (out [5]int) {
	figures := c.of("fiber")
	for i, n := range []*uint64{figures.Sessions.Moved, figures.Sessions.Reset, figures.Sessions.Poked, figures.Sessions.Destroyed, figures.BeganElsewhere} {
		out[i] = -1
		if n != nil {
			out[i] = int(*n)
		}
	}
	return out
}

// Counts are those since the start, over tables that are made anew, and unknown where they
// were not read; events tell them once, when nothing more comes.
func TestTally(t *testing.T) {
	c := newCounters(nil, nil)
	c.lanes = map[string]lane.Lane{"fiber": 1}
	now := time.Now()
	var told []control.SessionsDetail
	read := func(n SessionCount, graced uint64) {
		now = now.Add(sampleEvery)
		told = append(told, c.noteSessions(SessionCounts{Lanes: map[lane.Lane]SessionCount{1: n}, Graced: graced}, now)...)
	}
	want := func(when string, want [5]int) {
		t.Helper()
		if got := counted(c); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	want("not read yet", [5]int{-1, -1, 0, 0, -1})
	read(SessionCount{100, 200, [2]uint64{300, 400}}, 500) // of an earlier run
	want("first read", [5]int{0, 0, 0, 0, 0})
	c.dealtWith("fiber", 2, 1)
	c.deleted("fiber", 7, true)
	c.graces("fiber")
	read(SessionCount{103, 204, [2]uint64{300, 400}}, 501)
	read(SessionCount{103, 204, [2]uint64{300, 400}}, 501)
	want("after a loss", [5]int{10, 5, 2, 1, 0})
	read(SessionCount{1, 2, [2]uint64{}}, 0)
	want("in a new table", [5]int{11, 7, 2, 1, 0})
	read(SessionCount{1, 2, [2]uint64{10, 20}}, 0)
	want("while it is shunned", [5]int{11, 7, 2, 1, 0})
	c.unshunned("fiber", 0, shunEnd{stall: true, share: 0.5})
	c.unshunned("fiber", 1, shunEnd{share: 1})
	read(SessionCount{1, 2, [2]uint64{10, 20}}, 0)
	want("after a stall, and a down in the other family", [5]int{11, 7, 2, 1, 5})
	c.deleted("fiber", 0, false)
	want("after a loss of too many", [5]int{-1, 7, 2, 1, 5})
	c.noteSessions(SessionCounts{}, now)
	want("unreadable", [5]int{-1, -1, 2, 1, -1})
	if len(told) != 1 || told[0].Action != "settled" || *told[0].Moved != 3 || *told[0].Reset != 5 {
		t.Errorf("told: %+v", told)
	}
	now = now.Add(toldEvery)
	read(SessionCount{1, 2, [2]uint64{10, 20}}, 0)
	if len(told) != 2 || *told[1].Moved != 1 || *told[1].Reset != 2 {
		t.Errorf("told a minute later: %+v", told)
	}
}
