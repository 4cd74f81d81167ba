package daemon

import (
	"cmp"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/lane"
	"swerve/linkmon"
	"swerve/target"
)

// setup is one configuration made ready for this machine.
type setup struct {
	// generation counts the configurations that were taken over, from 1.
	generation uint64
	cfg        *config.Config
	uplinks    []config.Uplink
	lanes      lanes
	layout     lane.Layout
	engine     failover.Config
	// targets has the uplinks' targets by their text, by which the engine names them.
	targets map[string]target.Target
	// unbuilt are the targets whose method this version cannot probe by. They
	// are left out: one that never answers would keep its uplink from being up.
	unbuilt []string
	// own are the addresses of this machine. Targets among them are left out.
	own []netip.Addr
}

// newSetup makes a configuration ready. Defaults are the machine's default
// routes, for `uplinks: auto`; own are its addresses; past is what an earlier run
// remembers.
func newSetup(cfg *config.Config, defaults []config.DefaultRoute, own []netip.Addr, past state) (setup, error) {
	s := setup{cfg: cfg, uplinks: cfg.Uplinks, layout: cfg.Layout(), own: own}
	if cfg.AutoUplinks {
		s.uplinks = cfg.Auto(defaults)
	}
	s.engine = cfg.Engine(s.uplinks, past.seen)
	s.targets = targetsOf(s.uplinks)
	s.unbuilt = s.dropTargets(func(t target.Target) bool { return !t.Method.Built() })
	s.dropTargets(isAmong(own))
	var err error
	s.lanes, err = assignLanes(s.engine, past.Lanes)
	return s, err
}

// targetsOf returns the uplinks' targets by their text.
func targetsOf(uplinks []config.Uplink) map[string]target.Target {
	targets := map[string]target.Target{}
	for _, u := range uplinks {
		for _, t := range u.Probe.Targets {
			targets[t.Text] = t
		}
	}
	return targets
}

// dropTargets removes targets that are not to be asked from the engine's, and returns
// their texts, sorted, each once. A quorum that the rest cannot reach becomes all of
// the rest.
func (s *setup) dropTargets(unwanted func(target.Target) bool) []string {
	var dropped []string
	for i := range s.engine.Uplinks {
		for f := range s.engine.Uplinks[i].Family {
			family := &s.engine.Uplinks[i].Family[f]
			family.Targets = slices.DeleteFunc(family.Targets, func(text string) bool {
				if !unwanted(s.targets[text]) {
					return false
				}
				dropped = append(dropped, text)
				return true
			})
			family.Quorum = min(family.Quorum, len(family.Targets))
		}
	}
	slices.Sort(dropped)
	return slices.Compact(dropped)
}

// A target that is an address of this machine answers whatever the uplink does, so
// it is left out; and a gateway that is one leads nowhere.

// isAmong returns a filter of targets that are among these addresses.
func isAmong(own []netip.Addr) func(target.Target) bool {
	return func(t target.Target) bool { return slices.Contains(own, t.Addr) }
}

// ownTargets are the targets of uplinks that are addresses of this machine, each once.
func ownTargets(uplinks []config.Uplink, own []netip.Addr) []string {
	var found []string
	for _, u := range uplinks {
		for _, t := range u.Probe.Targets {
			if u.Enabled && slices.Contains(own, t.Addr) {
				found = append(found, t.String())
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// watched is what the monitor has to know of the uplinks.
func (s setup) watched() []linkmon.Uplink {
	var out []linkmon.Uplink
	for _, u := range s.uplinks {
		out = append(out, linkmon.Uplink{
			Name: u.Name, Interface: u.Interface, IPv6: u.IPv6,
			Gateway: [2]linkmon.GatewaySpec{
				failover.IPv4: {None: u.Gateway.None, Addr: u.Gateway.Addr},
				failover.IPv6: {None: u.Gateway6.None, Addr: u.Gateway6.Addr},
			},
		})
	}
	return out
}

// mayAct reports whether the kernel may be changed: with `uplinks: auto` and
// fewer than two uplinks there is nothing to choose, and a machine that was
// never configured must not be changed for nothing.
func (s setup) mayAct() bool { return !s.cfg.AutoUplinks || len(s.uplinks) > 1 }

// mark is the packet mark of an uplink's lane. Probes bear it, also on a machine
// that is not touched: a mark that no rule knows does no harm.
func (s setup) mark(uplink string) uint32 { return s.layout.Mark(s.lanes.Uplinks[uplink]) }

// probe is how the uplink is probed.
func (s setup) probe(uplink string) failover.ProbeConfig {
	for _, u := range s.engine.Uplinks {
		if u.Name == uplink {
			return u.Probe
		}
	}
	return failover.ProbeConfig{}
}

// patience is what the uplink is configured to have.
func (s setup) patience(uplink string) time.Duration {
	for _, u := range s.engine.Uplinks {
		if u.Name == uplink {
			return u.Health.Patience
		}
	}
	return 0
}

// configuredInterface is how the configuration names an uplink's interface.
func (s setup) configuredInterface(uplink string) string {
	for _, u := range s.uplinks {
		if u.Name == uplink {
			return u.Interface
		}
	}
	return ""
}

// uplinkOf finds an uplink's name by its lane.
func (s setup) uplinkOf(n lane.Lane) (string, bool) {
	for name, l := range s.lanes.Uplinks {
		if l == n {
			return name, true
		}
	}
	return "", false
}

// configuredName is the interface's name as far as the configuration knows it: a
// MAC address is none.
func configuredName(u config.Uplink) string {
	if _, err := net.ParseMAC(u.Interface); err == nil {
		return ""
	}
	return u.Interface
}

// defaultRoutes merges the default routes of a moment with those seen before:
// with `uplinks: auto` an interface that once led out stays an uplink, since the
// very loss that matters takes its default route away.
func defaultRoutes(before []config.DefaultRoute, now []linkmon.Default) []config.DefaultRoute {
	out := slices.Clone(before)
	seen := map[string]bool{}
	for _, d := range now {
		i := slices.IndexFunc(out, func(r config.DefaultRoute) bool { return r.Interface == d.Interface })
		if i < 0 {
			i = len(out)
			out = append(out, config.DefaultRoute{Interface: d.Interface})
		}
		metric := min(int64(d.Metric), math.MaxInt32) // an int has 32 bits on some machines
		if !seen[d.Interface] || int(metric) < out[i].Metric {
			out[i].Metric = int(metric)
		}
		seen[d.Interface] = true
	}
	slices.SortStableFunc(out, func(a, b config.DefaultRoute) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), strings.Compare(a.Interface, b.Interface))
	})
	return out
}

// formerRoutes stand for the default routes of an earlier run's uplinks, of which
// the kernel knows no more than the names. They come after all that lead out now.
func formerRoutes(byInterface map[string]lane.Lane) []config.DefaultRoute {
	var out []config.DefaultRoute
	for _, name := range slices.Sorted(maps.Keys(byInterface)) {
		out = append(out, config.DefaultRoute{Interface: name, Metric: math.MaxInt32})
	}
	return out
}
