package daemon

import (
	"cmp"
	"fmt"
	"strings"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
)

// foreignDefaults are the defaults of other programs that stay in force for the
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

// device names the device of a route, empty where it has none.
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

// routeProblems are the problems that follow from other programs' routes and the
// goal for ours.
func routeProblems(g routing.Goal, s setup) []control.Problem {
	return foreignProblems(g)
}

// foreignProblems report the defaults of others that stay in force, one problem for
// each device.
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
		if r.Type != routing.Unicast {
			p.Text = fmt.Sprintf("an %s default route in main is better than those of all uplinks, so the traffic of policy default is stopped by it: %s",
				strings.TrimSpace(p.Object), route)
			p.Remedy = "nothing, if that is a VPN's kill switch; else delete that route, or set kernel.foreign_defaults: overrule"
		}
		out = append(out, p)
	}
	return out
}
