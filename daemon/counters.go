package daemon

import (
	"context"
	"maps"
	"sync"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/lane"
)

const (
	// sampleEvery is how often the interfaces' counters are read.
	sampleEvery = 2 * time.Second
	// flowsEvery is how often the packet filter's counts of new flows are: their clients
	// are to be known before their uplink is lost.
	flowsEvery = sampleEvery / 4
)

// counters holds the uplinks' byte counters and rates, and the bytes that probes
// used.
type counters struct {
	// read reads an interface's byte counters, flows the number of new flows by
	// lane.
	read  func(index int) (rx, tx uint64, err error)
	flows func() (map[lane.Lane]uint64, error)
	// began is called when flows have begun.
	began func()
	// probed is Machine.Probes, followed Machine.Sessions. What they say of sessions goes to
	// events.
	probed   func() ProbeCounts
	followed func() SessionCounts
	events   Publisher

	// now is the loop's clock, loads what weighs reads for the engine, reweigh a token
	// when what it has to read has changed.
	now     func() failover.Instant
	loads   chan loadReading
	reweigh chan struct{}

	mu      sync.Mutex
	weighed []string
	hurried failover.Instant
	index   map[string]int
	lanes   map[string]lane.Lane
	figures map[string]control.Counters
	samples map[string]sample
	probes  map[string]uint64
	// handshakes are those of TCP, by lane and family; nil while they are not known.
	handshakes map[lane.Lane][2]control.Handshakes
	// tallies are what became of sessions; graced is the uplink that was lost last, and
	// gracedSeen the packet filter's count of such resets, counted whether it was read.
	tallies    map[string]*tally
	graced     string
	gracedSeen uint64
	counted    bool
}

type sample struct {
	at     time.Time
	index  int
	rx, tx uint64
}

func newCounters(read func(int) (uint64, uint64, error), flows func() (map[lane.Lane]uint64, error)) *counters {
	return &counters{
		read: read, flows: flows, index: map[string]int{}, figures: map[string]control.Counters{},
		samples: map[string]sample{}, probes: map[string]uint64{}, tallies: map[string]*tally{},
		loads: make(chan loadReading), reweigh: make(chan struct{}, 1),
	}
}

// probe counts the bytes on the wire of a probe and its answer.
func (c *counters) probe(uplink string, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probes[uplink] += uint64(bytes)
}

// follow sets which interfaces and lanes to read, by uplink.
func (c *counters) follow(links map[string]failover.Link, lanes map[string]lane.Lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lanes = lanes
	clear(c.index)
	for name, link := range links {
		if link.Present {
			c.index[name] = link.Index
		}
	}
}

// of returns an uplink's figures; those not measured yet are nil.
func (c *counters) of(uplink string) control.Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.figures[uplink]
	probes := c.probes[uplink]
	out.ProbeBytes = &probes
	out.Sessions, out.BeganElsewhere = c.sessions(uplink)
	return out
}

// handshakesOf returns the TCP handshakes by an uplink in a family; nil while they are not
// known.
func (c *counters) handshakesOf(uplink string, f failover.Family) *control.Handshakes {
	c.mu.Lock()
	defer c.mu.Unlock()
	if both, ok := c.handshakes[c.lanes[uplink]]; ok {
		return &both[f]
	}
	return nil
}

// probeCounts returns the packet filter's counts of probes; empty if they are not
// counted.
func (c *counters) probeCounts() ProbeCounts {
	if c.probed == nil {
		return ProbeCounts{}
	}
	return c.probed()
}

// run samples until ctx ends.
func (c *counters) run(ctx context.Context) error {
	c.sample(time.Now())
	n := 0
	return each(ctx, flowsEvery, nil, func() {
		if n = (n + 1) % int(sampleEvery/flowsEvery); n == 0 {
			c.sample(time.Now())
		} else {
			c.readFlows()
		}
	})
}

// readFlows reads how many flows have begun, and says so where any has.
func (c *counters) readFlows() {
	flows, err := c.flows()
	if err != nil {
		flows = nil // unknown
	}
	if c.noteFlows(flows) && c.began != nil {
		c.began()
	}
}

func (c *counters) sample(now time.Time) {
	c.mu.Lock()
	index := maps.Clone(c.index)
	c.mu.Unlock()
	c.readFlows()
	if c.followed != nil {
		for _, d := range c.noteSessions(c.followed(), now) {
			c.events.Publish(control.Event{Time: control.At(time.Now()), Detail: d})
		}
	}
	for name, i := range index {
		rx, tx, err := c.read(i)
		if err != nil {
			c.forget(name) // the interface is gone; a link event will follow
			continue
		}
		c.note(name, sample{at: now, index: i, rx: rx, tx: tx})
	}
}

// forget makes an interface's figures unknown.
func (c *counters) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.samples, name)
	c.figures[name] = control.Counters{NewFlows: c.figures[name].NewFlows}
}

func (c *counters) note(name string, s sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	figures := control.Counters{RxBytes: &s.rx, TxBytes: &s.tx, NewFlows: c.figures[name].NewFlows}
	before, known := c.samples[name]
	if span := s.at.Sub(before.at); known && before.index == s.index && span > 0 && s.rx >= before.rx && s.tx >= before.tx {
		rx, tx := bitsPerSecond(s.rx-before.rx, span), bitsPerSecond(s.tx-before.tx, span)
		figures.RxBPS, figures.TxBPS = &rx, &tx
	}
	c.samples[name], c.figures[name] = s, figures
}

// noteFlows stores the packet filter's counts of new flows; they are unknown while
// the counters do not exist. It reports whether any has changed.
func (c *counters) noteFlows(flows map[lane.Lane]uint64) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range c.lanes {
		figures := c.figures[name]
		figures.NewFlows = nil
		if count, ok := flows[n]; ok {
			before := c.figures[name].NewFlows
			changed = changed || before == nil || *before != count
			figures.NewFlows = &count
		}
		c.figures[name] = figures
	}
	return changed
}

func bitsPerSecond(bytes uint64, span time.Duration) uint64 {
	return uint64(float64(bytes) * 8 / span.Seconds())
}
