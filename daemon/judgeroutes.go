package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/routing"
)

// foreignDefaults returns other programs' default routes that stay in force for the
// default policy.
func foreignDefaults(g routing.Goal) control.ForeignDefaults {
	var found [2]*control.ForeignDefault
	for _, f := range failover.Families {
		if r, ok := g.ForeignDefault(f); ok {
			found[f] = &control.ForeignDefault{Interface: device(r), Destination: destination(r), Metric: r.Metric}
		}
	}
	return control.ForeignDefaults{IPv4: found[failover.IPv4], IPv6: found[failover.IPv6]}
}

// device returns the name of a route's device, or "" if it has none.
func device(r routing.Route) string {
	if len(r.Hops) == 0 {
		return ""
	}
	return cmp.Or(r.Hops[0].Device, fmt.Sprintf("interface %d", r.Hops[0].Index))
}

func destination(r routing.Route) string {
	if r.Dst.Bits() == 0 {
		return "default"
	}
	return r.Dst.String()
}

// routeProblems returns the problems that follow from other programs' routes and
// the goal for ours. morePins reports that there are more pins than are handled.
func routeProblems(g routing.Goal, morePins bool) []control.Problem {
	out := slices.Concat(foreignProblems(g), foreignSources(g))
	if morePins {
		out = append(out, control.Problem{
			Code: "pins-full", Severity: control.Warning, Object: "main",
			Text:   fmt.Sprintf("main has more than %d host routes of DHCP and router advertisements to public addresses; the rest is not overruled while their uplink is down", routing.MaxPins),
			Remedy: "have the clients make fewer of them (systemd-networkd: RoutesToDNS=no)",
		})
	}
	for _, f := range failover.Families {
		if g.TooManyRules(f) {
			out = append(out, control.Problem{
				Code: "rules-full", Severity: control.Warning, Object: f.String(),
				Text: fmt.Sprintf("there are more than %d %s rules of other programs with priorities from %d on: before the rest, main's narrower routes are used",
					routing.MaxForeignRules, f, g.Layout.FirstPriority),
				Remedy: fmt.Sprintf("give them priorities below %d", g.Layout.FirstPriority),
			})
		}
		if g.TooManySources(f) {
			out = append(out, control.Problem{
				Code: "sources-full", Severity: control.Warning, Object: f.String(),
				Text: fmt.Sprintf("main has %s default routes for more than %d sources or TOS values: packets of the rest go by the ladder of policy default",
					f, routing.MaxSources),
				Remedy: "give larger prefixes in these routes",
			})
		}
		if r, dead := g.MainLeadsToDead(f); dead {
			out = append(out, deadMainProblem(f, r))
		}
		out = append(out, pinProblems(g.Pinned(f))...)
	}
	return out
}

func deadMainProblem(f failover.Family, r routing.Route) control.Problem {
	p := control.Problem{
		Code: "main-leads-to-dead", Severity: control.Warning, Object: device(r),
		Text: fmt.Sprintf("the best %s default route in main, by %s with metric %d, leads to an uplink that is down and cannot be overruled: "+
			"programs that look only into main, such as tailscale, are offline", f, device(r), r.Metric),
		Remedy: "give that route a metric of 2 or more that is not better than a VPN's",
	}
	if r.OfRoutingDaemon() {
		p.Text += "; a routing daemon made it, which would remove it beside a better one of Swerve's"
		p.Remedy = "have the routing daemon itself notice that (BFD, or a BGP session through that uplink); new flows of all else go by the other uplink"
	}
	return p
}

// mostPersonal bounds the problems of host routes that persons and VPNs made.
const mostPersonal = 4

// pinProblems returns the problems of host routes to a lost uplink.
func pinProblems(pins []routing.Route) []control.Problem {
	var out []control.Problem
	personal := 0
	for _, r := range pins {
		remove := "ip route del " + r.Dst.Addr().String() + " via " + r.Hops[0].Gateway.String() + " dev " + device(r)
		p := control.Problem{
			Code: "pinned-route", Severity: control.Warning, Object: r.Dst.Addr().String(),
			Text: fmt.Sprintf("%s is reached by %s alone, which is down: a host route of DHCP or router advertisements in main "+
				"with metric %d cannot be overruled", r.Dst.Addr(), device(r), r.Metric),
			Remedy: "let the client give it a metric, or none of these routes (systemd-networkd: RoutesToDNS=no); until then: " + remove,
		}
		if r.OfPerson() {
			if personal++; personal > mostPersonal {
				continue
			}
			p.Severity = control.Info
			p.Text = fmt.Sprintf("%s is reached by %s alone, which is down, by a host route in main that a person or a VPN made", r.Dst.Addr(), device(r))
			p.Remedy = "nothing, if it belongs to that uplink; a VPN's server: have the VPN make no such route (OpenVPN: redirect-gateway local, or mark its packets); until then: " + remove
		}
		out = append(out, p)
	}
	return out
}

