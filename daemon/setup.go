package daemon

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/linkmon"
	"swerve/routing"
	"swerve/target"
)

// setup is one configuration prepared for this machine.
type setup struct {
	// generation counts the configurations put in force, from 1.
	generation uint64
	cfg        *config.Config
	uplinks    []config.Uplink
	// candidates are probed under `uplinks: auto`, and not used.
	candidates []config.Uplink
	lanes      lanes
	layout     lane.Layout
	// rules are the configuration's, as the packet filter has them.
	rules []firewall.Rule
	// formerPolicies are the lanes of policies of earlier configurations.
	formerPolicies []lane.Lane
	// former are the addresses of interfaces that were uplinks' until a reload.
	former []routing.Former
	engine failover.Config
	// targets has the uplinks' targets by their text, by which the engine
	// identifies them.
	targets map[string]target.Target
	// native are the networks that were found native on the uplinks, plain the flows that
	// they carry without NAT to networks with routes of their own.
	native natives
	plain  plains
	// foreign is state.Foreign.
	foreign map[string]bool
	// acting: this run or an earlier one has changed the kernel.
	acting bool
	// own are the addresses of this machine. Targets among them are left out.
	own []netip.Addr
	// usedMarks is state.UsedMarks.
	usedMarks []usedBits
}

// newSetup prepares a configuration. now are the machine's default routes, for
// `uplinks: auto`; acting reports whether this run or an earlier one has changed
// the kernel; own are the machine's addresses; past is the remembered state.
func newSetup(cfg *config.Config, now defaults, acting bool, own []netip.Addr, past state) (setup, error) {
	s := setup{cfg: cfg, layout: past.layout(cfg), own: own, acting: acting, usedMarks: past.UsedMarks}
	s.uplinks, s.candidates = uplinksOf(cfg, now, past)
	s.native, s.plain = past.Native.retain(s.uplinks), past.Plain.retain(s.uplinks)
	s.foreign = past.Foreign
	s.engine = cfg.Engine(s.uplinks, past.seen)
	// A policy has only the uplinks that are used; candidates are probed in
	// addition.
	s.engine.Uplinks = append(s.engine.Uplinks, cfg.Engine(s.candidates, past.seen).Uplinks...)
	s.targets = targetsOf(slices.Concat(s.uplinks, s.candidates))
	s.dropTargets(isAmong(own))
	if cfg.AutoUplinks {
		s.dropUnbound(now.alone6)
	}
	var err error
	// Candidates have a lane reserved, so that lanes follow the order of preference
	// and not that of the first answers.
	s.lanes, err = assignLanes(s.engine, past.Lanes)
	s.formerPolicies = s.lanes.formerPolicies(past.Lanes)
	for i, r := range cfg.Rules {
		s.rules = append(s.rules, firewall.Rule{Match: r.Match, Set: r.Set, Policy: s.lanes.Policies[r.Use], Number: i})
	}
	return s, err
}

