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
	if found := ownTargets(s.uplinks, s.own); len(found) > 0 {
		add("own-target", control.Warning, "probe.targets",
			"these targets are addresses of this machine, which would always answer, so they are left out: "+strings.Join(found, " "),
			"name targets beyond the uplinks")
	}
	out = append(out, s.uncarried(links)...)
	out = append(out, s.ownGateways()...)
	return append(out, s.alikes(links, strict)...)
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

// uncarried are the problems of default routes that say what our routes cannot.
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

// refused are the problems of uplinks that the kernel refuses.
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
			p.Text = fmt.Sprintf("the kernel refuses what the %s default route by %s should say of its packets, so it is used without: %v",
				r.Family, name, r.Err)
			p.Remedy = "see route and route6 of this uplink, congctl and src above all; it is tried again by itself"
		}
		out = append(out, p)
	}
	return out
}

// unshared are the problems of uplinks that share a tier and whose routes say
// different things: the kernel keeps one shape for a route of several hops.
func (s setup) unshared(links map[string]failover.Link) []control.Problem {
	var out []control.Problem
	for _, p := range s.engine.Policies {
		for _, tier := range p.Tiers {
			if words := unsharedBy(tier, links); len(words) > 0 {
				out = append(out, control.Problem{
					Code: "route-not-shared", Severity: control.Info, Object: p.Name,
					Text: fmt.Sprintf("the default routes of uplinks that share a tier of %s do not agree on %s, so their common route says "+
						"nothing of it; only a flow's first packet goes by that one", p.Name, strings.Join(words, ", ")),
					Remedy: "write the same under route and route6 of these uplinks, where it matters",
				})
				break
			}
		}
	}
	return out
}

// unsharedBy names what the routes of a tier's uplinks do not agree on.
func unsharedBy(tier []failover.Share, links map[string]failover.Link) []string {
	var words []string
	for _, f := range failover.Families {
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
	}
	slices.Sort(words)
	return slices.Compact(words)
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
