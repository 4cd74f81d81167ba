package daemon

import (
	"maps"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"swerve/config"
	"swerve/control"
	"swerve/lane"
	"swerve/routing"
)

// A default route in main by an interface that is no uplink, and better than those
// of all uplinks, stays in force as a VPN's. But a modem that returned by another
// name, a bridge above an uplink's interface, or an uplink that was taken out of the
// configuration has such a route too. Nothing masquerades what the LAN sends there:
// if traffic followed that route, the LAN would be offline, and its addresses on the
// wire. So the route is followed only by a tunnel, or if it stood at the very first
// start, when the machine's traffic went that way.

// Medium is what kind of device an interface is.
type Medium uint8

const (
	// UnknownMedium is a device of which nothing is known.
	UnknownMedium Medium = iota
	// Line is a network card, a modem, or a bridge, bond or VLAN of such.
	Line
	// OtherMedium is neither: a provider's or a VPN's, as with PPP.
	OtherMedium
	// Tunnel leads through another interface, as VPNs do.
	Tunnel
)

// mostForeign bounds the interfaces whose default routes are remembered.
const mostForeign = 128

// MediumOf returns the kind of the device with an index.
func MediumOf(index int) Medium {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return UnknownMedium
	}
	switch link.Type() {
	case "device", "veth", "bridge", "bond", "team", "vlan", "macvlan", "ipvlan", "wwan", "hsr":
		return Line
	case "ppp", "dummy", "ifb":
		return OtherMedium
	}
	return Tunnel
}

// strangers returns the devices of default routes in main that never take the traffic
// from the uplinks.
func (s setup) strangers(foreign []routing.Route, media map[int]Medium) []int {
	var out []int
	for _, r := range foreign {
		for _, h := range r.Hops {
			if isDefaultOfMain(r) && s.isStranger(h.Device, media[h.Index]) {
				out = append(out, h.Index)
			}
		}
	}
	return out
}

func isDefaultOfMain(r routing.Route) bool {
	return r.Table == routing.MainTable && r.Dst.Bits() == 0 && r.TOS == 0 && !r.Src.IsValid() && r.Protocol != lane.Protocol
}

func (s setup) isStranger(device string, m Medium) bool {
	stood, known := s.foreign[device]
	switch {
	case m == Tunnel || m == UnknownMedium:
		return false
	case known:
		return !stood
	case m == Line:
		return true
	}
	// The successor of an uplink's: ppp1 of ppp0.
	return slices.ContainsFunc(s.uplinks, func(u config.Uplink) bool {
		return configuredName(u) != "" && stem(configuredName(u)) == stem(device)
	})
}

// stem returns an interface's name without its number.
func stem(device string) string { return strings.TrimRight(device, "0123456789") }

// stoodBefore returns the interfaces of default routes in main that the machine's
// traffic may have followed before the first start. In families in which an earlier
// run led the traffic past main they are none. The map is never nil: this is done
// once.
func stoodBefore(foreign []routing.Route, held routing.State) map[string]bool {
	out := map[string]bool{}
	for _, r := range foreign {
		led := slices.ContainsFunc(held.Rules, func(rule routing.Rule) bool {
			return rule.Family == r.Family && rule.Priority == lane.LastResortPriority
		})
		for _, h := range r.Hops {
			if isDefaultOfMain(r) && !led && h.Device != "" && len(out) < mostForeign {
				out[h.Device] = true
			}
		}
	}
	return out
}

// noteUplinks returns the map with the uplinks' present interfaces as such that are
// not followed once they are no uplinks any more.
func (s setup) noteUplinks(known map[string]bool, links picture) map[string]bool {
	out := known
	for _, u := range s.uplinks {
		name := links.links[u.Name].Interface
		stood, ok := out[name]
		if name == "" || ok && !stood || !ok && len(out) >= mostForeign {
			continue
		}
		out = maps.Clone(out)
		if out == nil {
			out = map[string]bool{}
		}
		out[name] = false
	}
	return out
}

// readMedia reads what kinds of devices the foreign default routes use.
func (k *kernel) readMedia(foreign []routing.Route) {
	media := map[int]Medium{}
	for _, r := range foreign {
		for _, h := range r.Hops {
			if !isDefaultOfMain(r) || h.Index == 0 || k.mediumOf == nil {
				continue
			}
			if media[h.Index] = k.media[h.Index]; media[h.Index] == UnknownMedium {
				media[h.Index] = k.mediumOf(h.Index)
			}
		}
	}
	k.media = media
}

// strangerProblem returns the problem of a stranger's default route that the uplinks
// are preferred to. former: the stranger was an uplink.
func strangerProblem(device, route string, former bool) control.Problem {
	p := control.Problem{
		Code: "default-passed-over", Severity: control.Warning, Object: device,
		Text: device + " has a default route in main that is better than those of all uplinks, but it is no uplink, and what left there " +
			"would not be masqueraded: traffic stays on the uplinks: " + route,
		Remedy: "name " + device + " as the interface of an uplink if it leads to a provider; else delete that route, or give it a metric above the uplinks' own",
	}
	if former {
		p.Severity = control.Info
		p.Text = device + " is no uplink any more, and its default route in main is better than those of all uplinks; traffic stays on these: " + route
	}
	return p
}
