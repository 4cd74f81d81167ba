package failover

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// Overflow: while the uplinks that carry a policy are full, its new flows go to the
// next tier. The first rung stays what it is, so that this is no switch: it only is not
// the first of the ladder meanwhile.

const (
	// loadSpan is the time over which a load is measured.
	loadSpan = time.Second
	// fullAfter is how long the load must reach the limit for its tier to be full.
	fullAfter = 2 * time.Second
	// overflowMargin is how far below the limit the load must be, and spaceAfter for how
	// long, until the tier is full no more.
	overflowMargin = 0.15
	spaceAfter     = 10 * time.Second
	// loadStale is the age from which on a load says nothing about now, loadForgotten
	// that from which on a tier of which nothing is measured is full no more.
	loadStale     = 2 * time.Second
	loadForgotten = 30 * time.Second
	// busySpan is the least time over which a load shows that a line is at work at this
	// moment, and busyBits the least that a line carries in it, a few full frames.
	// busyFor is how long after that its queue still explains a silence: flows that have
	// filled it all at once wait before they send again what it had no room for.
	busySpan = 60 * time.Millisecond
	busyBits = 8 * 1500 * 8
	busyFor  = 300 * time.Millisecond
	// signOfLife is the share of what is sent that must be received at least while a
	// line works: acknowledgements are a fiftieth, broadcasts of a dead network nothing.
	signOfLife = 1.0 / 200
	// aliveShare is the share of its rate from which on a line is nearly full.
	aliveShare = 0.7
	// leastReading is the time between two readings of which the second counts.
	leastReading = 10 * time.Millisecond
)

// reading is an interface's byte counters at an instant.
type reading struct {
	at     Instant
	rx, tx uint64
}

// meter measures the load of an uplink's line, in both families together.
type meter struct {
	// readings, oldest first: the last one that is older than loadSpan, and those after it.
	readings []reading
	// busyAt is when the line was last nearly full and at work; 0 for never.
	busyAt Instant
}

// add adds a reading. Counters that go back are those of another interface.
func (m *meter) add(r reading) {
	if n := len(m.readings); n > 0 {
		last := m.readings[n-1]
		if r.rx < last.rx || r.tx < last.tx {
			m.readings = m.readings[:0]
		} else if r.at < last.at+leastReading {
			return
		}
	}
	m.readings = append(m.readings, r)
	old := 0
	for old+1 < len(m.readings) && m.readings[old+1].at <= r.at-loadSpan {
		old++
	}
	m.readings = slices.Delete(m.readings, 0, old)
}

// load is what an uplink carries, in bits a second; known is false while it is not
// measured.
type load struct {
	down, up float64
	known    bool
}

// since returns the load since the reading with an index.
func (m *meter) since(i int) load {
	last, first := m.readings[len(m.readings)-1], m.readings[i]
	span := (last.at - first.at).Seconds()
	return load{8 * float64(last.rx-first.rx) / span, 8 * float64(last.tx-first.tx) / span, true}
}

// load returns the present load.
func (m *meter) load(now Instant) load {
	n := len(m.readings)
	if n < 2 || m.readings[n-1].at-m.readings[0].at < loadSpan || now > m.readings[n-1].at+loadStale {
		return load{}
	}
	return m.since(0)
}

// busy reports whether the line carries nearly its rate by the last readings, and
// something comes back by it: it works.
func (m *meter) busy(rate Rate) bool {
	n := len(m.readings)
	if n < 2 {
		return false
	}
	span := max(busySpan, min(loadSpan, time.Duration(busyBits*float64(time.Second)/float64(max(rate.Down, rate.Up)))))
	i := n - 2
	for i > 0 && m.readings[i].at > m.readings[n-1].at-span {
		i--
	}
	l := m.since(i)
	full := rate.Down > 0 && l.down >= aliveShare*float64(rate.Down) || rate.Up > 0 && l.up >= aliveShare*float64(rate.Up)
	return full && l.down > 0 && l.down >= signOfLife*l.up
}

// fill is how full a tier of a policy is.
type fill struct {
	// share is the load of its live uplinks by their rates, in the direction where it is
	// greater, as last measured, at the instant at; never for not at all.
	share float64
	up    bool
	at    Instant
	// full, and since when the load says otherwise; never while it does not.
	full    bool
	crossed Instant
	// queued is when the load was last so high that its own queue explains what is slow
	// or lost on the line.
	queued Instant
}

