package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// translations returns the prefixes that an uplink translates now, and what is wrong with
// the others, as phrases.
func (g goal) translations(u config.Uplink) (out []firewall.PrefixPair, wrong []string) {
	if u.SNAT6 != config.NPT || !u.IPv6 {
		return nil, nil
	}
	delegated := g.delegatedTo(u)
	for _, t := range u.NPT {
		outside, auto := t.Outside, !t.Outside.IsValid()
		if auto {
			outside = subnetOf(delegated, t.Subnet)
		}
		inUse := slices.IndexFunc(g.links.lan.Addresses, func(a netip.Prefix) bool { return outside.IsValid() && a.Overlaps(outside) })
		switch {
		case auto && !delegated.IsValid():
			wrong = append(wrong, fmt.Sprintf("no prefix is known to be delegated by %s, of which %s takes number %d", u.Name, t.Inside, t.Subnet))
		case auto && !outside.IsValid():
			wrong = append(wrong, fmt.Sprintf("%s, delegated by %s, has no /64 number %d for %s", delegated, u.Name, t.Subnet, t.Inside))
		case inUse >= 0:
			wrong = append(wrong, fmt.Sprintf("%s, to which %s is to be translated on %s, is in use on this machine (%s)", outside, t.Inside, u.Name,
				g.links.lan.Addresses[inUse].Addr()))
		default:
			out = append(out, firewall.PrefixPair{Inside: t.Inside, Outside: outside})
		}
	}
	return out, wrong
}

// delegatedTo returns the prefix that an uplink's provider has delegated; invalid if none
// is known. It is that of a default route for this source alone, or else one that leads
// to nowhere in main: with a network that is native on the uplink, or where no other
// uplink has IPv6, or that has more bits in common with the uplink's addresses than with
// those of any other one.
func (g goal) delegatedTo(u config.Uplink) netip.Prefix {
	for _, p := range g.links.last[u.Name].prefixes {
		if p.Bits() <= 64 {
			return p.Masked()
		}
	}
	all := g.links.lan.Delegated
	for _, p := range all {
		if slices.ContainsFunc(nativeOf(g.native, u, failover.IPv6), func(q netip.Prefix) bool { return p.Overlaps(q) }) {
			return p
		}
	}
	var rivals []netip.Addr
	for _, o := range g.uplinks {
		if o.Name != u.Name && o.Enabled && o.IPv6 {
			for _, a := range g.links.last[o.Name].sources(failover.IPv6) {
				rivals = append(rivals, a.Addr())
			}
		}
	}
	var own []netip.Addr
	for _, a := range g.links.last[u.Name].sources(failover.IPv6) {
		own = append(own, a.Addr())
	}
	const sameProvider = 24 // providers hold blocks of /32 and more, some of /19
	for _, p := range all {
		if n := common(p, own); len(rivals) == 0 || n >= sameProvider && n > common(p, rivals) {
			return p
		}
	}
	return netip.Prefix{}
}

// common returns how many bits a prefix has at most in common with one of the addresses.
func common(p netip.Prefix, addresses []netip.Addr) int {
	most := 0
	a := p.Addr().As16()
	for _, other := range addresses {
		b := other.As16()
		n := bits.LeadingZeros64(binary.BigEndian.Uint64(a[:8]) ^ binary.BigEndian.Uint64(b[:8]))
		most = max(most, min(n, p.Bits()))
	}
	return most
}

// subnetOf returns the /64 of a prefix with a number; invalid if there is none.
func subnetOf(p netip.Prefix, n int) netip.Prefix {
	const length = 64
	if !p.IsValid() || p.Bits() > length || length-p.Bits() < 63 && n>>(length-p.Bits()) != 0 {
		return netip.Prefix{}
	}
	a := p.Masked().Addr().As16()
	binary.BigEndian.PutUint64(a[:8], binary.BigEndian.Uint64(a[:8])+uint64(n))
	return netip.PrefixFrom(netip.AddrFrom16(a), length)
}

// nptProblems returns the problems of prefixes that are not translated.
func nptProblems(s setup, links picture) []control.Problem {
	var out []control.Problem
	g := goal{setup: s, links: links}
	for _, u := range s.uplinks {
		if link := links.links[u.Name]; !u.Enabled || !link.Routable(failover.IPv6) {
			continue
		}
		_, wrong := g.translations(u)
		for _, text := range wrong {
			out = append(out, control.Problem{
				Code: "npt", Severity: control.Warning, Object: u.Name,
				Text:   text + ": such sources are masqueraded there",
				Remedy: "name an outside prefix of its own that the provider routes here, with npt: {INSIDE: OUTSIDE}",
			})
		}
	}
	return out
}

// renumbering ends the IPv6 flows of an uplink whose translation has changed.
type renumbering struct {
	layout lane.Layout
	uplink firewall.Uplink
}

// carryOut deletes the entries; TCP that goes on is answered with a reset.
func (r renumbering) carryOut(w *worker) {
	begin := time.Now()
	failed := w.flows.Grace([]string{r.uplink.Interface})
	pokes, undropped := w.flows.DropFlows(r.layout, r.uplink.Lane, failover.IPv6)
	failed = errors.Join(failed, undropped)
	detail := control.SessionsDetail{
		Action: "moved", Uplink: r.uplink.Name, Family: failover.IPv6.String(), TookMS: control.Millis(time.Since(begin)),
		Reason: "another prefix is translated to: entries deleted, TCP is reset at its next packet",
	}
	detail = poked(detail, pokes.Sent[failover.IPv6], pokes.Left[failover.IPv6], nil)
	if failed != nil {
		detail.Action, detail.Reason = "failed", "not all sessions with the former prefix were ended: "+failed.Error()
	}
	w.events.Publish(control.Event{Time: control.At(time.Now()), Detail: detail})
}

// foreignNow returns the uplinks on which a prefix is not native any more that was found
// to be: what began without NAT has to begin anew.
func foreignNow(before, now firewall.Goal) []lane.Lane {
	var out []lane.Lane
	for _, u := range now.Uplinks {
		i := slices.IndexFunc(before.Uplinks, func(o firewall.Uplink) bool { return o.Lane == u.Lane && o.Interface == u.Interface })
		if i >= 0 && slices.ContainsFunc(before.Uplinks[i].Found, func(p netip.Prefix) bool {
			return p.Addr().Is6() && !slices.Contains(u.Found, p)
		}) {
			out = append(out, u.Lane)
		}
	}
	return out
}

// renumbered returns the uplinks that translate to other prefixes than they did by the
// goal before: their flows have a source that leads nowhere.
func renumbered(before, now firewall.Goal) []firewall.Uplink {
	var out []firewall.Uplink
	for _, u := range now.Uplinks {
		i := slices.IndexFunc(before.Uplinks, func(o firewall.Uplink) bool { return o.Lane == u.Lane })
		if i < 0 {
			continue
		}
		if slices.ContainsFunc(before.Uplinks[i].NPT, func(t firewall.PrefixPair) bool { return !slices.Contains(u.NPT, t) }) {
			out = append(out, u)
		}
	}
	return out
}