// passedOver returns the problems of strangers' default routes that the uplinks are
// preferred to, one for each device. Candidates have a problem of their own.
func (s setup) passedOver(g routing.Goal) []control.Problem {
	routes := map[string]string{}
	for _, f := range failover.Families {
		if r, ok := g.PassedOver(f); ok {
			text := fmt.Sprintf("%s, metric %d", f, r.Metric)
			if before := routes[device(r)]; before != "" {
				text = before + "; " + text
			}
			routes[device(r)] = text
		}
	}
	var out []control.Problem
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		if slices.ContainsFunc(s.candidates, func(c config.Uplink) bool { return c.Interface == name }) {
			continue
		}
		_, former := s.foreign[name]
		out = append(out, strangerProblem(name, routes[name], former))
	}
	return out
}

// foreignSources returns the problems of other programs' default routes for a source or
// a TOS value that stay in force, one for each device.
func foreignSources(g routing.Goal) []control.Problem {
	var out []control.Problem
	for _, r := range slices.Concat(g.ForeignSources(failover.IPv4), g.ForeignSources(failover.IPv6)) {
		object := cmp.Or(device(r), r.Type.String())
		what := r.Src.String()
		if !r.Src.IsValid() {
			what = fmt.Sprintf("TOS %#x", r.TOS)
		}
		if n := len(out); n > 0 && out[n-1].Object == object {
			out[n-1].Text += ", " + what
			continue
		}
		out = append(out, control.Problem{
			Code: "foreign-default", Severity: control.Info, Object: object,
			Text:   fmt.Sprintf("%s has default routes in main for some packets alone, so what policy default has of them goes by it: %s", object, what),
			Remedy: "nothing, if that is a VPN that should carry it; else delete these routes, or set kernel.foreign_defaults: overrule",
		})
	}
	return out
}

// foreignProblems returns the problems of other programs' default routes that stay
// in force, one for each device.
func foreignProblems(g routing.Goal) []control.Problem {
	var out []control.Problem
	for _, f := range failover.Families {
		r, ok := g.ForeignDefault(f)
		if !ok {
			continue
		}
		p := control.Problem{Code: "foreign-default", Severity: control.Info, Object: device(r)}
		if r.Type != routing.Unicast {
			p.Severity, p.Object = control.Warning, r.Type.String()
		}
		route := fmt.Sprintf("%s %s, metric %d", f, destination(r), r.Metric)
		if n := len(out); n > 0 && out[n-1].Object == p.Object {
			out[n-1].Text += "; " + route
			continue
		}
		p.Text = fmt.Sprintf("%s has a default route in main that is better than those of all uplinks, so the traffic of policy default goes by it: %s",
			p.Object, route)
		p.Remedy = "nothing, if that is a VPN that should carry it; else delete that route, or give it a metric above the uplinks' own"
		if r.Dst.Bits() == 0 {
			p.Remedy += ", or set kernel.foreign_defaults: overrule"
		}
		if g.OnStranger(f) {
			p.Severity = control.Warning
			p.Text = fmt.Sprintf("no uplink has an %s route, so traffic goes by %s, which is none: what the LAN sends is not masqueraded there: %s", f, p.Object, route)
			p.Remedy = "name " + p.Object + " as the interface of an uplink if it leads to a provider"
		}
		if r.Type != routing.Unicast {
			p.Text = fmt.Sprintf("an %s default route in main is better than those of all uplinks, so the traffic of policy default is stopped by it: %s",
				strings.TrimSpace(p.Object), route)
			p.Remedy = "nothing, if that is a VPN's kill switch; else delete that route, or give it a metric above the uplinks' own"
		}
		out = append(out, p)
	}
	return out
}