// noFill is that of a tier of which nothing is known.
var noFill = fill{at: never, crossed: never, queued: never}

// note judges a new measurement, and reports whether the tier has become full or is so no
// more.
func (f *fill) note(now Instant, share float64, up bool, limit float64) bool {
	f.share, f.up, f.at = share, up, now
	if share >= limit || share >= limit-overflowMargin && f.full {
		f.queued = now
	}
	against, wait := share >= limit, fullAfter
	if f.full {
		against, wait = share < limit-overflowMargin, spaceAfter
	}
	switch {
	case !against:
		f.crossed = never
	case f.crossed == never:
		f.crossed = now
	case now >= f.crossed+wait:
		f.full, f.crossed = !f.full, never
		return true
	}
	return false
}

// fillNow makes the tier full.
func (f *fill) fillNow(now Instant) {
	f.full, f.crossed, f.queued = true, never, now
	f.at = max(f.at, now-loadForgotten+spaceAfter) // until it is measured, or for ten seconds
}

// postpone moves its instants by a pause of this machine.
func (f *fill) postpone(by time.Duration) {
	for _, at := range []*Instant{&f.at, &f.crossed, &f.queued} {
		if *at != never {
			*at += by
		}
	}
}

// spill is the overflow of one ladder.
type spill struct {
	// fills are those of the policy's own tiers, in their order.
	fills []fill
	// to is where new flows go instead of the first rung; empty for nowhere.
	to []Share
	// from is what was full when it last changed, reason why new flows go there.
	from   []string
	reason string
}

// fill returns how full an own tier is; nil for none.
func (sp *spill) fill(tier int) *fill {
	if tier < 0 || tier >= len(sp.fills) {
		return nil
	}
	return &sp.fills[tier]
}

// isFull reports whether an own tier is full.
func (sp *spill) isFull(tier int) bool { f := sp.fill(tier); return f != nil && f.full }

// queues reports whether what is slow or lost on a candidate's line may be the queue of its
// own traffic: its tier was full within the time that its window covers.
func (sp *spill) queues(now Instant, k *candidate) bool {
	f := sp.fill(k.tier)
	if !k.own || f == nil || f.queued == never {
		return false
	}
	covered := max(k.up.cfg.Health.Window, k.path.window.reach(now))
	return now < f.queued+k.up.cfg.Probe.LostAfter+covered+k.up.cfg.Probe.Interval
}

// reconfigure follows the policy's tiers. Those that have the same uplinks stay as full as
// they were.
func (sp *spill) reconfigure(before, after []member, tiers int, overflows bool) {
	old := sp.fills
	sp.fills = nil
	if !overflows {
		return
	}
	for tier := range tiers {
		of := func(ms []member) (us []*uplink) {
			for _, m := range ms {
				if m.own && m.tier == tier {
					us = append(us, m.up)
				}
			}
			return us
		}
		f := noFill
		if tier < len(old) && slices.Equal(of(before), of(after)) {
			f = old[tier]
		}
		sp.fills = append(sp.fills, f)
	}
}

// count takes the counters of an interface. While they show that the line is nearly full
// and works, the silence of its probes ends no session, within the bounds of what is
// heard of flows: their answers wait in the queue, or have no room there.
func (u *uplink) count(now Instant, c Count) {
	if u.cfg.Rate == (Rate{}) {
		return
	}
	u.meter.add(reading{now, c.Rx, c.Tx})
	if u.meter.busy(u.cfg.Rate) {
		u.meter.busyAt = now
		for _, f := range Families {
			u.paths[f].heard = max(u.paths[f].heard, now)
		}
	}
}

// measure judges how full the tiers of each policy are, after a reading of the counters.
func (s *selector) measure(t *turn) {
	for _, pol := range s.policies {
		if pol.cfg.Overflow == 0 {
			continue
		}
		for _, f := range Families {
			c := &pol.family[f]
			for tier := range c.spill.fills {
				share, up, known := s.loadOf(t.now, c, tier)
				if known && c.spill.fills[tier].note(t.now, share, up, pol.cfg.Overflow) {
					t.reselect = true
				}
			}
			// A silent line is kept only while it is busy.
			t.reselect = t.reselect || slices.ContainsFunc(slices.Concat(c.first, c.spill.to), func(share Share) bool {
				return rankOf(s.uplinks.path(share.Uplink, f)).silent()
			})
		}
	}
}

