package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/lane"
	"swerve/linkmon"
	"swerve/target"
)

// Under `uplinks: auto` an interface that holds a default route starts as a
// candidate: it is probed as any program would probe, without a mark or a rule of
// ours. It becomes an uplink once a target beyond its gateway has answered through
// it, since a LAN may hold a default route by mistake. Uplinks found this way are
// remembered: an outage often removes the default route as well, possibly before
// the machine boots.

const (
	// autoMost bounds the number of remembered interfaces: phones get a new
	// interface name each time they are plugged in.
	autoMost = 8
	// autoAge is how long an interface is remembered without holding a default
	// route.
	autoAge = 90 * 24 * time.Hour
	// autoFresh is how old the recorded time of an interface with a default route
	// may become: each update costs a write to a disk.
	autoFresh = 24 * time.Hour
)

// autoUplink is an interface that was accepted as an uplink.
type autoUplink struct {
	Interface string `json:"interface"`
	// Metric is the metric of the best default route that it last held; lower is
	// preferred.
	Metric int `json:"metric"`
	// Weight is its share of a default route that several interfaces share, 0 for
	// none.
	Weight int `json:"weight,omitempty"`
	// Family has the same for each family, of the best route that it last held there.
	Family [2]config.Place `json:"family"`
	// Last is the day on which it last held a default route, by the wall clock.
	Last time.Time `json:"last"`
}

// defaults are other programs' default routes in main, as far as a setup depends on
// them.
type defaults struct {
	// best has the best default route of each interface, the preferred one first.
	best []config.DefaultRoute
	// alone6 is the only interface with an IPv6 default route; empty if there is
	// none or more than one.
	alone6 string
}

func (d defaults) equal(o defaults) bool { return d.alone6 == o.alone6 && slices.Equal(d.best, o.best) }

func defaultsOf(now []linkmon.Default) defaults {
	d := defaults{best: defaultRoutes(now)}
	for _, r := range now {
		switch {
		case r.Family != failover.IPv6 || r.Interface == d.alone6:
		case d.alone6 != "":
			d.alone6 = ""
			return d
		default:
			d.alone6 = r.Interface
		}
	}
	return d
}

// defaultRoutes returns the best default route of each interface, in order of
// preference. Tunnels are left out: a VPN's default route is not an uplink, and
// kernel.foreign_defaults applies to it.
func defaultRoutes(now []linkmon.Default) []config.DefaultRoute {
	best := map[string]config.DefaultRoute{}
	for _, d := range now {
		if d.Encapsulates || d.Gatewayless || d.Tunnel {
			continue
		}
		metric := int(min(int64(d.Metric), math.MaxInt32)) // an int has 32 bits on some machines
		r, ok := best[d.Interface]
		if !ok || metric < r.Metric || metric == r.Metric && d.Weight > r.Weight {
			r.Interface, r.Metric, r.Weight = d.Interface, metric, d.Weight
		}
		r.Family[d.Family] = config.Place{Held: true, Metric: metric, Preference: d.Preference, Weight: d.Weight}
		best[d.Interface] = r
	}
	var out []config.DefaultRoute
	for _, d := range now { // the hops of a shared route in its order
		if b, ok := best[d.Interface]; ok {
			out = append(out, b)
			delete(best, d.Interface)
		}
	}
	slices.SortStableFunc(out, config.DefaultRoute.Compare)
	return out
}

// adoptAuto adds the interfaces that an earlier run's rules name, for a machine
// whose state file is lost. Their metrics are unknown, so they come last.
func adoptAuto(known []autoUplink, former map[string]lane.Lane, today time.Time) []autoUplink {
	for _, name := range slices.Sorted(maps.Keys(former)) {
		if !slices.ContainsFunc(known, func(a autoUplink) bool { return a.Interface == name }) && len(known) < autoMost {
			known = append(slices.Clone(known), autoUplink{Interface: name, Metric: math.MaxInt32, Last: storedTime(today)})
		}
	}
	return known
}

// refreshAuto returns the interfaces with their current metrics, the preferred one
// first, without those that have not held a default route for longer than autoAge.
func refreshAuto(known []autoUplink, now []config.DefaultRoute, today time.Time) []autoUplink {
	var out []autoUplink
	for _, a := range known {
		i := slices.IndexFunc(now, func(d config.DefaultRoute) bool { return d.Interface == a.Interface })
		switch {
		case i >= 0:
			a.Metric, a.Weight = now[i].Metric, now[i].Weight
			for f, place := range now[i].Family {
				if place.Held {
					a.Family[f] = place
				}
			}
			if age := today.Sub(a.Last); age < 0 || age >= autoFresh {
				a.Last = storedTime(today)
			}
		case today.Sub(a.Last) >= autoAge:
			continue
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b autoUplink) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), strings.Compare(a.Interface, b.Interface))
	})
	return out
}

