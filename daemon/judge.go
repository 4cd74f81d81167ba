package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// judge returns the problems that follow from a setup and its links alone. begun is
// the configuration at the start, some parts of which stay in force until the end;
// strict reports whether rp_filter is strict on an interface.
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
			say.Several(n, "interface leads", "interfaces lead")+" to the internet so far, and failover needs two",
			"connect a second one, with a default route of a greater metric in table main (ip route; auto takes no others, such as one in a table of your own: ip route show table all), "+
				"or name the uplinks in the configuration; until then nothing is changed on this machine")
	}
	for _, u := range s.cfg.Unbuilt() {
		add("not-built", control.Info, u.Key, u.Text, "leave it out, or wait for a newer version")
	}
	if found := ownTargets(s.uplinks, s.own); len(found) > 0 {
		add("own-target", control.Warning, "probe.targets",
			"these targets are addresses of this machine, which would always answer, so they are left out: "+strings.Join(found, " "),
			"name targets beyond the uplinks")
	}
	out = append(out, unprobed(s.engine.Uplinks, links)...)
	out = append(out, s.uncarried(links)...)
	out = append(out, s.ownGateways()...)
	out = append(out, inVRFs(s.uplinks, links)...)
	out = append(out, orders(s.engine.Policies, links)...)
	out = append(out, s.fullNatives()...)
	return append(out, s.alikes(links, strict)...)
}

// unprobed returns a problem for each family in which uplinks have no target: they count
// as up there as long as the link, an address and a gateway are.
func unprobed(uplinks []failover.Uplink, links map[string]failover.Link) []control.Problem {
	var out []control.Problem
	for _, f := range failover.Families {
		var names []string
		for _, u := range uplinks {
			family, link := u.Family[f], links[u.Name]
			if u.Enabled && family.Enabled && len(family.Targets) == 0 && link.Routable(f) {
				names = append(names, u.Name)
			}
		}
		if len(names) > 0 {
			out = append(out, control.Problem{
				Code: "not-probed", Severity: control.Info, Object: f.String(),
				Text:   fmt.Sprintf("no target of %s is probed in %s: up there means that the link and the gateway's route are there", strings.Join(names, " and "), f),
				Remedy: fmt.Sprintf("name %s addresses in probe.targets, or turn the family off where it is not used", f),
			})
		}
	}
	return out
}

// nameProblems returns the problems of interfaces whose names make them unusable:
// those of uplinks, by uplink, and under `uplinks: auto` those that hold default
// routes.
func nameProblems(s setup, misnamed map[string]string, defaults []config.DefaultRoute) []control.Problem {
	found := map[string]string{} // by interface, whose
	for uplink, device := range misnamed {
		found[device] = "uplink " + uplink
	}
	if s.cfg.AutoUplinks {
		for _, d := range defaults {
			if d.Interface != "lo" && config.WrongDevice(d.Interface) != "" {
				found[d.Interface] = "a default route"
			}
		}
	}
	var out []control.Problem
	for _, device := range slices.Sorted(maps.Keys(found)) {
		out = append(out, control.Problem{
			Code: "interface-name", Severity: control.Warning, Object: device,
			Text:   fmt.Sprintf("the interface %q of %s %s, so it is left out", device, found[device], config.WrongDevice(device)),
			Remedy: "give it a name of letters, digits, dots, hyphens and underscores: ip link set dev OLD name NEW, or a .link file of systemd",
		})
	}
	return out
}

// withdrawnFor is how long a gateway's route may be missing, while the uplink still
// answers, before that is reported as a problem.
const withdrawnFor = time.Minute

// unusedFor is the same where nothing else leads to that gateway.
const unusedFor = 5 * time.Second

// tellWaiting says in the problems of uplinks that are down that their sessions wait for
// them, by on_down: keep. Without carrier the kernel moves them.
func tellWaiting(problems []control.Problem, view failover.View) {
	for i, p := range problems {
		for _, u := range view.Uplinks {
			if p.Code == "uplink-down" && u.Name == p.Object && u.Link.Carrier {
				problems[i].Text += "; its sessions wait for it (on_down: keep)"
			}
		}
	}
}

// withdrawnProblems returns the problems of uplinks that answer although the route
// to their gateway was withdrawn and has not come back. acts is whether any traffic goes
// by what the daemon decides: if none does, none goes by them.
func withdrawnProblems(view failover.View, acts bool, now failover.Instant, clock control.Clock) []control.Problem {
	patience := withdrawnFor
	if !acts {
		patience = unusedFor
	}
	var out []control.Problem
	for _, u := range view.Uplinks {
		var families []string
		since := now
		for _, f := range failover.Families {
			v := u.Family[f]
			if u.Enabled && u.Admin != "drained" && v.Withdrawn >= 0 && now-v.Withdrawn > patience && v.State.Answering() {
				families = append(families, f.String())
				since = min(since, v.Withdrawn)
			}
		}
		if families == nil {
			continue
		}
		p := control.Problem{
			Code: "gateway-withdrawn", Severity: control.Warning, Object: u.Name, Since: control.At(clock(since)),
			Text: fmt.Sprintf("the default route of %s in %s is gone from table main, but its gateway still answers: it stays in use",
				u.Link.Interface, strings.Join(families, " and ")),
			Remedy: fmt.Sprintf("see what took the route away; if it should not be used, run swerve drain %s", u.Name),
		}
		if !acts {
			p.Text = fmt.Sprintf("the default route of %s in %s is gone from table main; its gateway still answers, but Swerve only watches, so nothing goes by it",
				u.Link.Interface, strings.Join(families, " and "))
			p.Remedy = "see what took the route away, and have its DHCP client or network manager set it again"
		}
		out = append(out, p)
	}
	return out
}

