package daemon

import (
	"net/netip"
	"slices"

	"swerve/config"
	"swerve/failover"
	"swerve/linkmon"
)

// picture is what is known of the links. The loop owns it.
type picture struct {
	// links has the uplinks' links, as the monitor last reported them.
	links map[string]failover.Link
	// last has, by uplink, its last interface name and addresses: they are needed
	// to handle the flows of an uplink that has lost them.
	last map[string]remembered
	// lan is what this machine has of IPv6 beside the uplinks.
	lan linkmon.LAN
	// misnamed has, by uplink, the interface's name if it cannot be used.
	misnamed map[string]string
}

type remembered struct {
	name string
	// addresses are the uplink's own addresses.
	addresses [2][]netip.Prefix
	// elsewhere are the addresses on other devices that are used in place of its
	// own, if it never had one: an uplink that loses its own has not become the
	// only one that carries the LAN's.
	elsewhere [2][]netip.Prefix
	// preferred is the source that its default route prefers, if it is none of
	// addresses; translated is the one to which sources are translated, if masquerading
	// chooses another one (see failover.FamilyLink.Preferred).
	preferred  [2]netip.Prefix
	translated [2]netip.Addr
	// prefixes are the IPv6 sources that the uplink has default routes for.
	prefixes []netip.Prefix
	// mtu is what packets by the uplink may be long, by family; 0 if unknown.
	mtu [2]int
	// inside are the parts of the uplink's IPv4 networks that are behind other devices.
	inside []netip.Prefix
	// beside are the IPv4 networks of its own that its gateway is in.
	beside []netip.Prefix
	// offered: it had an address and a gateway in some family.
	offered bool
}

// sources returns the source addresses that flows by the uplink may have.
func (r remembered) sources(f failover.Family) []netip.Prefix {
	return slices.Concat(r.exclusive(f), r.elsewhere[f])
}

// exclusive returns those that are not borrowed from other devices.
func (r remembered) exclusive(f failover.Family) []netip.Prefix {
	if p := r.preferred[f]; p.IsValid() {
		return slices.Concat([]netip.Prefix{p}, r.addresses[f])
	}
	return r.addresses[f]
}

func newPicture() picture {
	return picture{links: map[string]failover.Link{}, last: map[string]remembered{}, misnamed: map[string]string{}}
}

// usable returns a link as it may be used: if its interface has a name on which
// traffic cannot be masqueraded, it counts as absent, since its traffic would leave
// with the LAN's addresses.
func (p picture) usable(uplink string, link failover.Link) failover.Link {
	delete(p.misnamed, uplink)
	if link.Interface == "" || config.WrongDevice(link.Interface) == "" {
		return link
	}
	p.misnamed[uplink] = link.Interface
	return failover.Link{}
}

// set replaces what is known of an uplink's link.
func (p picture) set(uplink string, link failover.Link) {
	p.links[uplink] = link
	last := p.last[uplink]
	if link.Interface != "" {
		last.name = link.Interface
	}
	for _, f := range failover.Families {
		last.offered = last.offered || link.Routable(f)
		last.setFamily(f, &link.Family[f])
		if link.MTU > 0 {
			last.mtu[f] = link.MTU
			if told := int(link.Family[f].Shape.Metrics[failover.MetricMTU]); told > 0 {
				last.mtu[f] = min(told, link.MTU)
			}
		}
	}
	if now := link.Family[failover.IPv4]; len(now.Addresses) > 0 {
		last.inside = now.Inside
		if now.Gateway.IsValid() {
			last.beside = networksWith(now.Gateway, now.Addresses)
		}
	}
	if found := link.Family[failover.IPv6].Prefixes; len(found) > 0 {
		last.prefixes = found
	}
	p.last[uplink] = last
}

// networksWith returns the networks of addresses that another one is in.
func networksWith(a netip.Addr, addresses []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range addresses {
		if p.Contains(a) {
			out = append(out, p.Masked())
		}
	}
	return out
}

// setFamily replaces what is known of the addresses in a family, as far as the link has
// any.
func (r *remembered) setFamily(f failover.Family, link *failover.FamilyLink) {
	borrowed := link.Elsewhere
	if preferred := len(link.Own()) - len(link.Addresses); preferred > 0 {
		r.preferred[f], borrowed = borrowed[0], borrowed[1:]
	} else if link.Offered() {
		r.preferred[f] = netip.Prefix{}
	}
	if link.Offered() {
		r.translated[f] = link.Preferred()
	}
	if len(link.Addresses) > 0 {
		r.addresses[f], r.elsewhere[f] = link.Addresses, nil
	} else if len(borrowed) > 0 && len(r.addresses[f]) == 0 {
		r.elsewhere[f] = borrowed
	}
}

// retain forgets uplinks that are no longer configured.
func (p picture) retain(uplinks []config.Uplink) {
	for name := range p.last {
		if !slices.ContainsFunc(uplinks, func(u config.Uplink) bool { return u.Name == name }) {
			delete(p.links, name)
			delete(p.last, name)
			delete(p.misnamed, name)
		}
	}
}

// name returns the uplink's current interface, else its last one, else the
// configured one.
func (p picture) name(u config.Uplink) string {
	if name := p.last[u.Name].name; name != "" {
		return name
	}
	return configuredName(u)
}
