package daemon

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

const (
	// checkProbesEvery is the interval at which the number of probes sent is
	// compared with the number that left by their uplink, and the problems are
	// updated.
	checkProbesEvery = 2 * time.Second
	// leastProbes is the number of probes that a comparison needs.
	leastProbes = 6
	// sentMargin is how long after a reading a probe must have been sent to count as
	// sent after it: it is noted as sent a moment after the packet filter has seen it.
	sentMargin = 250 * time.Millisecond
	// mostSent bounds the remembered times of sending of an uplink in a family.
	mostSent = 1024
)

// ProbeCount is the packet filter's count of an uplink's probes: those that left by
// it in each family, and those that would have left elsewhere and were dropped.
type ProbeCount struct {
	Left      [2]uint64
	Elsewhere uint64
	Answers   AnswerCount
}

// ProbeCounts is one reading of the packet filter's counts, by lane.
type ProbeCounts struct {
	Lanes map[lane.Lane]ProbeCount
	// Begun and Ended are the times at which the reading began and ended.
	Begun, Ended failover.Instant
}

// probeCheck compares the probes that were sent with the packet filter's counts.
// Probes that leave by another interface are no evidence about their uplink: while
// that happens they are passed to the engine as not sent. The loop owns it.
//
// A reading of the counts is made in another goroutine, and may be late or old where
// the machine is busy. So what is compared are two readings, and the probes that were
// certainly sent between them.
type probeCheck struct {
	due failover.Instant
	// sent has, by uplink and family, when probes were sent since the reading at
	// which the comparison starts.
	sent map[string][2][]failover.Instant
	from map[string]probeMark
	// tables is kernel.tables as last seen; anew is when it was first seen: counts that
	// were read before are another table's.
	tables int
	anew   failover.Instant
	// astray has, by uplink and family, how many of how many probes did not leave
	// by it; kept has, by uplink, how many were recently kept from leaving
	// elsewhere.
	astray map[string][2]missed
	kept   map[string]uint64
	// aside has since when targets count for nothing.
	aside map[string]failover.Instant
	// answers judges where the answers come in.
	answers answerCheck
}

// probeMark is the reading at which a comparison starts.
type probeMark struct {
	count        ProbeCount
	begun, ended failover.Instant
}

// missed is how many of how many probes did not leave by their uplink.
type missed struct{ n, of uint64 }

func newProbeCheck() probeCheck {
	return probeCheck{
		sent: map[string][2][]failover.Instant{}, from: map[string]probeMark{}, astray: map[string][2]missed{}, kept: map[string]uint64{}, aside: map[string]failover.Instant{},
		answers: newAnswerCheck(),
	}
}

// believed returns the event that is passed to the engine for an event of an uplink's
// probe at that time.
func (c *probeCheck) believed(uplink string, f failover.Family, at failover.Instant, event failover.Event) failover.Event {
	if _, answered := event.(failover.ProbeAnswered); answered && !c.answers.counts(uplink, f) {
		return failover.Tick{}
	}
	sent, ok := event.(failover.ProbeSent)
	if !ok || uplink == "" {
		return event
	}
	times := c.sent[uplink]
	if len(times[f]) >= mostSent {
		times[f] = slices.Delete(times[f], 0, mostSent/2)
	}
	times[f] = append(times[f], at)
	c.sent[uplink] = times
	if c.astray[uplink][f].n > 0 {
		return failover.ProbeNotSent{ID: sent.ID, Cause: "probes leave by another way than their uplink"}
	}
	return event
}

// compare evaluates a reading of the packet filter's counts of an uplink's probes;
// known reports whether there are any.
func (c *probeCheck) compare(uplink string, now probeMark, known bool) {
	before, begun := c.from[uplink]
	switch {
	case !known:
		c.forget(uplink)
		delete(c.sent, uplink)
		return
	case now.begun < c.anew || begun && now.begun <= before.ended:
		return // of the former table, or nothing has been read since
	case !begun || before.begun < c.anew || now.count.before(before.count):
		c.forget(uplink)
		c.start(uplink, now) // a first reading, or a new table
		return
	}
	kept := now.count.Elsewhere - before.count.Elsewhere
	var sent, left [2]uint64
	for f, times := range c.sent[uplink] {
		for _, at := range times {
			if at > before.ended+sentMargin && at < now.begun {
				sent[f]++
			}
		}
		left[f] = now.count.Left[f] - before.count.Left[f]
	}
	if max(sent[0], sent[1])+kept < leastProbes {
		return // not enough probes yet
	}
	c.start(uplink, now)
	delete(c.kept, uplink)
	if kept > 0 {
		c.kept[uplink] = kept
	}
	var astray [2]missed
	for f := range sent {
		if sent[f] >= leastProbes/2 && left[f] < sent[f]/2 {
			astray[f] = missed{sent[f] - left[f], sent[f]}
		}
	}
	delete(c.astray, uplink)
	if astray != [2]missed{} {
		c.astray[uplink] = astray
	}
}

// start begins a comparison at a reading.
func (c *probeCheck) start(uplink string, now probeMark) {
	c.from[uplink] = now
	times := c.sent[uplink]
	for f := range times {
		times[f] = slices.DeleteFunc(times[f], func(at failover.Instant) bool { return at <= now.ended })
	}
	c.sent[uplink] = times
}

// forget drops what was found about an uplink, and where its comparison starts.
func (c *probeCheck) forget(uplink string) {
	delete(c.astray, uplink)
	delete(c.kept, uplink)
	delete(c.from, uplink)
}