// uplinksOf returns a configuration's uplinks, and under `uplinks: auto` also the
// candidates.
func uplinksOf(cfg *config.Config, now defaults, past state) (uplinks, candidates []config.Uplink) {
	if cfg.AutoUplinks {
		return autoUplinks(cfg, past.Auto, now.best)
	}
	return cfg.Uplinks, nil
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

// dropTargets removes unwanted targets from the engine's configuration. A quorum greater
// than the number of remaining targets becomes that number.
func (s *setup) dropTargets(unwanted func(target.Target) bool) {
	for i := range s.engine.Uplinks {
		for f := range s.engine.Uplinks[i].Family {
			family := &s.engine.Uplinks[i].Family[f]
			family.Targets = slices.DeleteFunc(family.Targets, func(text string) bool { return unwanted(s.targets[text]) })
			family.Quorum = min(family.Quorum, len(family.Targets))
		}
	}
}

// A target that is an address of this machine answers regardless of the uplink's
// state, so it is left out; a gateway that is one leads nowhere.

// isAmong returns a filter of targets that are among these addresses.
func isAmong(own []netip.Addr) func(target.Target) bool {
	return func(t target.Target) bool { return slices.Contains(own, t.Addr) }
}

// ownTargets returns the uplinks' targets that are addresses of this machine, each
// once.
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

// watched returns what the monitor has to know of the uplinks.
func (s setup) watched() []linkmon.Uplink {
	var out []linkmon.Uplink
	for _, u := range slices.Concat(s.uplinks, s.candidates) {
		out = append(out, linkmon.Uplink{
			Name: u.Name, Interface: u.Interface, IPv6: u.IPv6,
			Gateway: [2]linkmon.GatewaySpec{
				failover.IPv4: {None: u.Gateway.None, Addr: u.Gateway.Addr},
				failover.IPv6: {None: u.Gateway6.None, Addr: u.Gateway6.Addr},
			},
			Route: u.Route,
		})
	}
	return out
}

// watchedFirst is watched at a start, with the gateways by which an earlier run
// routed: that another program's default route is gone at this moment says nothing.
func (s setup) watchedFirst(held routing.State) []linkmon.Uplink {
	kept, out := held.Kept(s.layout), s.watched()
	for i, u := range out {
		by, ok := kept[s.lanes.Uplinks[u.Name]]
		if !ok {
			continue
		}
		out[i].Held = new([2]linkmon.Held)
		for f, k := range by {
			out[i].Held[f] = linkmon.Held{Index: k.Index, Gateway: k.Gateway, Sources: k.Sources, Shape: k.Shape}
		}
	}
	return out
}

// isCandidate reports whether a name is a candidate's.
func (s setup) isCandidate(name string) bool {
	return slices.ContainsFunc(s.candidates, func(u config.Uplink) bool { return u.Name == name })
}

// mayAct reports whether the kernel may be changed: with `uplinks: auto` and fewer
// than two uplinks, present or not, there is nothing to choose between, and a
// machine that was never configured must not be changed without need. If an earlier
// change of ours is in the kernel, it is kept up to date.
func (s setup) mayAct() bool { return s.acting || !s.cfg.AutoUplinks || len(s.uplinks) > 1 }

// mark returns the packet mark of an uplink's lane, which its probes carry. It is 0
// for a candidate, and on a machine that must not be changed.
func (s setup) mark(uplink string) uint32 {
	if !s.mayAct() || s.isCandidate(uplink) {
		return 0
	}
	return s.layout.Mark(s.lanes.Uplinks[uplink])
}

// probe returns how the uplink is probed.
func (s setup) probe(uplink string) failover.ProbeConfig {
	for _, u := range s.engine.Uplinks {
		if u.Name == uplink {
			return u.Probe
		}
	}
	return failover.ProbeConfig{}
}

// patience returns the uplink's configured patience.
func (s setup) patience(uplink string) time.Duration {
	for _, u := range s.engine.Uplinks {
		if u.Name == uplink {
			return u.Health.Patience
		}
	}
	return 0
}

// configuredInterface returns the interface of an uplink as configured.
func (s setup) configuredInterface(uplink string) string {
	for _, u := range s.uplinks {
		if u.Name == uplink {
			return u.Interface
		}
	}
	return ""
}

// lanesOf returns the lanes of uplinks.
func (s setup) lanesOf(uplinks []string) []lane.Lane {
	var out []lane.Lane
	for _, name := range uplinks {
		out = append(out, s.lanes.Uplinks[name])
	}
	return out
}

// uplinkOf returns the name of the uplink with a lane.
func (s setup) uplinkOf(n lane.Lane) (string, bool) {
	for name, l := range s.lanes.Uplinks {
		if l == n {
			return name, true
		}
	}
	return "", false
}

// configuredName returns the interface's configured name, or "" if it has none:
// neither a MAC address nor an altname longer than an interface name counts as one.
func configuredName(u config.Uplink) string {
	if _, err := net.ParseMAC(u.Interface); err == nil || len(u.Interface) >= unix.IFNAMSIZ {
		return ""
	}
	return u.Interface
}
