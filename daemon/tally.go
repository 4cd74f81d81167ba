package daemon

import (
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// SessionCounts are the packet filter's counts of what became of flows.
type SessionCounts struct {
	// Lanes are the counts by uplink; nil where they cannot be read.
	Lanes map[lane.Lane]SessionCount
	// Graced counts the TCP segments that were answered with a reset, and belong to no
	// flow any more.
	Graced uint64
	// Handshakes are those of TCP, by uplink and family.
	Handshakes map[lane.Lane][2]control.Handshakes
}

// SessionCount are those of an uplink, as in firewall.Counters.
type SessionCount struct {
	Moved, Reset uint64
	// Began are by family.
	Began [2]uint64
}

// tally is what became of an uplink's sessions since the start.
type tally struct {
	moved, reset, poked, destroyed uint64
	// elsewhere are the flows that began on others during shunnings that turned out to be
	// stalls.
	elsewhere float64
	// uncounted: some were moved that were not counted.
	uncounted bool
	// seen is what the packet filter had counted when it was last read; read is whether it
	// could be, counted whether it ever was.
	seen    SessionCount
	read    bool
	counted bool
	// ended are the shunnings that are over since then, by family.
	ended [2]*shunEnd
	// untold is what the packet filter has counted and no event has told; told is when one
	// last did.
	untold SessionCount
	told   time.Time
}

// shunEnd is the end of a shunning.
type shunEnd struct {
	// stall: it was no outage. share is the part of the new flows of those policies which
	// left that the uplink carried before.
	stall bool
	share float64
}

// toldEvery bounds how often an event tells what became of an uplink's sessions, since a
// client that slept has its reset when it wakes up.
const toldEvery = time.Minute

// tallyOf returns an uplink's tally. The caller holds the lock.
func (c *counters) tallyOf(uplink string) *tally {
	t := c.tallies[uplink]
	if t == nil {
		t = &tally{}
		c.tallies[uplink] = t
	}
	return t
}

// dealtWith adds what was done about an uplink's sessions.
func (c *counters) dealtWith(uplink string, poked, destroyed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallyOf(uplink)
	t.poked, t.destroyed = t.poked+uint64(poked), t.destroyed+uint64(destroyed)
}

// deleted adds the flows of an uplink whose entries were deleted, if they were counted.
func (c *counters) deleted(uplink string, flows int, counted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallyOf(uplink)
	t.moved, t.uncounted = t.moved+uint64(flows), t.uncounted || !counted
}

// graces has the resets of flows that the kernel knows no more count as those of an uplink,
// the one that was lost last.
func (c *counters) graces(uplink string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.graced = uplink
}

// unshunned has the flows counted that began elsewhere while an uplink was shunned, or
// left out if that was no stall.
func (c *counters) unshunned(uplink string, f failover.Family, e shunEnd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tallyOf(uplink).ended[f] = &e
}

// noteSessions adds what the packet filter has counted since it was last read, and returns
// the events that tell of it: as soon as nothing more comes.
func (c *counters) noteSessions(counts SessionCounts, now time.Time) (tell []control.SessionsDetail) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handshakes = counts.Handshakes
	for name, n := range c.lanes {
		t := c.tallyOf(name)
		t.read = counts.Lanes != nil
		if !t.read {
			continue
		}
		before := t.untold
		t.count(counts.Lanes[n])
		if grown := grown(c.gracedSeen, counts.Graced); c.counted && name == c.graced {
			t.reset, t.untold.Reset = t.reset+grown, t.untold.Reset+grown
		}
		if t.untold == before && t.untold != (SessionCount{}) && now.Sub(t.told) >= toldEvery {
			tell = append(tell, t.tells(name))
			t.untold, t.told = SessionCount{}, now
		}
	}
	if counts.Lanes != nil {
		c.counted, c.gracedSeen = true, counts.Graced
	}
	return tell
}

// count adds what was counted since the last reading, if there was one.
func (t *tally) count(now SessionCount) {
	if t.counted {
		moved, reset := grown(t.seen.Moved, now.Moved), grown(t.seen.Reset, now.Reset)
		t.moved, t.reset = t.moved+moved, t.reset+reset
		t.untold.Moved, t.untold.Reset = t.untold.Moved+moved, t.untold.Reset+reset
	}
	t.seen.Moved, t.seen.Reset = now.Moved, now.Reset
	for f, e := range t.ended {
		switch {
		case e != nil:
			if e.stall {
				t.elsewhere += e.share * float64(grown(t.seen.Began[f], now.Began[f]))
			}
			t.seen.Began[f], t.ended[f] = now.Began[f], nil
		case !t.counted:
			t.seen.Began[f] = now.Began[f]
		}
	}
	t.counted = true
}

// tells returns the event about what no event has told.
func (t *tally) tells(uplink string) control.SessionsDetail {
	d := control.SessionsDetail{Action: "settled", Uplink: uplink, Reason: "by the kernel's count since its sessions had to leave"}
	d.Moved, d.Reset = positive(t.untold.Moved), positive(t.untold.Reset)
	return d
}

// positive is a count for an event; nil for none.
func positive[N int | uint64](n N) *int64 {
	if n == 0 {
		return nil
	}
	return new(int64(n))
}

// grown is by how much a counter has grown; one that is smaller than before began anew.
func grown(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// sessions returns what became of an uplink's sessions. The caller holds the lock.
func (c *counters) sessions(uplink string) (s control.Sessions, elsewhere *uint64) {
	t := tally{}
	if known := c.tallies[uplink]; known != nil {
		t = *known
	}
	s = control.Sessions{Poked: &t.poked, Destroyed: &t.destroyed}
	if !t.read {
		return s, nil
	}
	s.Reset = &t.reset
	if !t.uncounted {
		s.Moved = &t.moved
	}
	return s, new(uint64(t.elsewhere + 0.5))
}

// sessionCounts returns what the packet filter has counted.
func sessionCounts(c firewall.Counters) SessionCounts {
	out := SessionCounts{Lanes: map[lane.Lane]SessionCount{}, Graced: c.Graced.Packets, Handshakes: map[lane.Lane][2]control.Handshakes{}}
	for n := range c.Flows {
		var h [2]control.Handshakes
		for f := range h {
			h[f] = control.Handshakes{Begun: c.Begun[n][f].Packets, Again: c.Again[n][f].Packets, Finished: c.Finished[n][f].Packets}
		}
		out.Handshakes[n] = h
		began := c.Began[n]
		out.Lanes[n] = SessionCount{c.Moved[n].Packets, c.Reset[n].Packets, [2]uint64{began[0].Packets, began[1].Packets}}
	}
	return out
}