// mostIntruders bounds the foreign routes in our tables that have a problem each.
const mostIntruders = 8

// intruders returns the problems of default routes that other programs have put
// into our tables: one for each of the first mostIntruders, those that are met before
// ours at the head, and one that counts the rest.
func (s setup) intruders(foreign []routing.Route) []control.Problem {
	var before, behind []control.Problem
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
		if to := r.Dst; to.Bits() > 0 {
			p.Object = fmt.Sprintf("table %d %s", r.Table, to)
			p.Text += "; what goes there meets it before ours"
		}
		if !first {
			behind = append(behind, p)
			continue
		}
		p.Severity = control.Critical
		if r.Dst.Bits() == 0 {
			p.Text += "; it is met before ours, so traffic goes by it"
		}
		before = append(before, p)
	}
	out := append(before, behind...)
	if more := len(out) - mostIntruders; more > 0 {
		rest := control.Problem{
			Code: "foreign-route", Severity: out[mostIntruders].Severity, Object: "tables of Swerve's",
			Text: "other programs have " + say.Several(more, "more route", "more routes") + " in tables of Swerve's",
			Remedy: fmt.Sprintf("ip route show table all lists them, in tables %d to %d without proto %d: delete them, and have their owner use another table",
				s.layout.Table(lane.FirstUplink), s.layout.Table(lane.LastPolicy), lane.Protocol),
		}
		out = append(out[:mostIntruders:mostIntruders], rest)
	}
	return out
}

// needsRestart reports whether a configuration differs from the one at the start in
// a part that is only read at the start.
func needsRestart(now, begun *config.Config) bool {
	return now.Control != begun.Control || now.State != begun.State || now.Metrics != begun.Metrics ||
		now.Log != begun.Log || now.Kernel.ManageSysctls != begun.Kernel.ManageSysctls
}

// uncarried returns the problems of default routes with attributes that our routes
// cannot have.
func (s setup) uncarried(links map[string]failover.Link) []control.Problem {
	var out []control.Problem
	for _, u := range s.uplinks {
		for _, f := range failover.Families {
			what := links[u.Name].Family[f].Uncarried
			if !u.Enabled || what == "" {
				continue
			}
			key, gateway := "route", "gateway"
			if f == failover.IPv6 {
				key, gateway = "route6", "gateway6"
			}
			out = append(out, control.Problem{
				Code: "route-not-carried", Severity: control.Warning, Object: u.Name,
				Text: fmt.Sprintf("the %s default route of %s says what our routes by it cannot have: %s", f, u.Name, what),
				Remedy: fmt.Sprintf("write under %s or %s of this uplink what holds instead, or take the uplink out of the configuration",
					key, gateway),
			})
		}
	}
	return append(out, s.unshared(links)...)
}

// refused returns the problems of uplinks whose routes the kernel refuses.
func (s setup) refused(refusals []routing.Refusal) []control.Problem {
	var out []control.Problem
	for _, r := range refusals {
		name, known := s.uplinkOf(r.Uplink)
		if !known {
			continue
		}
		p := control.Problem{
			Code: "uplink-refused", Severity: control.Warning, Object: name,
			Text:   fmt.Sprintf("the kernel refuses the %s default route by %s, so nothing is routed by it: %v", r.Family, name, r.Err),
			Remedy: "see its interface and gateway; the other uplinks are used meanwhile, and it is tried again by itself",
		}
		if r.Accepted {
			p.Text = fmt.Sprintf("the kernel refuses %s in the %s default route by %s, so it is used without: %v",
				strings.Join(r.Without, ", "), r.Family, name, r.Err)
			p.Remedy = "see route and route6 of this uplink; it is tried again by itself"
		}
		out = append(out, p)
	}
	return out
}

// unshared returns the problems of uplinks that share a tier and whose routes have
// different attributes: the kernel keeps one shape for a multipath route.
func (s setup) unshared(links map[string]failover.Link) []control.Problem {
	var out []control.Problem
	for _, p := range s.engine.Policies {
		var words []string
		for _, f := range failover.Families {
			for _, tier := range p.TiersOf(f) {
				words = append(words, unsharedBy(tier, links, f)...)
			}
		}
		if len(words) == 0 {
			continue
		}
		slices.Sort(words)
		out = append(out, control.Problem{
			Code: "route-not-shared", Severity: control.Info, Object: p.Name,
			Text: fmt.Sprintf("the default routes of uplinks that share a tier of %s do not agree on %s, so their common route says "+
				"nothing of it; only a flow's first packet goes by that one", p.Name, strings.Join(slices.Compact(words), ", ")),
			Remedy: "write the same under route and route6 of these uplinks, where it matters",
		})
	}
	return out
}

