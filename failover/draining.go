package failover

import (
	"slices"
	"time"
)

// departure is an uplink that was left for a preferred one, where the configuration drains
// what stays on it: its sessions may go on for a time, and move then. That is a failback,
// whatever the switch is called: also where the preferred one answers a moment after the
// start, or the other one fails just then. It ends as soon as the uplink gets new flows of
// the policy again, unless that is for a stall, and when the operator drains it, which moves
// nothing.
type departure struct {
	uplink string
	since  Instant
	// over: the time has passed, and its sessions have to move.
	over bool
}

// staysFor returns for how long sessions stay on an uplink that a failback has left. It
// reports false where they stay until they are done.
func staysFor(s *selector, u *uplink) (time.Duration, bool) {
	on := s.sessions.OnFailback
	return on.After, on.Move && u != nil && u.cfg.Enabled && (u.cfg.Metered || !on.MeteredOnly)
}

// longestDetour is for how long an uplink can take new flows in place of a shunned one
// without the end of its own drain.
const longestDetour = 30 * time.Second

// leastCarried is how long an uplink must have carried at the start for what is on it to be
// from then: where uplinks answer one after the other at once, flows on it are older, and
// are there for reasons of their own.
const leastCarried = time.Second

// depart notes which uplinks a decision has left for preferred ones. Where the operator has
// them left there is no departure, unless it is a return.
func (c *choice) depart(now Instant, from []Share, d decision) {
	if d.asked && d.kind != failedBack || d.kind == placed && now < c.firstAnswer+leastCarried {
		return
	}
	for _, share := range from {
		known := slices.ContainsFunc(c.departures, func(d departure) bool { return d.uplink == share.Uplink })
		if !known && !contains(c.first, share.Uplink) && (d.kind == failedBack || c.isBehind(share.Uplink)) {
			c.departures = append(c.departures, departure{uplink: share.Uplink, since: now})
		}
	}
}

// isBehind reports whether an uplink is in a later tier than all that carry.
func (c *choice) isBehind(uplink string) bool {
	tier, last := -1, -1
	for _, m := range c.policy.members[c.family] {
		switch name := m.up.cfg.Name; {
		case name == uplink:
			tier = m.tier
		case contains(c.first, name):
			last = max(last, m.tier)
		}
	}
	return last >= 0 && tier > last
}

// stay ends the drains of an uplink that go on, so that its sessions stay.
func (pol *policy) stay(uplink string) {
	for _, f := range Families {
		c := &pol.family[f]
		c.departures = slices.DeleteFunc(c.departures, func(d departure) bool { return d.uplink == uplink && !d.over })
	}
}

// followDepartures ends those of uplinks to which new flows go again, or whose sessions
// the configuration lets stay, and has the sessions move of those whose time has passed,
// once what carries has answered since. While the preferred one may only be stalled the
// time runs on: each stall would begin it anew, and it might never end. What lasts longer
// than a detour is no stall, and what began meanwhile gets its whole time.
func followDepartures(s *selector, t *turn, c *choice) {
	kept := c.departures[:0:0]
	for _, d := range c.departures {
		u := s.uplinks.find(d.uplink)
		after, drains := staysFor(s, u)
		carries := contains(c.first, d.uplink) || contains(c.spill.to, d.uplink)
		switch end := d.since + after; {
		case !drains || !c.policy.has(d.uplink) || carries && (d.over || len(c.leftShunned) == 0 || t.now >= c.fledAt+longestDetour):
			continue
		case carries:
			s.due = min(s.due, c.fledAt+longestDetour)
		case d.over:
		case t.now < end:
			s.due = min(s.due, end)
		default:
			d.over = provenToCarry(s, t, c, end)
		}
		kept = append(kept, d)
	}
	c.departures = kept
}

// carriesOn reports whether all that carry a ladder answer.
func carriesOn(s *selector, c *choice) bool {
	return len(c.first) > 0 && !slices.ContainsFunc(c.first, func(share Share) bool {
		return !rankOf(s.uplinks.path(share.Uplink, c.family)).answers()
	})
}

// provenToCarry reports whether all that carry a ladder answer, probes sent since an instant
// included, and are under no suspicion. If not, they are asked, and the choice made again.
func provenToCarry(s *selector, t *turn, c *choice, since Instant) bool {
	proven := carriesOn(s, c)
	for _, share := range c.first {
		p := s.uplinks.path(share.Uplink, c.family)
		if p.state == Suspect || !p.provenSince(since) {
			p.startBurst(t)
			s.awaitsProof, proven = true, false
		}
	}
	return proven
}

// drained reports whether an uplink's drain after a failback is over.
func (c *choice) drained(uplink string) bool {
	return slices.ContainsFunc(c.departures, func(d departure) bool { return d.uplink == uplink && d.over })
}

// drainedAlive lists the lost uplinks that are not down, in the order of c.lost.
func (c *choice) drainedAlive() (names []string) {
	for _, m := range c.policy.members[c.family] {
		if name := m.up.cfg.Name; slices.Contains(c.lost, name) && c.drained(name) && m.up.paths[c.family].state != Down {
			names = append(names, name)
		}
	}
	return names
}

// adoptDepartures continues the drains of an earlier run. Sessions that it had moved, as
// it lost says, are not waited for again.
func adoptDepartures(s *selector, t *turn, c *choice, earlier []Departed, lost []string) {
	for _, e := range earlier {
		if after, drains := staysFor(s, s.uplinks.find(e.Uplink)); drains {
			since := t.now - max(0, e.Age)
			over := slices.Contains(lost, e.Uplink) && t.now >= since+after
			c.departures = append(c.departures, departure{uplink: e.Uplink, since: since, over: over})
		}
	}
}

// drainingUntil returns when the last drain of an uplink ends that goes on; 0 for none.
func drainingUntil(s *selector, u *uplink) (last Instant) {
	after, _ := staysFor(s, u)
	for _, pol := range s.policies {
		for _, f := range Families {
			for _, d := range pol.family[f].departures {
				if d.uplink == u.cfg.Name && !d.over {
					last = max(last, d.since+after)
				}
			}
		}
	}
	return last
}

// draining lists, for the view, what the sessions of a ladder are drained from.
func draining(s *selector, c *choice) []Draining {
	var all []Draining
	for _, d := range c.departures {
		after, _ := staysFor(s, s.uplinks.find(d.uplink))
		all = append(all, Draining{Uplink: d.uplink, Since: d.since, Until: d.since + after, Over: d.over})
	}
	return all
}