// loadOf returns the load of an own tier's live uplinks as a share of their rates, in the
// direction where it is greater.
func (s *selector) loadOf(now Instant, c *choice, tier int) (share float64, up, known bool) {
	var carried, rate [2]float64 // down and up
	for _, m := range s.liveIn(c, tier) {
		l := m.up.meter.load(now)
		if !l.known {
			continue
		}
		if r := m.up.cfg.Rate.Down; r > 0 {
			carried[0], rate[0] = carried[0]+l.down, rate[0]+float64(r)
		}
		if r := m.up.cfg.Rate.Up; r > 0 {
			carried[1], rate[1] = carried[1]+l.up, rate[1]+float64(r)
		}
	}
	for i := range rate {
		if rate[i] == 0 {
			continue
		}
		if of := carried[i] / rate[i]; !known || of > share {
			share, up, known = of, i == 1, true
		}
	}
	return share, up, known
}

// liveIn returns the uplinks of an own tier that take new flows, or would: those of the
// first rung where it is theirs.
func (s *selector) liveIn(c *choice, tier int) []member {
	var carrying, live []member
	for _, m := range c.policy.members[c.family] {
		if !m.own || m.tier != tier {
			continue
		}
		p := &m.up.paths[c.family]
		switch {
		case contains(c.first, m.up.cfg.Name):
			carrying = append(carrying, m)
		case p.routable() && rankOf(p).answers() && !s.drain(m.up.cfg.Name).set:
			live = append(live, m)
		}
	}
	if len(carrying) > 0 {
		return carrying
	}
	return live
}

// answersIn reports whether an uplink of an own tier answers, or carries all the same.
func (c *choice) answersIn(tier int) bool {
	return slices.ContainsFunc(c.policy.members[c.family], func(m member) bool {
		p := &m.up.paths[c.family]
		return m.own && m.tier == tier && (contains(c.first, m.up.cfg.Name) || p.routable() && rankOf(p).answers())
	})
}

// isQueueing reports whether an uplink of the policy is shunned, and was nearly full and at
// work a moment ago.
func (k *candidate) isQueueing(now Instant) bool {
	busyAt := k.up.meter.busyAt
	return k.own && k.rank == rankShunned && !k.path.gap.open && busyAt > 0 && now < busyAt+busyFor
}

// isQueue reports whether the silence of shunned uplinks is the queue of their own
// traffic: the policy can overflow, and they are full and work at this moment.
func (s *selector) isQueue(t *turn, c *choice, bad []*candidate) bool {
	if c.policy.cfg.Overflow == 0 || slices.ContainsFunc(bad, func(k *candidate) bool { return !k.isQueueing(t.now) }) {
		return false
	}
	for _, k := range bad {
		if f := c.spill.fill(k.tier); f != nil {
			f.fillNow(t.now)
		}
	}
	s.due = min(s.due, t.now+busyFor)
	return true
}

// overflow selects where new flows go instead of a full first rung, and records a change.
func (s *selector) overflow(t *turn, c *choice) {
	for tier := range c.spill.fills {
		if !c.answersIn(tier) {
			c.spill.fills[tier] = noFill // what it carried is gone when it is back
		}
	}
	to, reason := s.overflowTo(t, c)
	before := c.spill.to
	c.spill.to, c.spill.reason = to, reason
	for _, k := range c.candidates {
		switch name := k.up.cfg.Name; {
		case contains(to, name):
			k.standing = carrying
		case len(to) > 0 && contains(c.first, name):
			k.standing = overflowing
		}
	}
	if len(to) == len(before) && sameUplinks(to, before) {
		return
	}
	change := &OverflowChange{
		Policy: c.policy.cfg.Name, Family: c.family, From: names(c.first), To: names(to), Limit: c.policy.cfg.Overflow,
		Reason: reason, Generation: s.nextGeneration(),
	}
	switch {
	case len(before) == 0:
		change.Phase = OverflowBegins
	case len(to) > 0:
		change.Phase = OverflowChanges
	default:
		change.Phase = OverflowEnds
		if len(c.first) > 0 && !sameNames(c.spill.from, c.first) {
			change.Reason = and(c.first) + verb(c.first, " carries", " carry") + " in place of " + strings.Join(c.spill.from, " and ")
		}
	}
	c.spill.from = change.From
	for tier := range c.spill.fills {
		if f := &c.spill.fills[tier]; f.at != never && t.now < f.at+loadStale {
			l := TierLoad{Share: f.share, Up: f.up, Full: f.full}
			for _, m := range s.liveIn(c, tier) {
				l.Uplinks = append(l.Uplinks, m.up.cfg.Name)
			}
			change.Loads = append(change.Loads, l)
		}
	}
	t.record(Record{Overflow: change})
}