// unsharedBy returns the attributes on which the routes of a tier's uplinks differ in a
// family.
func unsharedBy(tier []failover.Share, links map[string]failover.Link, f failover.Family) []string {
	var words []string
	var first *failover.Shape
	for _, share := range tier {
		link := links[share.Uplink]
		if !link.Routable(f) {
			continue
		}
		if first == nil {
			first = &link.Family[f].Shape
			continue
		}
		words = append(words, routing.Unshared(*first, link.Family[f].Shape)...)
	}
	return words
}

// orders returns the problem of a default policy whose order differs by family, for the
// uplinks that have both: main prefers one of them in IPv4 and another in IPv6.
func orders(policies []failover.Policy, links map[string]failover.Link) []control.Problem {
	if len(policies) == 0 || policies[0].Tiers6 == nil {
		return nil
	}
	var order [2]string
	for _, f := range failover.Families {
		var tiers []string
		for _, tier := range policies[0].TiersOf(f) {
			var names []string
			for _, share := range tier {
				link := links[share.Uplink]
				if link.Family[failover.IPv4].Offered() && link.Family[failover.IPv6].Offered() {
					names = append(names, share.Uplink)
				}
			}
			if len(names) > 0 {
				tiers = append(tiers, strings.Join(names, " and "))
			}
		}
		order[f] = strings.Join(tiers, ", then ")
	}
	if order[failover.IPv4] == order[failover.IPv6] {
		return nil
	}
	return []control.Problem{{
		Code: "order-by-family", Severity: control.Info, Object: policies[0].Name,
		Text: fmt.Sprintf("the default routes of this machine are in another order in each family, and so are the uplinks: in ipv4 %s; in ipv6 %s",
			order[failover.IPv4], order[failover.IPv6]),
		Remedy: "nothing, if that is meant; else give the default routes of both families metrics in one order, or name the uplinks in the configuration, whose order is for both",
	}}
}

// ownGateways returns the problems of gateways that are addresses of this machine.
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

// inVRFs returns the problems of uplinks whose interfaces belong to VRFs.
func inVRFs(uplinks []config.Uplink, links map[string]failover.Link) []control.Problem {
	var out []control.Problem
	for _, u := range uplinks {
		link := links[u.Name]
		if !u.Enabled || link.VRF == "" {
			continue
		}
		out = append(out, control.Problem{
			Code: "uplink-in-vrf", Severity: control.Warning, Object: u.Name,
			Text: fmt.Sprintf("the interface %s belongs to the VRF %s, by whose table the kernel routes what comes in by it, before Swerve's rules: "+
				"no answer would reach the LAN, so %s is not used", link.Interface, link.VRF, u.Name),
			Remedy: fmt.Sprintf("take it out of the VRF, also where that is configured: ip link set dev %s nomaster; or take the uplink out of the configuration", link.Interface),
		})
	}
	return out
}

// alikes returns the problems of uplinks that are alike, each reported for the
// later of the two. Such uplinks, for instance two modems of the same model, work:
// they are distinguished by device and mark. What no router can distinguish is
// reported.
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

// alike is a pair of uplinks with their links.
type alike struct {
	a, b         config.Uplink
	linkA, linkB failover.Link
	// first is the one whose rules the kernel evaluates first.
	first string
}

// oneInterface reports whether both uplinks are the same device, for instance one
// configured by its name and the other by its MAC address.
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

// oneNetwork reports whether both uplinks have an address, or a network, in common.
// strict reports whether rp_filter is strict on an interface.
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

// narrower returns the smaller of two overlapping networks.
func narrower(x, y netip.Prefix) netip.Prefix {
	if x.Bits() > y.Bits() {
		return x.Masked()
	}
	return y.Masked()
}

// fullNatives returns the problems of uplinks on which as many networks were found to need
// no NAT as are kept.
func (s setup) fullNatives() []control.Problem {
	var out []control.Problem
	for _, u := range s.uplinks {
		if len(s.native[u.Name]) < firewall.MostNative && len(s.plain[u.Name]) < firewall.MostNative {
			continue
		}
		out = append(out, control.Problem{
			Code: "native-full", Severity: control.Warning, Object: u.Name,
			Text:   fmt.Sprintf("%s carried %d or more networks without NAT before the first start, which is as many as are kept: the rest is masqueraded", u.Name, firewall.MostNative),
			Remedy: "name them in the configuration: wider IPv4 networks as snat_except, IPv6 ones as prefix6, or snat: none where nothing is to be translated",
		})
	}
	return out
}
