package daemon

import (
	"fmt"
	"net/netip"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
)

// Uplinks that are alike, such as two modems of one make, work: devices and marks
// tell them apart. Some things of others cannot be told apart by any router, and
// these are said.

// judgeAlike keeps the problems of uplinks that are alike, each at the later of two.
func (l *loop) judgeAlike() {
	var one, network []control.Problem
	for i, b := range l.setup.uplinks {
		for _, a := range l.setup.uplinks[:i] {
			if !a.Enabled || !b.Enabled {
				continue
			}
			pair := alike{a: a, b: b, linkA: l.picture.links[a.Name], linkB: l.picture.links[b.Name]}
			if p, ok := pair.oneInterface(); ok {
				one = append(one, p)
				break
			}
			if l.setup.lanes.Uplinks[b.Name] < l.setup.lanes.Uplinks[a.Name] {
				pair.first = b.Name
			} else {
				pair.first = a.Name
			}
			if p, ok := pair.oneNetwork(l.plant.strict); ok {
				network = append(network, p)
				break
			}
		}
	}
	l.problems.setAll("same-interface", one)
	l.problems.setAll("same-network", network)
}

// alike is two uplinks with their links.
type alike struct {
	a, b         config.Uplink
	linkA, linkB failover.Link
	// first is the one whose rules the kernel meets first.
	first string
}

// oneInterface finds that both lead to one device: by a name and a MAC address, say.
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