// overflowTo returns where new flows go instead of the first rung, and why; none for
// nowhere. It is the first tier after that which answers and is not full; where all of
// these are full as well, all share the load by their rates.
func (s *selector) overflowTo(t *turn, c *choice) ([]Share, string) {
	pol := c.policy
	if pol.cfg.Overflow == 0 {
		return nil, "the policy does not overflow any more"
	}
	first := c.presentOf(c.first)
	if len(first) == 0 {
		return nil, "no uplink carries"
	}
	tier := first[0].tier
	for _, k := range first {
		tier = min(tier, k.tier)
		switch {
		case !k.own:
			return nil, k.up.cfg.Name + " carries, of another policy"
		case pol.pin.set && pol.pin.uplink == k.up.cfg.Name:
			return nil, "switched to " + k.up.cfg.Name + " by the operator"
		}
	}
	f := c.spill.fill(tier)
	if f == nil {
		return nil, "the tiers have changed"
	}
	if f.full && t.now >= f.at+loadForgotten {
		f.full, f.crossed = false, never
		return nil, "the load of " + and(c.first) + " is not known any more"
	}
	if !f.full {
		return nil, and(c.first) + verb(c.first, " carries ", " carry ") + percent(f.share) + " of " +
			verb(c.first, "its rate", "their rates") + ", under " + percent(pol.cfg.Overflow-overflowMargin)
	}
	s.due = min(s.due, f.at+loadForgotten)
	reason := whyFull(t.now, c, f)
	all := slices.Clone(first)
	for next := tier + 1; next < len(c.spill.fills); next++ {
		ready, waits := s.takers(t, c, next)
		switch {
		case len(ready) == 0 && waits:
			return s.stillTaking(t.now, c), reason // until it has answered, or is late
		case len(ready) == 0:
		case !c.spill.isFull(next):
			return shares(ready), reason + c.passedOver(all[len(first):], tier, next)
		default:
			all = append(all, ready...)
		}
	}
	if len(all) == len(first) {
		return nil, "no other tier can take more"
	}
	return byRate(all), reason + c.passedOver(all[len(first):], tier, len(c.spill.fills))
}

// passedOver says which live uplinks of the policy's own tiers between two do not take what
// overflows: those that are full themselves, and metered ones.
func (c *choice) passedOver(full []*candidate, after, before int) (text string) {
	var metered []Share
	for _, k := range c.candidates {
		if k.own && k.tier > after && k.tier < before && k.rank.answers() && k.up.cfg.Metered && !c.policy.cfg.OverflowMetered {
			metered = append(metered, k.share)
		}
	}
	if others := shares(full); len(others) > 0 {
		text = "; " + and(others) + verb(others, " is", " are") + " full"
	}
	if len(metered) > 0 {
		text += "; " + and(metered) + verb(metered, " is", " are") + " metered"
	}
	return text
}

// whyFull is why the first rung is full.
func whyFull(now Instant, c *choice, f *fill) string {
	limit := c.policy.cfg.Overflow
	if f.queued == now && f.share < limit {
		return and(c.first) + verb(c.first, " is", " are") + " full: the answers to probes wait in a queue"
	}
	text := and(c.first) + verb(c.first, " carries ", " carry ") + percent(f.share) + " of " +
		verb(c.first, "its rate ", "their rates ") + direction(f.up)
	if f.share < limit {
		return text + " after more than " + percent(limit)
	}
	return text + ", limit " + percent(limit)
}

// takers returns the uplinks of an own tier that can take what overflows. waits: one of
// them has to answer first.
func (s *selector) takers(t *turn, c *choice, tier int) (ready []*candidate, waits bool) {
	for _, k := range c.candidates {
		if k.tier != tier || !s.mayTake(t.now, c, k) {
			continue
		}
		switch {
		case contains(c.spill.to, k.up.cfg.Name):
		case k.path.state == Suspect:
			k.standing, waits, s.awaitsProof = doubtful, true, true
			continue
		case !k.path.provenSince(t.now - freshProof - k.path.targets.slowest(k.up.cfg.Probe.LostAfter)):
			k.path.startBurst(t)
			k.standing, waits, s.awaitsProof = unproven, true, true
			continue
		}
		ready = append(ready, k)
	}
	slices.SortStableFunc(ready, func(a, b *candidate) int { return cmp.Compare(a.up.index, b.up.index) })
	return ready, waits
}

