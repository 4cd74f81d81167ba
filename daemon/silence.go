package daemon

import (
	"slices"

	"swerve/failover"
	"swerve/firewall"
)

// silences are what has to be known of uplinks that do not answer, beside the engine's
// intent. The loop owns them.
type silences struct {
	// onsets are the first signs of those that are down.
	onsets map[path]failover.Instant
	// degraded are those that answer, over a limit.
	degraded map[path]bool
	// shunned are the pairs whose new flows each uplink had when it was shunned, and the part
	// of them, on average.
	shunned map[path]shunning
}

type path struct {
	uplink string
	family failover.Family
}

type shunning struct {
	pairs []firewall.Pair
	share float64
}

func newSilences() silences {
	return silences{onsets: map[path]failover.Instant{}, degraded: map[path]bool{}, shunned: map[path]shunning{}}
}

// pairs returns the pairs of the uplinks that are shunned, by family.
func (s silences) pairs() (out [2][]firewall.Pair) {
	for p, now := range s.shunned {
		out[p.family] = append(out[p.family], now.pairs...)
	}
	return out
}

// onset returns the first sign of the loss of an uplink that is down.
func (s silences) onset(uplink string, f failover.Family) (failover.Instant, bool) {
	at, known := s.onsets[path{uplink, f}]
	return at, known
}

// followSilence follows which uplinks are silent, from the engine's decisions, which are not
// carried out yet.
func (l *loop) followSilence(records []failover.Record) {
	e := l.enforcer
	for _, r := range records {
		h := r.Health
		if h == nil {
			continue
		}
		at := path{h.Uplink, h.Family}
		switch {
		case h.To != failover.Down:
			delete(e.silences.onsets, at)
		case h.Evidence >= 0:
			e.silences.onsets[at] = r.At - h.Evidence - h.Paused
		}
		if h.To != failover.Suspect && h.To != failover.Shunned {
			e.silences.degraded[at] = h.To == failover.Degraded
		}
		if h.From == failover.Shunned {
			l.reporter.counters.unshunned(h.Uplink, h.Family, shunEnd{h.To != failover.Down, e.silences.shunned[at].share})
			delete(e.silences.shunned, at)
			e.stale = true
		}
		if h.To == failover.Shunned && l.intent != nil {
			e.silences.shunned[at] = l.setup.carriedBy(h.Uplink, h.Family, l.intent)
			e.stale = true
		}
	}
	e.kernel.shunned = e.silences.pairs()
}

// carriedBy returns the pairs whose new flows an uplink has by an intent, and how much of
// them.
func (s setup) carriedBy(uplink string, f failover.Family, in *failover.Intent) (out shunning) {
	for _, p := range in.Policies {
		if len(p.Family[f].Rungs) == 0 {
			continue
		}
		shares, all := p.Family[f].Rungs[0].Shares, 0
		for _, share := range shares {
			all += share.Weight
		}
		i := slices.IndexFunc(shares, func(share failover.Share) bool { return share.Uplink == uplink })
		if i >= 0 && all > 0 {
			out.share = (out.share*float64(len(out.pairs)) + float64(shares[i].Weight)/float64(all)) / float64(len(out.pairs)+1)
			out.pairs = append(out.pairs, s.pair(uplink, p.Policy))
		}
	}
	return out
}
