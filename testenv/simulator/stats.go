package simulator

import (
	"fmt"
	"strings"
	"time"

	"swerve/failover"
)

// Stats is what is counted over a run, or over several by [Stats.Join].
type Stats struct {
	// Length is the simulated time.
	Length time.Duration
	// Steps of the engine, those followed by a call of Engine.Check, and probes.
	Steps, Checks, Probes uint64
	// Entered counts the transitions into each state, all paths together, without
	// the returns from suspicions and shunnings that were not confirmed.
	Entered [failover.Recovering + 1]int
	// Restarts of the engine.
	Restarts int
	// Switches by kind, all policies and families together.
	Switches [failover.Switchover + 1]int
	// WrongMoves are forced switches that left an uplink that was truly fine.
	WrongMoves int
	// Lost counts the uplinks whose sessions were moved, by path and policy;
	// WronglyLost those of them that were truly fine; LostNotDown those that
	// were not even judged down.
	Lost, WronglyLost, LostNotDown int
	// Leave is the time from a silent death of the carrier until new flows went
	// elsewhere, Release until its sessions were moved, where another uplink was
	// fine to go to.
	Leave, Release Times
}

// Times is a distribution of durations, in steps of a millisecond up to two
// seconds; a longer one counts in the last step, and the worst is kept exactly.
type Times struct {
	N     int
	Worst time.Duration
	count [2001]int32
}

func (t *Times) add(d time.Duration) {
	t.N++
	t.Worst = max(t.Worst, d)
	t.count[min(int(d/time.Millisecond), len(t.count)-1)]++
}

// Quantile is the duration that a share q of them does not exceed, to the
// millisecond; 0 where there are none.
func (t *Times) Quantile(q float64) time.Duration {
	want, seen := int(q*float64(t.N)), 0
	for ms, n := range t.count {
		if seen += int(n); n > 0 && seen > want {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return t.Worst
}

func (t *Times) join(o *Times) {
	t.N += o.N
	t.Worst = max(t.Worst, o.Worst)
	for i, n := range o.count {
		t.count[i] += n
	}
}

// health counts a transition, except a return to the state before a suspicion or a
// shunning.
func (s *Stats) health(h *failover.HealthChange) {
	doubted := h.From == failover.Suspect || h.From == failover.Shunned
	if !doubted || h.To == failover.Shunned || h.To == failover.Down {
		s.Entered[h.To]++
	}
}

func (s *Stats) switched(c *failover.SwitchChange, fine bool) {
	s.Switches[c.Kind]++
	if c.Kind == failover.Failover && fine {
		s.WrongMoves++
	}
}

func (s *Stats) lost(state failover.State) {
	s.Lost++
	if state != failover.Down {
		s.LostNotDown++
	}
}

// Join adds another run's figures.
func (s *Stats) Join(o Stats) {
	s.Length += o.Length
	s.Steps += o.Steps
	s.Checks += o.Checks
	s.Probes += o.Probes
	s.Restarts += o.Restarts
	for i, n := range o.Entered {
		s.Entered[i] += n
	}
	for i, n := range o.Switches {
		s.Switches[i] += n
	}
	s.WrongMoves += o.WrongMoves
	s.Lost += o.Lost
	s.WronglyLost += o.WronglyLost
	s.LostNotDown += o.LostNotDown
	s.Leave.join(&o.Leave)
	s.Release.join(&o.Release)
}

const year = 365 * 24 * time.Hour

// Years is the simulated time in years of 365 days.
func (s Stats) Years() float64 { return float64(s.Length) / float64(year) }

// String lists all figures, the counts also as rates a year.
func (s Stats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.3f years, %d probes, %d steps, %d of them checked inside\n", s.Years(), s.Probes, s.Steps, s.Checks)
	row := func(name string, n int) { fmt.Fprintf(&b, "%-34s %9d  %11.1f a year\n", name, n, float64(n)/s.Years()) }
	for _, state := range []failover.State{failover.Suspect, failover.Shunned, failover.Down, failover.Degraded} {
		row("paths judged "+state.String(), s.Entered[state])
	}
	for kind, n := range s.Switches {
		row("switches: "+failover.SwitchKind(kind).String(), n)
	}
	row("moves off a carrier truly fine", s.WrongMoves)
	row("sessions moved, by path", s.Lost)
	row("of these off a path truly fine", s.WronglyLost)
	row("of these off a path not down", s.LostNotDown)
	for _, t := range []struct {
		name string
		of   *Times
	}{{"death until new flows move", &s.Leave}, {"death until sessions move", &s.Release}} {
		fmt.Fprintf(&b, "%-34s %9d  median %v, 95 %% %v, worst %v\n", t.name, t.of.N,
			t.of.Quantile(0.5), t.of.Quantile(0.95), t.of.Worst.Round(time.Millisecond))
	}
	return b.String()
}

// Rate is how often a state was entered, per path and second.
func (s Stats) Rate(state failover.State, paths int) float64 {
	return float64(s.Entered[state]) / s.Length.Seconds() / float64(paths)
}

// GatewayStats is what is counted while a script is played to the daemon's loop.
type GatewayStats struct {
	// Length is the simulated time.
	Length time.Duration
	// Changes of the kernel's routes and rules, one by one; Moves of first rungs
	// among them, those Chosen though the one before still answered, and ladders
	// that were Emptied.
	Changes, Moves, Chosen, Emptied int
	// Released are pairs of an uplink and a policy whose sessions were moved.
	Released int
	// Restarts of the daemon.
	Restarts int
	// Entered counts the transitions into each state.
	Entered [failover.Recovering + 1]int
}

// String lists the figures in a line.
func (s GatewayStats) String() string {
	return fmt.Sprintf("%v: %d changes of the kernel, %d moves of a first rung, %d of them by choice, %d ladders emptied, %d times sessions moved, %d downs",
		s.Length, s.Changes, s.Moves, s.Chosen, s.Emptied, s.Released, s.Entered[failover.Down])
}