// before reports whether counts are smaller than others, as those of a new table
// are.
func (n ProbeCount) before(o ProbeCount) bool {
	return n.Left[0] < o.Left[0] || n.Left[1] < o.Left[1] || n.Elsewhere < o.Elsewhere
}

// retain forgets uplinks that are no longer used.
func (c *probeCheck) retain(uplink func(string) bool) {
	for name := range c.from {
		if !uplink(name) {
			c.forget(name)
			delete(c.sent, name)
		}
	}
	c.answers.retain(uplink)
}

// problems returns the problems of probes that do not leave by their uplink.
func (c *probeCheck) problems(interfaceOf func(string) string) []control.Problem {
	var out []control.Problem
	add := func(uplink, text string) {
		out = append(out, control.Problem{
			Code: "probes-elsewhere", Severity: control.Warning, Object: uplink, Text: text,
			Remedy: "see nft list ruleset for a rule that changes marks in output, ip rule for one before Swerve's that is for all packets, and ip route get " +
				"for a route to a target by another device; restore marks under a mask, or name another target",
		})
	}
	for name, n := range c.astray {
		add(name, fmt.Sprintf("%d of %d probes of %s did not leave by %s, so their answers count for nothing",
			n[0].n+n[1].n, n[0].of+n[1].of, name, interfaceOf(name)))
	}
	for name, n := range c.kept {
		if _, both := c.astray[name]; !both {
			add(name, fmt.Sprintf("%d probes of %s were about to leave by another device than %s, and were dropped",
				n, name, interfaceOf(name)))
		}
	}
	control.SortProblems(out)
	return out
}

// checkCounts acts on the packet filter's counts when it is due: on those of flows that
// wait for a deletion, and of probes.
func (l *loop) checkCounts(now failover.Instant) {
	if now < l.probing.due {
		return
	}
	l.probing.due = now + checkProbesEvery
	l.enforcer.sweep(l.setup.layout)
	l.checkProbes()
}

// checkProbes compares and judges the probes.
func (l *loop) checkProbes() {
	c := &l.probing
	counts := l.reporter.counters.probeCounts()
	if n := l.enforcer.kernel.tables; n != c.tables {
		c.tables, c.anew = n, l.clock.now()
		clear(c.answers.from)
	}
	for _, u := range l.setup.uplinks {
		count, known := counts.Lanes[l.setup.lanes.Uplinks[u.Name]]
		known = known && l.setup.mark(u.Name) != 0
		c.compare(u.Name, probeMark{count, counts.Begun, counts.Ended}, known)
		if counts.Begun >= c.anew {
			c.answers.compare(u.Name, count.Answers, known)
		}
	}
	c.retain(func(name string) bool { _, ok := l.setup.lanes.Uplinks[name]; return ok })
	interfaceOf := func(name string) string { return l.picture.links[name].Interface }
	found := append(c.problems(interfaceOf), c.answers.problems(interfaceOf)...)
	found = append(found, probeProblems(l.view(), conntrackFull, func(name string) uint64 { return c.kept[name] })...)
	l.reporter.problems.replace("probes", c.lasting(found, l.clock.now()))
}

// asideFor is how long a target must count for nothing until that is a problem: after an
// outage of all uplinks the targets answer again one after another.
const asideFor = 10 * time.Second

// lasting returns the problems without those of targets that count for nothing only since
// a moment ago.
func (c *probeCheck) lasting(found []control.Problem, now failover.Instant) []control.Problem {
	before := c.aside
	c.aside = map[string]failover.Instant{}
	return slices.DeleteFunc(found, func(p control.Problem) bool {
		if p.Code != "target-set-aside" {
			return false
		}
		since, known := before[p.Object]
		if !known {
			since = now
		}
		c.aside[p.Object] = since
		return now-since < asideFor
	})
}

// filterCounts reads the packet filter's counters once for all callers that need a
// part of them.
type filterCounts struct {
	filter *firewall.Kernel
	clock  func() failover.Instant
	mu     sync.Mutex
	probes ProbeCounts
	anew   uint64
	// sessions is as last read.
	sessions SessionCounts
}

// newFlows reads the number of flows that began on each uplink.
func (c *filterCounts) newFlows() (map[lane.Lane]uint64, error) {
	begun := c.clock()
	counters, err := c.filter.Counters()
	ended := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probes, c.sessions = ProbeCounts{}, SessionCounts{}
	if err != nil {
		return nil, err
	}
	c.probes = ProbeCounts{map[lane.Lane]ProbeCount{}, begun, ended}
	c.anew, c.sessions = counters.Anew.Packets, sessionCounts(counters)
	for n, left := range counters.Probes {
		six := counters.Probes6[n].Packets
		answers := counters.Answers[n]
		c.probes.Lanes[n] = ProbeCount{
			Left:      [2]uint64{left.Packets - min(six, left.Packets), six},
			Elsewhere: counters.Elsewhere[n].Packets,
			Answers: AnswerCount{
				Came:     [2]uint64{answers.Came[failover.IPv4].Packets, answers.Came[failover.IPv6].Packets},
				Away:     [2]uint64{answers.Away[failover.IPv4].Packets, answers.Away[failover.IPv6].Packets},
				Returned: counters.Returned[n].Packets,
			},
		}
	}
	flows := map[lane.Lane]uint64{}
	for n, count := range counters.Flows {
		flows[n] = count.Packets
	}
	return flows, nil
}

// lastAnew returns the count of flows that wait for a deletion, as last read.
func (c *filterCounts) lastAnew() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.anew
}

// lastSessions returns what became of flows, as last read.
func (c *filterCounts) lastSessions() SessionCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions
}

// lastProbes returns the counts of probes at the last reading; empty if it failed.
func (c *filterCounts) lastProbes() ProbeCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probes
}
