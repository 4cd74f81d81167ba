package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// natives are, by uplink, the networks whose sources it carried without NAT when
// its flows were first examined. An uplink without an entry was never examined. It
// is a value: maps are replaced, never changed.
type natives map[string][]netip.Prefix

// bounded returns the networks that are kept of those found; never nil, which would
// be written as null.
func bounded(found []netip.Prefix) []netip.Prefix {
	return append([]netip.Prefix{}, found[:min(len(found), firewall.MostNative)]...)
}

// check reports an error for a value that this version could not have written.
func (n natives) check() error {
	for name, list := range n {
		if len(list) > firewall.MostNative {
			return fmt.Errorf("%d native networks of uplink %q, more than %d", len(list), name, firewall.MostNative)
		}
		for _, p := range list {
			if !p.IsValid() {
				return fmt.Errorf("a native network of uplink %q is no prefix", name)
			}
		}
	}
	return nil
}

// of returns the native networks that apply to an uplink: those found, if its
// configuration leaves the choice to us.
func (n natives) of(u config.Uplink) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(n[u.Name]), func(p netip.Prefix) bool {
		if p.Addr().Is4() {
			return u.SNAT != config.SNATAuto
		}
		return !u.Prefix6.Auto || !u.IPv6
	})
}

// retain returns the entries of these uplinks.
func (n natives) retain(uplinks []config.Uplink) natives {
	var out natives
	for _, u := range uplinks {
		if list, ok := n[u.Name]; ok {
			if out == nil {
				out = natives{}
			}
			out[u.Name] = list
		}
	}
	return out
}

// unadopted returns the present uplinks that no run has adopted yet, or all present
// ones.
func (g goal) unadopted(all bool) (names []string, lanes []lane.Lane) {
	for _, u := range g.uplinks {
		if _, done := g.native[u.Name]; (all || !done) && u.Enabled && g.links.links[u.Name].Present {
			names, lanes = append(names, u.Name), append(lanes, g.lanes.Uplinks[u.Name])
		}
	}
	return names, lanes
}

// nativeSources returns the networks of a family that are never masqueraded on an
// uplink, beside the link's own.
func (g goal) nativeSources(u config.Uplink, f failover.Family) []netip.Prefix {
	return slices.DeleteFunc(g.native.of(u), func(p netip.Prefix) bool { return p.Addr().Is4() != (f == failover.IPv4) })
}

// nativeOf returns the networks found native on an uplink, for the status; never
// nil.
func (s setup) nativeOf(uplink string) []netip.Prefix {
	for _, u := range s.uplinks {
		if u.Name == uplink {
			return append([]netip.Prefix{}, s.native.of(u)...)
		}
	}
	return []netip.Prefix{}
}

// Native returns the networks that a daemon with this configuration found native on
// an uplink; none if its state cannot be read.
func Native(cfg *config.Config) func(config.Uplink) []netip.Prefix {
	s, _ := loadState(cfg.State)
	return s.Native.of
}
