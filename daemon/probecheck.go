package daemon

import (
	"fmt"
	"slices"
	"strings"
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
)

// ProbeCount is the packet filter's count of an uplink's probes: those that left by
// it in each family, and those that would have left elsewhere and were dropped.
type ProbeCount struct {
	Left      [2]uint64
	Elsewhere uint64
}

// probeCheck compares the probes that were sent with the packet filter's counts.
// Probes that leave by another interface are no evidence about their uplink: while
// that happens they are passed to the engine as not sent. The loop owns it.
type probeCheck struct {
	due  failover.Instant
	sent map[string][2]uint64 // by uplink, in each family
	from map[string]probeMark
	// astray has, by uplink and family, how many of how many probes did not leave
	// by it; kept has, by uplink, how many were recently kept from leaving
	// elsewhere.
	astray map[string][2]missed
	kept   map[string]uint64
}

// probeMark holds the counts at which a comparison starts.
type probeMark struct {
	sent  [2]uint64
	count ProbeCount
}

// missed is how many of how many probes did not leave by their uplink.
type missed struct{ n, of uint64 }

func newProbeCheck() probeCheck {
	return probeCheck{
		sent: map[string][2]uint64{}, from: map[string]probeMark{}, astray: map[string][2]missed{}, kept: map[string]uint64{},
	}
}

// believed returns the event that is passed to the engine for an uplink's probe.
func (c *probeCheck) believed(uplink string, f failover.Family, event failover.Event) failover.Event {
	sent, ok := event.(failover.ProbeSent)
	if !ok || uplink == "" {
		return event
	}
	n := c.sent[uplink]
	n[f]++
	c.sent[uplink] = n
	if c.astray[uplink][f].n > 0 {
		return failover.ProbeNotSent{ID: sent.ID, Cause: "probes leave by another way than their uplink"}
	}
	return event
}

// compare evaluates the packet filter's counts of an uplink's probes; known reports
// whether there are any.
func (c *probeCheck) compare(uplink string, count ProbeCount, known bool) {
	now := probeMark{c.sent[uplink], count}
	before, begun := c.from[uplink]
	if !known || !begun || count.before(before.count) {
		delete(c.astray, uplink)
		delete(c.kept, uplink)
		delete(c.from, uplink)
		if known {
			c.from[uplink] = now // a first reading, or a new table
		}
		return
	}
	kept := count.Elsewhere - before.count.Elsewhere
	var sent, left [2]uint64
	for f := range sent {
		sent[f], left[f] = now.sent[f]-before.sent[f], count.Left[f]-before.count.Left[f]
	}
	if max(sent[0], sent[1])+kept < leastProbes {
		return // not enough probes yet
	}
	c.from[uplink] = now
	delete(c.kept, uplink)
	if kept > 0 {
		c.kept[uplink] = kept
	}
	var astray [2]missed
	for f := range sent {
		// The two counts are not read at the same instant, so a few probes may be
		// missing.
		if sent[f] >= leastProbes/2 && left[f] < sent[f]/2 {
			astray[f] = missed{sent[f] - left[f], sent[f]}
		}
	}
	delete(c.astray, uplink)
	if astray != [2]missed{} {
		c.astray[uplink] = astray
	}
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
			delete(c.from, name)
			delete(c.sent, name)
			delete(c.astray, name)
			delete(c.kept, name)
		}
	}
}

// problems returns the problems of probes that do not leave by their uplink.
func (c *probeCheck) problems(interfaceOf func(string) string) []control.Problem {
	var out []control.Problem
	add := func(uplink, text string) {
		out = append(out, control.Problem{
			Code: "probes-elsewhere", Severity: control.Warning, Object: uplink, Text: text,
			Remedy: "see nft list ruleset and ip route get for a rule that changes marks in output, or a route to a target " +
				"by another device; restore marks under a mask, or name another target",
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
	slices.SortFunc(out, func(a, b control.Problem) int { return strings.Compare(a.Object, b.Object) })
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
	counts := l.reporter.counters.probesByLane()
	for _, u := range l.setup.uplinks {
		count, known := counts[l.setup.lanes.Uplinks[u.Name]]
		c.compare(u.Name, count, known && l.setup.mark(u.Name) != 0)
	}
	c.retain(func(name string) bool { _, ok := l.setup.lanes.Uplinks[name]; return ok })
	found := c.problems(func(name string) string { return l.picture.links[name].Interface })
	found = append(found, probeProblems(l.view(), conntrackFull)...)
	l.reporter.problems.replace("probes", found)
}

// filterCounts reads the packet filter's counters once for all callers that need a
// part of them.
type filterCounts struct {
	filter *firewall.Kernel
	mu     sync.Mutex
	probes map[lane.Lane]ProbeCount
	anew   uint64
}

// newFlows reads the number of flows that began on each uplink.
func (c *filterCounts) newFlows() (map[lane.Lane]uint64, error) {
	counters, err := c.filter.Counters()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probes = nil
	if err != nil {
		return nil, err
	}
	c.probes = map[lane.Lane]ProbeCount{}
	c.anew = counters.Anew.Packets
	for n, left := range counters.Probes {
		six := counters.Probes6[n].Packets
		c.probes[n] = ProbeCount{[2]uint64{left.Packets - min(six, left.Packets), six}, counters.Elsewhere[n].Packets}
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

// lastProbes returns the counts of probes at the last reading; empty if it failed.
func (c *filterCounts) lastProbes() map[lane.Lane]ProbeCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probes
}