// mayTake reports whether a candidate of a later tier may take what overflows: it
// answers, and neither its state nor the operator nor its price is against it.
func (s *selector) mayTake(now Instant, c *choice, k *candidate) bool {
	if !k.own || contains(c.first, k.up.cfg.Name) || s.drain(k.up.cfg.Name).set || k.up.cfg.Metered && !c.policy.cfg.OverflowMetered {
		return false
	}
	switch k.rank {
	case rankUp:
		return true
	case rankRecovering:
		return !isDamped(k.path)
	case rankDegraded:
		return c.spill.queues(now, k)
	case rankUnknown:
		return contains(c.spill.to, k.up.cfg.Name) // it was adopted, or cannot be asked
	case rankShunned:
		if !contains(c.spill.to, k.up.cfg.Name) || !k.isQueueing(now) {
			return false
		}
		s.due = min(s.due, now+busyFor)
		return true
	case rankDown, rankCut:
		return false
	}
	panic("failover: unknown rank")
}

// stillTaking returns those of the uplinks that take what overflows that still may.
func (s *selector) stillTaking(now Instant, c *choice) []Share {
	to := slices.DeleteFunc(slices.Clone(c.spill.to), func(share Share) bool {
		return !contains(c.first, share.Uplink) && !slices.ContainsFunc(c.candidates, func(k *candidate) bool {
			return k.up.cfg.Name == share.Uplink && s.mayTake(now, c, k)
		})
	})
	if !slices.ContainsFunc(to, func(share Share) bool { return !contains(c.first, share.Uplink) }) {
		return nil
	}
	return to
}

// byRate returns shares by the uplinks' rates: of the first direction in which all are
// known, else by their weights.
func byRate(ks []*candidate) []Share {
	all := shares(ks)
	for _, rate := range []func(Rate) uint64{func(r Rate) uint64 { return r.Down }, func(r Rate) uint64 { return r.Up }} {
		most, known := uint64(0), true
		for _, k := range ks {
			r := rate(k.up.cfg.Rate)
			most, known = max(most, r), known && r > 0
		}
		if !known {
			continue
		}
		for i, k := range ks {
			all[i].Weight = max(1, int(math.Round(255*float64(rate(k.up.cfg.Rate))/float64(most))))
		}
		break
	}
	return all
}

// presentOf returns the candidates of some shares.
func (c *choice) presentOf(shares []Share) []*candidate {
	var ks []*candidate
	for _, share := range shares {
		for _, k := range c.candidates {
			if k.up.cfg.Name == share.Uplink {
				ks = append(ks, k)
			}
		}
	}
	return ks
}

// adoptOverflow continues with an overflow of an earlier run.
func (c *choice) adoptOverflow(now Instant, to []string) {
	for _, m := range c.policy.members[c.family] {
		if slices.Contains(to, m.up.cfg.Name) {
			c.spill.to = append(c.spill.to, m.share)
		}
	}
	if len(c.spill.to) == 0 {
		return
	}
	c.spill.from = names(c.first)
	all := c.spill.together(c.first)
	for _, m := range c.policy.members[c.family] {
		if f := c.spill.fill(m.tier); m.own && f != nil && (all || contains(c.first, m.up.cfg.Name)) {
			f.fillNow(now)
		}
	}
}

// together reports whether the first rung is full and takes new flows all the same, as
// are those that share them with it.
func (sp *spill) together(first []Share) bool {
	return slices.ContainsFunc(first, func(share Share) bool { return contains(sp.to, share.Uplink) })
}

// postponeLoads moves what is measured by a pause of this machine. The counters went on in it,
// and a load is taken over the time that passed between two readings.
func postponeLoads(policies []*policy, by time.Duration) {
	for _, pol := range policies {
		for _, f := range Families {
			for tier := range pol.family[f].spill.fills {
				pol.family[f].spill.fills[tier].postpone(by)
			}
		}
	}
}

// direction names one in words.
func direction(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// and lists uplinks: "fiber, cable and lte".
func and(shares []Share) string {
	list := names(shares)
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
	return strings.Join(list, "")
}

// verb returns a word for one uplink, or that for several.
func verb(shares []Share, one, several string) string {
	if len(shares) > 1 {
		return several
	}
	return one
}
