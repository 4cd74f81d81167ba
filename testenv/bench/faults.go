package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// faultPart is a fault that is repeated, each time in a lab of its own, at a random
// phase of the probe interval.
type faultPart struct {
	group string
	spec  string
	// dead: the daemon was killed before.
	dead bool
	// watch is how long after the onset clients are measured: longer than they may be
	// interrupted.
	watch time.Duration
	fresh Floor
	// established: sessions that existed before the fault have floors too.
	established bool
}

const (
	carrierAlive = "carrier lost, daemon alive"
	carrierDead  = "carrier lost, daemon dead"
	blackHole    = "black-hole under traffic"
)

// lead is how long traffic runs before a fault may occur: until the daemon surely knows the
// clients, as it does in the field but for the youngest connections. Of those an entry may
// be gone before it is looked for: where a packet comes just between the ladders' turn and
// the packet filter's, masquerade drops it and the entry.
const lead = 3500 * time.Millisecond

var faultParts = []faultPart{
	{group: carrierAlive, spec: "carrier", watch: 600 * time.Millisecond, fresh: worstAtMost(20)},
	{group: carrierDead, spec: "carrier", dead: true, watch: 600 * time.Millisecond, fresh: worstAtMost(20)},
	{group: blackHole, spec: "black-hole", watch: 1800 * time.Millisecond, fresh: atMost(180, 250), established: true},
}

// faultFigures are the figures of one fault, by family.
type faultFigures struct {
	fresh, udp, tcp, listen, reset, told, evidence, apply [2]*Figure
}

func newFaultFigures(p faultPart) *faultFigures {
	udp, reset, told := Floor{}, Floor{}, worstAtMost(50)
	if p.dead {
		told = Floor{}
	}
	if p.established {
		udp, reset = worstAtMost(650), worstAtMost(30)
	}
	each := func(what, unit string, floor Floor) (both [2]*Figure) {
		for _, f := range failover.Families {
			both[f] = &Figure{Group: p.group, What: what, Family: f.String(), Unit: unit, Floor: floor}
		}
		return both
	}
	return &faultFigures{
		fresh:    each("new sessions interrupted", "ms", p.fresh),
		udp:      each("an established UDP session interrupted", "ms", udp),
		tcp:      each("a TCP session interrupted, its redial included", "ms", Floor{}),
		listen:   each("a TCP session whose client only listens interrupted, its redial included", "ms", Floor{}),
		told:     each("TCP reset after the verdict, where the client only listens", "ms", told),
		reset:    each("TCP reset after the client's first packet that follows the verdict", "ms", reset),
		evidence: each("evidence of the switch, as the daemon tells", "ms", Floor{}),
		apply:    each("decision to kernel read back", "ms", worstAtMost(2)),
	}
}

// list returns the figures that have values or a floor.
func (f *faultFigures) list(p faultPart, void int) (all []*Figure) {
	kinds := [][2]*Figure{f.fresh, f.udp, f.tcp, f.listen, f.reset, f.told, f.evidence, f.apply}
	if p.dead {
		kinds = [][2]*Figure{f.fresh, f.udp, f.tcp, f.reset} // one that only listens waits for a daemon
	}
	for _, both := range kinds {
		for _, figure := range both {
			figure.Void = void
			all = append(all, figure)
		}
	}
	return all
}

// faults repeats one fault until enough runs count.
func (m *measurer) faults(ctx context.Context, p faultPart) error {
	figures := newFaultFigures(p)
	void, err := m.repeat(p.group, m.runs, func(phase time.Duration) (counts bool, err error) {
		run, err := m.playFault(ctx, p, phase, figures)
		if run != nil {
			m.report.Runs = append(m.report.Runs, *run)
		}
		return run != nil, err
	})
	if err != nil {
		return err
	}
	m.report.add(figures.list(p, void)...)
	return nil
}

// repeat runs play until enough runs count, each at a random phase of the probe interval,
// and returns how many did not count because this machine had paused.
func (m *measurer) repeat(group string, runs int, play func(phase time.Duration) (counts bool, err error)) (void int, err error) {
	random := rand.New(rand.NewPCG(m.report.Seed, 7))
	for good := 0; good < runs; {
		counts, err := play(time.Duration(random.Int64N(int64(time.Second))))
		switch {
		case err != nil:
			return void, fmt.Errorf("%s: %w", group, err)
		case counts:
			good++
			m.progress("%s: %d of %d", group, good, runs)
			continue
		}
		if void++; void > 2*runs+3 {
			return void, fmt.Errorf("%s: this machine is too busy: %d runs were void, %d counted", group, void, good)
		}
	}
	return void, nil
}

