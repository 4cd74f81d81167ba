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

// Under `uplinks: auto` an interface that holds a default route is a candidate
// first: it is probed as any program would, without a mark or a rule of ours. It is
// taken for an uplink once a target beyond its gateway has answered through it,
// since a LAN may hold a default route by mistake. What was taken is remembered,
// since the very loss that matters takes the default route away, or has done so
// before the boot.

const (
	// autoMost bounds the interfaces that are remembered: phones have another name
	// each time they are plugged in.
	autoMost = 8
	// autoAge is how long an interface is remembered that holds no default route.
	autoAge = 90 * 24 * time.Hour
	// autoFresh is how old the time of an interface may be that holds one: each
	// newer one costs a write to a disk.
	autoFresh = 24 * time.Hour
)

// autoUplink is an interface that was taken for an uplink.
type autoUplink struct {
	Interface string `json:"interface"`
	// Metric of its best default route, as it last held one; lower is preferred.
	Metric int `json:"metric"`
	// Last is when it last held a default route, to a day, by the wall clock.
	Last time.Time `json:"last"`
}

// defaultRoutes are the best default routes of each interface, in order. Tunnels are
// left out: a VPN's default is no uplink, and goes by kernel.foreign_defaults.
func defaultRoutes(now []linkmon.Default) []config.DefaultRoute {
	best := map[string]int{}
	for _, d := range now {
		if d.Tunnel {
			continue
		}
		metric := int(min(int64(d.Metric), math.MaxInt32)) // an int has 32 bits on some machines
		if before, ok := best[d.Interface]; !ok || metric < before {
			best[d.Interface] = metric
		}
	}
	var out []config.DefaultRoute
	for name, metric := range best {
		out = append(out, config.DefaultRoute{Interface: name, Metric: metric})
	}
	slices.SortFunc(out, func(a, b config.DefaultRoute) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), strings.Compare(a.Interface, b.Interface))
	})
	return out
}

// adoptAuto adds the interfaces that an earlier run's rules name, for a machine
// whose state file is gone. Their metrics are not known, so they come last.
func adoptAuto(known []autoUplink, former map[string]lane.Lane, today time.Time) []autoUplink {
	for _, name := range slices.Sorted(maps.Keys(former)) {
		if !slices.ContainsFunc(known, func(a autoUplink) bool { return a.Interface == name }) && len(known) < autoMost {
			known = append(slices.Clone(known), autoUplink{Interface: name, Metric: math.MaxInt32, Last: wallDay(today)})
		}
	}
	return known
}

// refreshAuto returns the interfaces with the metrics that they have now, without
// those that have not held a default route for too long, the preferred first.
func refreshAuto(known []autoUplink, now []config.DefaultRoute, today time.Time) []autoUplink {
	var out []autoUplink
	for _, a := range known {
		i := slices.IndexFunc(now, func(d config.DefaultRoute) bool { return d.Interface == a.Interface })
		switch {
		case i >= 0:
			a.Metric = now[i].Metric
			if age := today.Sub(a.Last); age < 0 || age >= autoFresh {
				a.Last = wallDay(today)
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

// takeAuto adds an interface. Where there is no room, the one gives way that has
// not held a default route for longest; it reports false where all hold one.
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
	return append(out, autoUplink{Interface: d.Interface, Metric: d.Metric, Last: wallDay(today)}), true
}

// wallDay is a wall time without what the state file does not keep.
func wallDay(t time.Time) time.Time { return t.Round(0).UTC().Truncate(time.Second) }

// autoUplinks are the uplinks and the candidates of `uplinks: auto`.
func autoUplinks(cfg *config.Config, known []autoUplink, now []config.DefaultRoute) (uplinks, candidates []config.Uplink) {
	isKnown := func(name string) bool {
		return slices.ContainsFunc(known, func(a autoUplink) bool { return a.Interface == name })
	}
	var all []config.DefaultRoute
	for _, a := range known {
		all = append(all, config.DefaultRoute{Interface: a.Interface, Metric: a.Metric})
	}
	for _, d := range now {
		if !isKnown(d.Interface) {
			all = append(all, d)
		}
	}
	for _, u := range cfg.Auto(all) {
		if isKnown(u.Interface) {
			uplinks = append(uplinks, u)
		} else if len(candidates) < autoMost {
			candidates = append(candidates, u)
		}
	}
	return uplinks, candidates
}

// answersBeyond reports whether a target beyond the gateway answers through a
// candidate. In IPv6 the kernel takes a probe's device as a mere hint while no rule
// of ours keeps it there, so that an answer proves something only where no other
// interface has a default route.
func (s setup) answersBeyond(u failover.UplinkView, onlyIPv6 bool) bool {
	for _, f := range failover.Families {
		if f == failover.IPv6 && !onlyIPv6 {
			continue
		}
		for _, t := range u.Family[f].Targets {
			if t.Answering != nil && *t.Answering && s.targets[t.Target].Method != target.Gateway {
				return true
			}
		}
	}
	return false
}

// takeProven takes candidates through which a target has answered for uplinks.
func (l *loop) takeProven() {
	if len(l.setup.candidates) == 0 {
		return
	}
	defaults, today := l.net.Defaults(), l.clock.today()
	now, before := defaultRoutes(defaults), l.state.Auto
	view := l.engine.View()
	l.untaken = ""
	for _, c := range l.setup.candidates {
		i := slices.IndexFunc(view.Uplinks, func(u failover.UplinkView) bool { return u.Name == c.Name })
		d := slices.IndexFunc(now, func(d config.DefaultRoute) bool { return d.Interface == c.Interface })
		onlyIPv6 := !slices.ContainsFunc(defaults, func(d linkmon.Default) bool {
			return d.Family == failover.IPv6 && d.Interface != c.Interface
		})
		if i < 0 || d < 0 || !l.setup.answersBeyond(view.Uplinks[i], onlyIPv6) {
			continue
		}
		taken, ok := takeAuto(l.state.Auto, now[d], now, today)
		if !ok {
			l.untaken = c.Interface
			continue
		}
		l.state.Auto = taken
		l.log.Info("an interface with a default route is taken for an uplink: a target answers through it", "interface", c.Interface)
	}
	if !slices.Equal(before, l.state.Auto) {
		l.reconfigure("take an interface for an uplink")
	}
}

// candidateProblems report what holds a default route and is no uplink. full names
// an interface for which there is no room.
func (s setup) candidateProblems(full string) []control.Problem {
	var out []control.Problem
	for _, c := range s.candidates {
		p := control.Problem{
			Code: "not-an-uplink", Severity: control.Info, Object: c.Interface,
			Text:   fmt.Sprintf("%s holds a default route, but no target has answered through it so far; until one does it is not taken for an uplink", c.Interface),
			Remedy: "remove that default route if the interface leads to a LAN; otherwise see why nothing answers there",
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