// takeAuto adds an interface. If there is no room, it replaces the one that has not
// held a default route for longest; it reports false if all of them hold one.
func takeAuto(known []autoUplink, d config.DefaultRoute, now []config.DefaultRoute, today time.Time) ([]autoUplink, bool) {
	out := slices.Clone(known)
	if len(out) >= autoMost {
		oldest := -1
		for i, a := range out {
			absent := !slices.ContainsFunc(now, func(d config.DefaultRoute) bool { return d.Interface == a.Interface })
			if absent && (oldest < 0 || a.Last.Before(out[oldest].Last)) {
				oldest = i
			}
		}
		if oldest < 0 {
			return known, false
		}
		out = slices.Delete(out, oldest, oldest+1)
	}
	return append(out, autoUplink{Interface: d.Interface, Metric: d.Metric, Weight: d.Weight, Family: d.Family, Last: storedTime(today)}), true
}

// autoUplinks returns the uplinks and the candidates of `uplinks: auto`.
func autoUplinks(cfg *config.Config, known []autoUplink, now []config.DefaultRoute) (uplinks, candidates []config.Uplink) {
	isKnown := func(name string) bool {
		return slices.ContainsFunc(known, func(a autoUplink) bool { return a.Interface == name })
	}
	var all []config.DefaultRoute
	for _, a := range known {
		all = append(all, config.DefaultRoute{Interface: a.Interface, Metric: a.Metric, Weight: a.Weight, Family: a.Family})
	}
	for _, d := range now {
		if !isKnown(d.Interface) {
			all = append(all, d)
		}
	}
	at := func(d config.DefaultRoute) int { // in main's order
		n := slices.IndexFunc(now, func(o config.DefaultRoute) bool { return o.Interface == d.Interface })
		if n < 0 {
			n = len(now)
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b config.DefaultRoute) int { return cmp.Compare(at(a), at(b)) })
	for _, u := range cfg.Auto(all) {
		if isKnown(u.Interface) {
			uplinks = append(uplinks, u)
		} else if len(candidates) < autoMost {
			candidates = append(candidates, u)
		}
	}
	return uplinks, candidates
}

// dropUnbound removes the IPv6 targets of interfaces on which no rule of ours keeps
// the probes: in IPv6 the kernel treats a probe's device as a hint only, and the
// probe could leave by another interface, with a source address that is not valid
// there. An interface that holds the only IPv6 default route needs no rule.
func (s *setup) dropUnbound(alone6 string) {
	for i, u := range slices.Concat(s.uplinks, s.candidates) {
		if (s.isCandidate(u.Name) || !s.mayAct()) && u.Interface != alone6 {
			family := &s.engine.Uplinks[i].Family[failover.IPv6]
			family.Targets, family.Quorum = nil, 0
		}
	}
}

// answersBeyond reports whether a target beyond the gateway answers through a
// candidate.
func (s setup) answersBeyond(u failover.UplinkView) bool {
	for _, f := range failover.Families {
		for _, t := range u.Family[f].Targets {
			if t.Answering != nil && *t.Answering && s.targets[t.Target].Method != target.Gateway {
				return true
			}
		}
	}
	return false
}

// takeProven makes uplinks of the candidates through which a target has answered.
func (l *loop) takeProven() {
	if len(l.setup.candidates) == 0 {
		return
	}
	now, today := l.defaults.best, dated(l)
	var names []string
	view := l.engineView()
	l.untaken = ""
	for _, c := range l.setup.candidates {
		i := slices.IndexFunc(view.Uplinks, func(u failover.UplinkView) bool { return u.Name == c.Name })
		d := slices.IndexFunc(now, func(d config.DefaultRoute) bool { return d.Interface == c.Interface })
		if i < 0 || d < 0 || !l.setup.answersBeyond(view.Uplinks[i]) {
			continue
		}
		taken, ok := takeAuto(l.state.Auto, now[d], now, today)
		if !ok {
			l.untaken = c.Interface
			continue
		}
		l.state.Auto = taken
		names = append(names, c.Interface)
	}
	if len(names) == 0 {
		return
	}
	l.reconfigure("take an interface for an uplink")
	for _, name := range names {
		l.reporter.configured("taken", name, "a target answers through it", nil, l.setup.generation)
	}
}