// playFault makes one run; it returns nil if the run is void.
func (m *measurer) playFault(ctx context.Context, p faultPart, phase time.Duration, figures *faultFigures) (*Run, error) {
	g, err := startGateway(ctx, m.binary)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	c, err := startClients(ctx, g)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	if p.dead {
		if err := g.Kill(); err != nil {
			return nil, err
		}
	}
	if err := wait.Sleep(ctx, lead+phase); err != nil {
		return nil, err
	}
	g.MarkLateness()
	fault, err := g.Fault(lab.Fiber, p.spec)
	if err != nil {
		return nil, err
	}
	end := fault.Onset.Add(p.watch)
	if err := wait.Sleep(ctx, time.Until(end)); err != nil {
		return nil, err
	}
	run := &Run{Group: p.group, Phase: hundredths(phase)}
	counts, err := figures.record(ctx, g, c, fault, end, run)
	if !counts {
		return nil, err
	}
	return run, err
}

// record records a run and its figures, and reports whether it counts.
func (f *faultFigures) record(ctx context.Context, g *lab.Swerve, c *clients, fault *lab.Fault, end time.Time, run *Run) (counts bool, err error) {
	outcomes := map[*session]traffic.Outcome{}
	void := false
	for _, s := range c.all() {
		o := s.Measure(fault.Onset, end)
		outcomes[s] = o
		void = void || o.Void()
		run.Sessions = append(run.Sessions, Session{
			Kind: string(s.Kind), Family: s.family.String(), Requests: stamps(s.Log(), fault.Onset, o.Interruption)})
	}
	if void || g.Lateness() > traffic.MaxLateness {
		return false, nil
	}
	known := fault.Onset
	if !fault.Reported.IsZero() {
		known = fault.Reported
		reported := hundredths(known.Sub(fault.Onset))
		run.Reported = &reported
	}
	for _, family := range failover.Families {
		since := known.Sub(fault.Onset)
		f.fresh[family].addInterruption(outcomes[c.fresh[family]], since)
		f.udp[family].addInterruption(outcomes[c.udp[family]], since)
		f.tcp[family].addInterruption(outcomes[c.tcp[family]], since)
		f.listen[family].addInterruption(outcomes[c.listen[family]], since)
	}
	return true, f.recordDaemon(ctx, g, c, known)
}

// addInterruption records an interruption, counted from when the fault was known. One
// that was not over at the end of the measurement counts as long as it was.
func (f *Figure) addInterruption(o traffic.Outcome, known time.Duration) {
	f.add(millis(max(0, o.Interruption-known)))
}

// recordDaemon records the daemon's report of the switch, and the resets that followed
// its verdict; without a daemon the kernel's own report is the verdict.
func (f *faultFigures) recordDaemon(ctx context.Context, g *lab.Swerve, c *clients, known time.Time) error {
	verdict := [2]time.Time{known, known}
	if g.Pid() != 0 {
		events, err := lab.Events(ctx, g)
		if err != nil {
			return err
		}
		for _, family := range failover.Families {
			if s := failoverIn(events, family); s != nil {
				f.evidence[family].addTold(s.EvidenceMS)
				f.apply[family].addTold(s.SwitchMS)
			}
			if at, ok := downSince(events, family); ok {
				verdict[family] = at.Add(time.Millisecond) // an event's time is rounded down
			}
		}
	}
	for _, family := range failover.Families {
		f.reset[family].addReset(c.tcp[family].Breaks(), verdict[family])
		f.told[family].addTelling(c.listen[family].Breaks(), verdict[family])
	}
	return nil
}

func (f *Figure) addTold(ms *float64) {
	if ms != nil {
		f.add(*ms)
	}
}

// addReset records how long after its first packet that followed the verdict a TCP
// client was reset.
func (f *Figure) addReset(breaks []traffic.Break, verdict time.Time) {
	for _, b := range breaks {
		if delay, ok := b.ResetDelay(verdict); ok {
			f.add(millis(delay))
			return
		}
	}
}

// addTelling records how long after the verdict a TCP client was reset.
func (f *Figure) addTelling(breaks []traffic.Break, verdict time.Time) {
	for _, b := range breaks {
		if !b.Reset.IsZero() {
			f.add(millis(max(0, b.Reset.Sub(verdict))))
			return
		}
	}
}

// failoverIn returns the first failover in a family; nil for none.
func failoverIn(events []control.Event, f failover.Family) *control.SwitchDetail {
	for _, e := range events {
		if d, ok := e.Detail.(control.SwitchDetail); ok && d.Family == f.String() && d.Kind == "failover" {
			return &d
		}
	}
	return nil
}

// downSince returns the time of the first verdict in a family that an uplink is down.
func downSince(events []control.Event, f failover.Family) (at time.Time, ok bool) {
	for _, e := range events {
		if d, ok := e.Detail.(control.HealthDetail); ok && d.Family == f.String() && d.To == control.Down {
			return e.Time.Time, true
		}
	}
	return time.Time{}, false
}
