package failover

import "testing"

// The spare of a ladder is the uplink of the next rung if it is up or unknown, and never one beside a
// shared first rung.
func TestSpare(t *testing.T) {
	of := func(name string, weight int, r rank, g group) *candidate {
		return &candidate{member: member{up: &uplink{cfg: Uplink{Name: name}}, share: Share{Uplink: name, Weight: weight}}, rank: r, group: g}
	}
	rung := func(cs ...*candidate) []*candidate { return cs }
	a, b := of("a", 1, rankUp, ownLive), of("b", 1, rankUp, ownLive)
	for what, test := range map[string]struct {
		rungs [][]*candidate
		want  string
	}{
		"alone":                {[][]*candidate{rung(a)}, ""},
		"two":                  {[][]*candidate{rung(a), rung(b)}, "b"},
		"the default policy's": {[][]*candidate{rung(a), rung(of("b", 1, rankUp, defaultLive))}, "b"},
		"a degraded next":      {[][]*candidate{rung(a), rung(of("b", 1, rankDegraded, ownLive)), rung(of("c", 1, rankUp, ownLive))}, ""},
		"a recovering next":    {[][]*candidate{rung(a), rung(of("b", 1, rankRecovering, ownLive))}, ""},
		"an unknown next":      {[][]*candidate{rung(a), rung(of("b", 1, rankUnknown, ownLive))}, "b"},
		"a shunned next":       {[][]*candidate{rung(a), rung(of("b", 1, rankShunned, ownSilent))}, ""},
		"a lost next":          {[][]*candidate{rung(a), rung(of("b", 1, rankDown, ownSilent))}, ""},
		"a drained next":       {[][]*candidate{rung(a), rung(of("b", 1, rankUp, drainedLive))}, ""},
		"a degraded first":     {[][]*candidate{rung(of("a", 1, rankDegraded, ownLive)), rung(b)}, "b"},
		"a silent first":       {[][]*candidate{rung(of("a", 1, rankDown, ownSilent)), rung(b)}, ""},
		"a shared first":       {[][]*candidate{rung(a, of("c", 1, rankUp, ownLive)), rung(b)}, ""},
		"a shared next":        {[][]*candidate{rung(a), rung(b, of("c", 3, rankUp, ownLive), of("d", 3, rankUp, ownLive))}, "c"},
	} {
		t.Run(what, func(t *testing.T) {
			c := &choice{}
			var rungs []Rung
			for _, r := range test.rungs {
				c.candidates = append(c.candidates, r...)
				rungs = append(rungs, Rung{Shares: shares(r)})
			}
			if got := spare(c, rungs); got != test.want {
				t.Errorf("the spare is %q, want %q", got, test.want)
			}
		})
	}
}
