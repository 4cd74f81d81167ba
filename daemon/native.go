package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// shown is, by uplink, what its flows showed when they were first examined. An uplink
// without an entry was never examined. It is a value: maps are replaced, never changed.
type shown[T any] map[string][]T

// natives are the networks whose sources an uplink carried without NAT, plains the
// flows that it carried so to networks with routes of their own.
type (
	natives = shown[netip.Prefix]
	plains  = shown[firewall.Ends]
)

// bounded returns what is kept of that which was found; never nil, which would be
// written as null.
func bounded[T any](found []T) []T {
	return append([]T{}, found[:min(len(found), firewall.MostNative)]...)
}

// check reports an error for a value that this version could not have written.
func (s shown[T]) check(valid func(T) bool) error {
	for name, list := range s {
		if len(list) > firewall.MostNative {
			return fmt.Errorf("%d native networks of uplink %q, more than %d", len(list), name, firewall.MostNative)
		}
		if !all(list, valid) {
			return fmt.Errorf("a native network of uplink %q is no prefix", name)
		}
	}
	return nil
}

func all[T any](list []T, valid func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !valid(v) })
}

// retain returns the entries of these uplinks.
func (s shown[T]) retain(uplinks []config.Uplink) shown[T] {
	var out shown[T]
	for _, u := range uplinks {
		if list, ok := s[u.Name]; ok {
			if out == nil {
				out = shown[T]{}
			}
			out[u.Name] = list
		}
	}
	return out
}

// with returns the entries of s, and those of uplinks that it has none of.
func (s shown[T]) with(found shown[T]) shown[T] {
	out := maps.Clone(found)
	maps.Copy(out, s)
	return out
}

// learns reports whether an uplink's configuration leaves it to us what it does not
// masquerade in a family.
func learns(u config.Uplink, f failover.Family) bool {
	if f == failover.IPv4 {
		return u.SNAT == config.SNATAuto
	}
	return u.Prefix6.Auto && u.IPv6
}

// nativeOf returns the networks of a family that were found native on an uplink and
// apply to it.
func nativeOf(n natives, u config.Uplink, f failover.Family) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(n[u.Name]), func(p netip.Prefix) bool {
		return p.Addr().Is4() != (f == failover.IPv4) || !learns(u, f)
	})
}

// plainOf returns the flows of a family that were found to need no NAT on an uplink
// and apply to it.
func plainOf(p plains, u config.Uplink, f failover.Family) []firewall.Ends {
	return slices.DeleteFunc(slices.Clone(p[u.Name]), func(e firewall.Ends) bool {
		return e.From.Addr().Is4() != (f == failover.IPv4) || !learns(u, f)
	})
}

// insideOf returns the parts of an uplink's own network that are behind other devices
// and apply to it: they need no proof, and are not kept.
func insideOf(u config.Uplink, last remembered) []netip.Prefix {
	if !learns(u, failover.IPv4) {
		return nil
	}
	return last.inside
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

// candidateAddresses returns the addresses of interfaces that are probed and not used
// yet.
func (g goal) candidateAddresses() (out []netip.Addr) {
	for _, c := range g.candidates {
		for _, f := range g.links.links[c.Name].Family {
			for _, a := range f.Own() {
				out = append(out, a.Addr())
			}
		}
	}
	return out
}

// recollect learns from the table in the kernel what needs no NAT on uplinks of which the
// state says nothing. former has the lanes of interfaces according to the kernel's rules.
func (l *loop) recollect(held firewall.Observed, former map[string]lane.Lane) {
	native, plain := natives{}, plains{}
	for _, u := range l.setup.uplinks {
		n, same := former[configuredName(u)]
		if same && n == l.setup.lanes.Uplinks[u.Name] && len(held.Native[n])+len(held.Plain[n]) > 0 {
			native[u.Name], plain[u.Name] = bounded(held.Native[n]), bounded(held.Plain[n])
		}
	}
	if len(native) == 0 {
		return
	}
	l.state.Native, l.state.Plain = l.state.Native.with(native), l.state.Plain.with(plain)
	l.setup.native, l.setup.plain = l.setup.native.with(native), l.setup.plain.with(plain)
}

// nativeOf returns the networks that are native on an uplink without being configured,
// for the status; never nil.
func (s setup) nativeOf(uplink string, last remembered) []netip.Prefix {
	out := []netip.Prefix{}
	for _, u := range s.uplinks {
		if u.Name != uplink {
			continue
		}
		out = append(out, nativeOf(s.native, u, failover.IPv4)...)
		for _, p := range insideOf(u, last) {
			if !slices.ContainsFunc(out, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }) {
				out = append(out, p)
			}
		}
		out = append(out, nativeOf(s.native, u, failover.IPv6)...)
	}
	return out
}

// Found returns what a daemon with this configuration found on an uplink to need no
// NAT, and how it found out: native networks, and pairs of networks as "FROM to TO"; none
// if its state cannot be read.
func Found(cfg *config.Config) func(config.Uplink) []string {
	s, _ := loadState(cfg.State)
	return func(u config.Uplink) (out []string) {
		for _, f := range failover.Families {
			for _, p := range nativeOf(s.Native, u, f) {
				how := " (found at the first start)"
				if slices.Contains(s.Proven[u.Name], p) {
					how = " (proven by a probe)"
				}
				out = append(out, p.String()+how)
			}
			for _, e := range plainOf(s.Plain, u, f) {
				out = append(out, e.String()+" (found at the first start)")
			}
		}
		return out
	}
}
