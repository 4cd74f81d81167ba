package system

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv"
	"swerve/testenv/traffic"
)

// measured is one figure of one family over all runs.
type measured struct {
	what   string
	family failover.Family
	took   []time.Duration
	none   int // runs that had no such figure
}

// String is the least, the median and the worst.
func (m *measured) String() string {
	if len(m.took) == 0 {
		return fmt.Sprintf("%-40s %s  nothing measured", m.what, m.family)
	}
	slices.Sort(m.took)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	line := fmt.Sprintf("%-40s %s  least %7.1f  median %7.1f  worst %7.1f ms", m.what, m.family,
		ms(m.took[0]), ms(m.took[len(m.took)/2]), ms(m.took[len(m.took)-1]))
	if m.none > 0 {
		line += fmt.Sprintf("  (%d runs without)", m.none)
	}
	return line
}

// faultFigures are the figures of one fault.
type faultFigures struct {
	fresh, udp, tcp, reset [2]measured
	void                   int
}

func newFaultFigures() *faultFigures {
	f := new(faultFigures)
	for _, family := range failover.Families {
		f.fresh[family] = measured{what: "new sessions interrupted for", family: family}
		f.udp[family] = measured{what: "one UDP session interrupted for", family: family}
		f.tcp[family] = measured{what: "one TCP session, with its redial", family: family}
		f.reset[family] = measured{what: "TCP reset, after the next packet", family: family}
	}
	return f
}

// figureFaults are the faults that TestFigures plays, and how long a new session
// may at most be without an answer: generous, the figures are what is told.
var figureFaults = []struct {
	name, spec string
	dead       bool
	limit      time.Duration
}{
	{"carrier lost, daemon alive", "carrier", false, 2 * time.Second},
	{"carrier lost, daemon dead", "carrier", true, 2 * time.Second},
	{"black-hole under traffic", "black-hole", false, 5 * time.Second},
}

// TestFigures measures what faults cost, at the default configuration, each as
// often as -runs says, at instants drawn by lot over the probe interval. A run in
// which this machine paused a client or a wire is void: it is repeated, as often
// as there are runs, and counted.
func TestFigures(t *testing.T) {
	lots := rand.New(rand.NewPCG(*seed, 7))
	for _, tc := range figureFaults {
		t.Run(tc.name, func(t *testing.T) {
			figures := newFaultFigures()
			for good, tries := 0, 0; good < *runs && tries < 2**runs+1; tries++ {
				phase := time.Duration(lots.Int64N(int64(time.Second)))
				if figures.play(t, tc.spec, tc.dead, tc.limit, phase) {
					good++
				} else {
					figures.void++
				}
			}
			figures.tell(t, tc.name)
		})
	}
}

func (f *faultFigures) tell(t *testing.T, name string) {
	t.Logf("%s: %d runs count, %d were void", name, len(f.fresh[failover.IPv4].took), f.void)
	for _, all := range [][2]measured{f.fresh, f.udp, f.tcp, f.reset} {
		for _, family := range failover.Families {
			t.Log(all[family].String())
		}
	}
}

// play is one run. It reports whether the run counts.
func (f *faultFigures) play(t *testing.T, spec string, dead bool, limit, phase time.Duration) (counts bool) {
	t.Helper()
	r := &trial{t: t, ctx: t.Context()}
	r.run(func(r *trial) {
		g := startGateway(r, usual, twoUplinks)
		p := g.party(fiber)
		if dead {
			g.kill()
		}
		time.Sleep(phase)
		g.MarkLateness()
		fault := g.fault(fiber, spec)
		g.goBy(lte, p.all()...)
		settle()
		counts = f.note(g, p, fault, limit)
	})
	if r.failed && (counts || r.pause <= traffic.MaxLateness) {
		t.Errorf("a run failed:%s", r.said.String())
	}
	return counts && !r.failed
}

// note takes the figures of a run down, if it counts.
func (f *faultFigures) note(g *gateway, p *party, fault *testenv.Fault, limit time.Duration) bool {
	outcomes := map[*session]traffic.Outcome{}
	late := g.Lateness() > traffic.MaxLateness
	for _, s := range p.all() {
		o := traffic.Measure(s.Log(), fault.Onset, time.Now().Add(-fate))
		outcomes[s] = o
		late = late || o.Void()
	}
	if late {
		return false
	}
	onset := fault.Onset
	if !fault.Reported.IsZero() {
		onset = fault.Reported
	}
	for _, family := range failover.Families {
		if o := outcomes[p.fresh[family]]; !o.Over || o.Interruption > limit {
			g.Errorf("%s: %v; want it over within %v", p.fresh[family], o, limit)
		}
		f.fresh[family].add(outcomes[p.fresh[family]], fault.Onset, onset)
		f.udp[family].add(outcomes[p.udp[family]], fault.Onset, onset)
		f.tcp[family].add(outcomes[p.tcp[family]], fault.Onset, onset)
		f.reset[family].addReset(p.tcp[family], g.verdict(family, onset))
	}
	return true
}

// add takes an interruption down, counted from when the kernel reported it.
func (m *measured) add(o traffic.Outcome, onset, reported time.Time) {
	m.took = append(m.took, max(0, o.Interruption-reported.Sub(onset)))
}

// addReset takes down how long after its first packet that followed the verdict a
// TCP client had its reset.
func (m *measured) addReset(s *session, verdict time.Time) {
	for _, b := range s.Breaks() {
		if delay, ok := b.ResetDelay(verdict); ok {
			m.took = append(m.took, delay)
			return
		}
	}
	m.none++
}

// verdict is when sessions were let go of: the daemon's, or, without one, the
// kernel's report of the link.
func (g *gateway) verdict(f failover.Family, reported time.Time) time.Time {
	if g.daemon.Pid() == 0 {
		return reported
	}
	for _, e := range g.events() {
		if e.Health != nil && e.Health.To == control.Down && e.Health.Family == f.String() {
			return e.Time.Add(time.Millisecond) // it is told rounded down
		}
	}
	g.Errorf("no verdict on fiber in %s", f)
	return reported
}
