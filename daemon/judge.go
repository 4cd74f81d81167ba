package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/routing"
)

// judge returns the problems that follow from a setup and its links alone. begun
// is the configuration at the start, some parts of which hold to the end; strict
// reports whether rp_filter is strict on an interface.
func judge(s setup, begun *config.Config, links map[string]failover.Link, strict func(string) bool) []control.Problem {
	var out []control.Problem
	add := func(code string, severity control.Severity, object, text, remedy string) {
		out = append(out, control.Problem{Code: code, Severity: severity, Object: object, Text: text, Remedy: remedy})
	}
	if needsRestart(s.cfg, begun) {
		add("restart-needed", control.Info, "config",
			"control, state, metrics, log and kernel.sysctls are as they were at the start",
			"systemctl restart swerve; traffic goes on meanwhile")
	}
	if n := len(s.uplinks); s.cfg.AutoUplinks && n < 2 {
		add("one-uplink", control.Info, "uplinks",
			fmt.Sprintf("%d interfaces lead to the internet so far, and failover needs two", n),
			"connect a second one or name the uplinks in the configuration; until then nothing is changed on this machine")
	}
	if n := len(s.cfg.Rules); n > 0 {
		add("not-built", control.Warning, "rules",
			fmt.Sprintf("%d rules are not acted on by this version: all traffic goes by the policy default", n),
			"leave the rules out, or wait for a newer version")
	}
	if len(s.unbuilt) > 0 {
		add("not-built", control.Warning, "probe.targets",
			"this version does not probe by tcp, http or dns, so these targets are left out: "+strings.Join(s.unbuilt, " "),
			"name addresses as targets")
	}
	if names := s.translating(); len(names) > 0 {
		add("not-built", control.Warning, "snat6",
			"prefix translation is not acted on by this version: foreign sources are masqueraded on "+strings.Join(names, " "),
			"use snat6: foreign or masquerade")
	}
	out = append(out, s.unbuiltKeys()...)
	if found := ownTargets(s.uplinks, s.own); len(found) > 0 {
		add("own-target", control.Warning, "probe.targets",
			"these targets are addresses of this machine, which would always answer, so they are left out: "+strings.Join(found, " "),
			"name targets beyond the uplinks")
	}
	out = append(out, s.ownGateways()...)
	return append(out, s.alikes(links, strict)...)
}

// unbuiltKeys are the problems of keys that are accepted and not acted on.
func (s setup) unbuiltKeys() []control.Problem {
	var out []control.Problem
	add := func(severity control.Severity, object, text, remedy string) {
		out = append(out, control.Problem{Code: "not-built", Severity: severity, Object: object, Text: text, Remedy: remedy})
	}
	const leave = "leave the key out, or wait for a newer version"
	if s.cfg.Metrics.Listen != "" {
		add(control.Warning, "metrics.listen", "this version serves no metrics", leave)
	}
	switch s.cfg.Sessions.OnFailback.Mode {
	case config.SessionsDrain, config.SessionsMove:
		add(control.Warning, "sessions.on_failback", "this version leaves sessions where they are at a failback", leave)
	case config.SessionsAuto, config.SessionsKeep:
	}
	if slices.ContainsFunc(s.cfg.Policies, func(p config.Policy) bool { return p.Spread != "" && p.Spread != config.SpreadPairs }) {
		add(control.Warning, "policies.spread", "this version spreads by pairs of source and destination only", leave)
	}
	if slices.ContainsFunc(s.uplinks, func(u config.Uplink) bool { return len(u.DNS) > 0 }) {
		add(control.Warning, "uplinks.dns", "this version does not route resolvers by uplink", leave)
	}
	learns := func(u config.Uplink) bool { return u.Enabled && u.IPv6 && u.Prefix6.Auto && u.SNAT6 == config.Foreign }
	if slices.ContainsFunc(s.uplinks, learns) {
		add(control.Info, "uplinks.prefix6", "this version does not probe which prefixes are native: prefix6: auto means the link's own "+
			"and those that flows showed at the first start", "name the LAN's prefixes in prefix6 where they must not be masqueraded")
	}
	return out
}

// intruders are the problems of default routes that other programs have in our tables.
func (s setup) intruders(foreign []routing.Route) []control.Problem {
	var out []control.Problem
	for _, r := range foreign {
		found, first := routing.Intruder(r, s.layout)
		if !found {
			continue
		}
		p := control.Problem{
			Code: "foreign-route", Severity: control.Warning, Object: fmt.Sprintf("table %d %s metric %d", r.Table, r.Family, r.Metric),
			Text:   fmt.Sprintf("another program has a route in a table of Swerve's: %s", r),
			Remedy: "delete it: " + routing.Op{Action: routing.DeleteRoute, Route: r}.String() + "; and have its owner use another table",
		}
		if first {
			p.Severity = control.Critical
			p.Text += "; it is met before ours, so traffic goes by it"
		}
		out = append(out, p)
	}
	return out
}

