package daemon

import (
	"context"
	"maps"
	"slices"
	"time"

	"swerve/control"
	"swerve/failover"
)

const (
	// loadEvery is how often the counters of uplinks are read whose policies overflow.
	loadEvery = 250 * time.Millisecond
	// loadSoon is how often while an uplink was suspected within the last hurryFor: the
	// engine has to know whether the line is full by when the suspicion is confirmed.
	loadSoon = 30 * time.Millisecond
	hurryFor = time.Second
)

// loadReading is a reading of the counters for the engine, at an instant.
type loadReading struct {
	at   failover.Instant
	load failover.Load
}

// weighed are the uplinks whose load the engine has to know: those with a rate, while a
// policy overflows.
func weighed(s setup) []string {
	if !slices.ContainsFunc(s.engine.Policies, func(p failover.Policy) bool { return p.Overflow > 0 }) {
		return nil
	}
	var list []string
	for _, u := range s.engine.Uplinks {
		if u.Rate != (failover.Rate{}) && u.Enabled {
			list = append(list, u.Name)
		}
	}
	return list
}

// weigh sets of which uplinks loads are read.
func (c *counters) weigh(uplinks []string) {
	c.mu.Lock()
	c.weighed = uplinks
	c.mu.Unlock()
	wake(c.reweigh)
}

// hurry reads loads more often for a while, where an uplink is suspected: its own traffic
// may have filled a queue.
func (c *counters) hurry(uplink string) {
	c.mu.Lock()
	weighed := slices.Contains(c.weighed, uplink)
	hurries := c.now() < c.hurried
	if weighed {
		c.hurried = c.now() + hurryFor
	}
	c.mu.Unlock()
	if !weighed || hurries {
		return
	}
	wake(c.reweigh)
}

// weighs reads the counters of these uplinks for the engine until ctx ends. Where there is
// none it waits.
func (c *counters) weighs(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		load := c.readLoad()
		readings := c.loads
		if len(load.load.Counts) == 0 {
			readings = nil
		}
		timer.Reset(c.untilNext())
		for waits := true; waits; {
			select {
			case <-ctx.Done():
				return nil
			case readings <- load:
				readings = nil
				continue
			case <-timer.C:
			case <-c.reweigh:
			}
			waits = false
		}
	}
}

// untilNext returns for how long weighs waits.
func (c *counters) untilNext() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.weighed) == 0:
		return time.Hour
	case c.now() < c.hurried:
		return loadSoon
	}
	return loadEvery
}

// readLoad reads the counters of the uplinks that are weighed. Those of an interface that
// is gone are left out.
func (c *counters) readLoad() loadReading {
	c.mu.Lock()
	weighed, index := slices.Clone(c.weighed), maps.Clone(c.index)
	c.mu.Unlock()
	r := loadReading{at: c.now()}
	for _, name := range weighed {
		i, present := index[name]
		if !present {
			continue
		}
		if rx, tx, err := c.read(i); err == nil {
			r.load.Counts = append(r.load.Counts, failover.Count{Uplink: name, Rx: rx, Tx: tx})
		}
	}
	return r
}

// overflown is an overflow that a restart has to go on with: new flows went to To instead
// of From, which is what carries, and was full.
type overflown struct {
	From []string `json:"from"`
	To   []string `json:"to"`
}

// overflows are those of policies, by family.
type overflows map[string]map[string]overflown

// overflowsOf returns what the view says; nil for none.
func overflowsOf(view failover.View) overflows {
	var out overflows
	for _, p := range view.Policies {
		for _, f := range failover.Families {
			if len(p.Overflow[f]) == 0 {
				continue
			}
			if out == nil {
				out = overflows{}
			}
			if out[p.Name] == nil {
				out[p.Name] = map[string]overflown{}
			}
			out[p.Name][f.String()] = overflown{From: shareNames(p.Family[f]), To: shareNames(p.Overflow[f])}
		}
	}
	return out
}

// shareNames lists the uplinks of some shares.
func shareNames(shares []failover.Share) []string {
	list := make([]string, len(shares))
	for i, s := range shares {
		list[i] = s.Uplink
	}
	return list
}

// adopt makes what the kernel has in the first rung an overflow where it was one: what it
// came from carries.
func (all overflows) adopt(a *failover.Adopt) {
	a.Overflow = map[string][2][]string{}
	for policy, families := range all {
		carrying, overflow := a.Carrying[policy], [2][]string{}
		for _, f := range failover.Families {
			o := families[f.String()]
			if len(o.To) > 0 && len(o.From) > 0 && slices.Equal(slices.Sorted(slices.Values(carrying[f])), slices.Sorted(slices.Values(o.To))) {
				carrying[f], overflow[f] = o.From, o.To
			}
		}
		a.Carrying[policy], a.Overflow[policy] = carrying, overflow
	}
}

// renamed returns the same under new names.
func (all overflows) renamed(uplinks, policies map[string]string) overflows {
	if len(all) == 0 {
		return all
	}
	now := func(list []string) []string {
		list = slices.Clone(list)
		for i, name := range list {
			for anew, was := range uplinks {
				if was == name {
					list[i] = anew
				}
			}
		}
		return list
	}
	out := overflows{}
	for policy, families := range rekeyed(all, policies) {
		out[policy] = map[string]overflown{}
		for family, o := range families {
			out[policy][family] = overflown{From: now(o.From), To: now(o.To)}
		}
	}
	return out
}

// rateOf returns the rate of an uplink for the status; nil where none is configured.
func rateOf(s setup, uplink string) *control.Rate {
	for _, u := range s.engine.Uplinks {
		if u.Name == uplink && u.Rate != (failover.Rate{}) {
			return control.RateOf(u.Rate)
		}
	}
	return nil
}