// encapsulating returns the problems of interfaces that are not used because their
// default routes encapsulate packets.
func (s setup) encapsulating(defaults []linkmon.Default) []control.Problem {
	var out []control.Problem
	for _, d := range defaults {
		if !s.cfg.AutoUplinks || !d.Encapsulates {
			continue
		}
		out = append(out, control.Problem{
			Code: "route-not-carried", Severity: control.Info, Object: d.Interface,
			Text: fmt.Sprintf("the %s default route of %s encapsulates packets by a program (encap bpf), which routes of Swerve cannot, so it is not taken for an uplink",
				d.Family, d.Interface),
			Remedy: "nothing, if it is to stay as it is; else let it lead by an interface of its own, such as a tunnel's",
		})
	}
	return out
}

// gatewayless returns the problems of interfaces that are not taken under `uplinks:
// auto` because their default routes have no gateway. With two uplinks there are none:
// zeroconf programs make such a route on every interface.
func (s setup) gatewayless(defaults []linkmon.Default) []control.Problem {
	if !s.cfg.AutoUplinks || len(s.uplinks) >= 2 {
		return nil
	}
	var out []control.Problem
	for _, d := range defaults {
		known := func(u config.Uplink) bool { return u.Interface == d.Interface }
		if !d.Gatewayless || slices.ContainsFunc(s.uplinks, known) || slices.ContainsFunc(s.candidates, known) ||
			slices.ContainsFunc(out, func(p control.Problem) bool { return p.Object == d.Interface }) {
			continue
		}
		out = append(out, control.Problem{
			Code: "no-gateway", Severity: control.Info, Object: d.Interface,
			Text: fmt.Sprintf("the %s default route of %s names no gateway, and the interface has no address with which it could ask its link, "+
				"so it is not taken for an uplink", d.Family, d.Interface),
			Remedy: fmt.Sprintf("give that route a gateway: ip route replace default via GATEWAY dev %s; or name the uplinks in the configuration, "+
				"with gateway: none where the provider answers ARP for all addresses", d.Interface),
		})
	}
	return out
}

// candidateRemedy is what to do about a candidate of which no more is known.
const candidateRemedy = "remove that default route if the interface leads to a LAN; otherwise see why nothing answers there"

// candidateSilent is how long a candidate may be silent, while there is no uplink at
// all, before that is a warning.
const candidateSilent = 30 * time.Second

// silentCandidates makes warnings of candidates that have been silent for too long,
// if there is no uplink: such a machine may be offline.
func silentCandidates(found []control.Problem, uplinks int, now control.Time) []control.Problem {
	for i := range found {
		p := &found[i]
		if p.Code == "not-an-uplink" && uplinks == 0 && now.Sub(p.Since.Time) >= candidateSilent {
			p.Severity = control.Warning
			if p.Remedy != candidateRemedy {
				continue // it says more already
			}
			p.Remedy = "check the modem and the provider behind it, and that ICMP echo requests may leave, or name other probe.targets; " +
				"remove that default route if the interface leads to a LAN"
		}
	}
	return found
}

// candidateProblems returns the problems of interfaces that hold a default route
// and are not uplinks. full names an interface for which there is no room.
func (s setup) candidateProblems(full string, links map[string]failover.Link) []control.Problem {
	var out []control.Problem
	for _, c := range s.candidates {
		p := control.Problem{
			Code: "not-an-uplink", Severity: control.Info, Object: c.Interface,
			Text:   fmt.Sprintf("%s holds a default route, but no target has answered through it so far; until one does it is not taken for an uplink", c.Interface),
			Remedy: candidateRemedy,
		}
		link := links[c.Name]
		if link.Family[failover.IPv4].Direct || link.Family[failover.IPv6].Direct {
			p.Remedy = fmt.Sprintf("have a default route with via there: the one of %s has none, so the kernel looks for every address on that link "+
				"itself, which works only where the provider answers ARP or neighbour solicitations for all; remove it if the interface leads to a LAN", c.Interface)
		}
		if c.Interface == full {
			p = control.Problem{
				Code: "auto-full", Severity: control.Warning, Object: c.Interface,
				Text:   fmt.Sprintf("%s leads out, but %d interfaces that hold default routes are uplinks already", c.Interface, autoMost),
				Remedy: "name the uplinks in the configuration",
			}
		}
		out = append(out, p)
	}
	return out
}