// needsRestart reports whether a configuration differs from the one at the start
// in what is read at the start only.
func needsRestart(now, begun *config.Config) bool {
	return now.Control != begun.Control || now.State != begun.State || now.Metrics != begun.Metrics ||
		now.Log != begun.Log || now.Kernel.ManageSysctls != begun.Kernel.ManageSysctls
}

// translating names the uplinks that ask for prefix translation.
func (s setup) translating() []string {
	var names []string
	for _, u := range s.uplinks {
		if u.SNAT6 == config.NPT {
			names = append(names, u.Name)
		}
	}
	return names
}

// ownGateways are the problems of gateways that are this machine.
func (s setup) ownGateways() []control.Problem {
	var out []control.Problem
	for _, u := range s.uplinks {
		for _, g := range []config.Gateway{u.Gateway, u.Gateway6} {
			if u.Enabled && slices.Contains(s.own, g.Addr) {
				out = append(out, control.Problem{
					Code: "own-gateway", Severity: control.Warning, Object: u.Name,
					Text:   fmt.Sprintf("the gateway %s of %s is an address of this machine, so it is not used", g.Addr, u.Name),
					Remedy: "name the router's address, or auto",
				})
			}
		}
	}
	return out
}

// alikes are the problems of uplinks that are alike, each at the later of two.
// Such uplinks, two modems of one make for instance, work: devices and marks
// distinguish them. Some things beyond them no router can distinguish, and those
// are reported.
func (s setup) alikes(links map[string]failover.Link, strict func(string) bool) []control.Problem {
	var out []control.Problem
	for i, b := range s.uplinks {
		for _, a := range s.uplinks[:i] {
			if !a.Enabled || !b.Enabled {
				continue
			}
			pair := alike{a: a, b: b, linkA: links[a.Name], linkB: links[b.Name], first: a.Name}
			if s.lanes.Uplinks[b.Name] < s.lanes.Uplinks[a.Name] {
				pair.first = b.Name
			}
			p, found := pair.oneInterface()
			if !found {
				p, found = pair.oneNetwork(strict)
			}
			if found {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// alike is two uplinks with their links.
type alike struct {
	a, b         config.Uplink
	linkA, linkB failover.Link
	// first is the one whose rules the kernel evaluates first.
	first string
}

// oneInterface finds that both are one device, named by a name and a MAC address, say.
func (p alike) oneInterface() (control.Problem, bool) {
	if !p.linkA.Present || !p.linkB.Present || p.linkA.Index != p.linkB.Index {
		return control.Problem{}, false
	}
	return control.Problem{
		Code: "same-interface", Severity: control.Warning, Object: p.b.Name,
		Text: fmt.Sprintf("%s (%s) and %s (%s) are both the interface %s: when it fails, both are lost",
			p.a.Name, p.a.Interface, p.b.Name, p.b.Interface, p.linkB.Interface),
		Remedy: fmt.Sprintf("name another interface for %s, or leave it out", p.b.Name),
	}, true
}

// oneNetwork finds that both have an address, or a network, in common. strict
// reports whether rp_filter is strict on an interface.
func (p alike) oneNetwork(strict func(string) bool) (control.Problem, bool) {
	for _, f := range failover.Families {
		for _, x := range p.linkA.Family[f].Addresses {
			for _, y := range p.linkB.Family[f].Addresses {
				if x.Addr() == y.Addr() || x.Overlaps(y) {
					return p.inOneNetwork(f, x, y, strict), true
				}
			}
		}
	}
	return control.Problem{}, false
}

func (p alike) inOneNetwork(f failover.Family, x, y netip.Prefix, strict func(string) bool) control.Problem {
	out := control.Problem{
		Code: "same-network", Severity: control.Info, Object: p.b.Name,
		Remedy: fmt.Sprintf("give one of the two routers or modems another network; until then name the device "+
			"to reach one behind %s, as in ping -I %s", p.b.Name, p.linkB.Interface),
	}
	out.Text = fmt.Sprintf("%s and %s are both in %s: its hosts, such as the modems' own pages, are reached by one of the two alone",
		p.a.Name, p.b.Name, narrower(x, y))
	if x.Addr() == y.Addr() {
		out.Text += fmt.Sprintf("; both have the address %s, and a program that binds to it goes by %s while that is well",
			x.Addr(), p.first)
	}
	if f == failover.IPv4 && (strict(p.linkA.Interface) || strict(p.linkB.Interface)) {
		out.Severity = control.Warning
		out.Text += "; rp_filter is strict, and may drop what comes by the other"
		out.Remedy = fmt.Sprintf("set rp_filter to 2 on %s, %s and all, or %s", p.linkA.Interface, p.linkB.Interface, out.Remedy)
	}
	return out
}

// narrower is the smaller of two networks that overlap.
func narrower(x, y netip.Prefix) netip.Prefix {
	if x.Bits() > y.Bits() {
		return x.Masked()
	}
	return y.Masked()
}
