package main

import (
	"slices"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/target"
	"swerve/testenv/simulator"
)

// settling is how long a world is played before anything counts.
const settling = time.Minute

// outage is a black-hole beyond the primary's gateway.
type outage struct{ from, to failover.Instant }

// observer counts what happens in a world.
type observer struct {
	world *simulator.World
	last  failover.Instant
	// entered counts how often the primary entered a state, by family, without the
	// returns from a suspicion or a shunning.
	entered [2][failover.Recovering + 1]int
	// away: new flows do not go by the primary; elsewhere sums for how long, needless for
	// how long it worked meanwhile.
	away                [2]bool
	elsewhere, needless time.Duration
	// size has the bytes of a probe and its answer by family and target, bytes their sums.
	size  [2]map[string]int
	bytes map[string]int
	// outages are those to come. timed: of the present one, new flows have not left yet;
	// pending: neither have sessions.
	outages        []outage
	begun          bool
	timed, pending [2]bool
	// left is how soon new flows left, released sessions. One that was over before that
	// counts with its length.
	left, released []time.Duration
}

func newObserver(script simulator.Script, outages []outage) (*observer, error) {
	c, problems := config.Parse("script", []byte(script.Config))
	if len(problems) > 0 {
		return nil, problems[0]
	}
	o := &observer{outages: outages, bytes: map[string]int{}}
	for _, f := range failover.Families {
		o.size[f] = map[string]int{}
		for _, u := range c.Uplinks {
			for _, t := range u.TargetsIn(f) {
				o.size[f][t.Text] = target.WireBytes(t, f)
			}
		}
	}
	return o, nil
}

// see is called after each step of the engine.
func (o *observer) see(_ *failover.Engine, at failover.Instant, _ failover.Event, out failover.Output) {
	for o.last < at {
		o.pass(at)
	}
	if at < settling {
		o.follow(at, out.Intent)
		return
	}
	for _, p := range out.Probes {
		o.bytes[p.Uplink] += o.size[p.Family][p.Target]
	}
	for _, r := range out.Records {
		h := r.Health
		if h == nil || h.Uplink != primary {
			continue
		}
		doubted := h.From == failover.Suspect || h.From == failover.Shunned
		if !doubted || h.To == failover.Shunned || h.To == failover.Down {
			o.entered[h.Family][h.To]++
		}
	}
	o.follow(at, out.Intent)
}

// pass lets time pass until an instant, under the conditions of before its step.
func (o *observer) pass(at failover.Instant) {
	for _, f := range failover.Families {
		if o.away[f] && o.last >= settling {
			o.elsewhere += at - o.last
			if o.world.Works(primary, f) {
				o.needless += at - o.last
			}
		}
	}
	o.last = at
	if len(o.outages) == 0 || at < o.outages[0].from {
		return
	}
	for _, f := range failover.Families {
		if !o.begun {
			o.timed[f], o.pending[f] = !o.away[f], !o.away[f]
		}
	}
	o.begun = true
	if now := o.outages[0]; at >= now.to {
		for _, f := range failover.Families {
			o.leave(f, true, true, now.to-now.from)
		}
		o.outages, o.begun = o.outages[1:], false
	}
}

// follow takes over where new flows and sessions go.
func (o *observer) follow(at failover.Instant, in *failover.Intent) {
	if in == nil {
		return
	}
	for _, f := range failover.Families {
		l := in.Policies[0].Family[f]
		o.away[f] = len(l.Rungs) > 0 && !slices.ContainsFunc(l.Rungs[0].Shares, func(s failover.Share) bool { return s.Uplink == primary })
		if o.begun {
			o.leave(f, o.away[f], slices.Contains(l.Lost, primary), at-o.outages[0].from)
		}
	}
}

// leave notes that new flows or sessions have left so long after the start of an outage.
func (o *observer) leave(f failover.Family, flows, sessions bool, after time.Duration) {
	if flows && o.timed[f] {
		o.left, o.timed[f] = append(o.left, after), false
	}
	if sessions && o.pending[f] {
		o.released, o.pending[f] = append(o.released, after), false
	}
}
