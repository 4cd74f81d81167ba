package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"swerve/failover"
)

// Lengths of the prefixes that npt translates, and how many /64s the largest delegation
// has.
const (
	leastNPT     = 48
	mostNPT      = 64
	mostSubnet   = 1<<(mostNPT-leastNPT) - 1
	wantOutside  = "an IPv6 prefix of the same length, /48 to /64, or auto/N, the N-th /64 of the delegated prefix, from 0"
	wantInside   = "an IPv6 prefix of the LAN, /48 to /64"
	wantMappings = "a mapping of prefixes, such as {fd00:1::/64: 2001:db8:1:50::/64}"
)

// Translation maps an IPv6 prefix of the LAN to one of the uplink's, bit by bit (RFC
// 6296, without its checksum neutrality).
type Translation struct {
	// Inside has 48 to 64 bits.
	Inside netip.Prefix
	// Outside is as long as Inside; invalid where it is the /64 with number Subnet, from
	// 0, of the prefix that the provider has delegated.
	Outside netip.Prefix
	Subnet  int
}

// String returns the translation as "INSIDE to OUTSIDE".
func (t Translation) String() string {
	if !t.Outside.IsValid() {
		return fmt.Sprintf("%s to auto/%d", t.Inside, t.Subnet)
	}
	return t.Inside.String() + " to " + t.Outside.String()
}

// translations reads the mapping of npt.
func translations(d *decoder, n node) ([]Translation, bool) {
	entries, ok := d.entries(n, wantMappings)
	if len(entries) > maxSmallList {
		d.wrong(n, fmt.Sprintf("has %d prefixes", len(entries)), fmt.Sprintf("at most %d", maxSmallList))
		return nil, false
	}
	var out []Translation
	for _, e := range entries {
		t, good := translation(d, e)
		if good && overlap(t.Inside, t.Outside) {
			d.wrong(e.node, "overlaps with what it is translated to, "+t.Outside.String(), "an inside prefix that is not the provider's")
			good = false
		}
		for _, o := range out {
			switch {
			case !good:
			case overlap(o.Inside, t.Inside):
				d.wrong(e.node, "overlaps with "+o.Inside.String(), "each inside prefix once")
				good = false
			case overlap(o.Outside, t.Outside) || !o.Outside.IsValid() && !t.Outside.IsValid() && o.Subnet == t.Subnet:
				d.wrong(e.node, "is translated to the same addresses as "+o.Inside.String(), "an outside prefix of its own")
				good = false
			}
		}
		ok = ok && good
		out = append(out, t)
	}
	return out, ok
}

func translation(d *decoder, e entry) (t Translation, ok bool) {
	if t.Inside, ok = nptPrefix(d, e.node, e.key, wantInside); !ok {
		return t, false
	}
	s, ok := d.text(e.node, wantOutside)
	if !ok {
		return t, false
	}
	number, auto := strings.CutPrefix(s, autoWord+"/")
	if !auto {
		if t.Outside, ok = nptPrefix(d, e.node, s, wantOutside); ok && t.Outside.Bits() != t.Inside.Bits() {
			d.wrong(e.node, fmt.Sprintf("%s has another length than %s", t.Outside, t.Inside), fmt.Sprintf("a prefix of /%d", t.Inside.Bits()))
			ok = false
		}
		return t, ok
	}
	v, err := strconv.ParseUint(number, 10, 32)
	switch {
	case err != nil || v > mostSubnet:
		d.wrong(e.node, show(s)+" is not a network of a delegated prefix", fmt.Sprintf("auto/N with N from 0 to %d", mostSubnet))
	case t.Inside.Bits() != mostNPT:
		d.wrong(e.node, fmt.Sprintf("auto/%d is a /%d, and %s is not", v, mostNPT, t.Inside), fmt.Sprintf("an inside prefix of /%d", mostNPT))
	default:
		t.Subnet = int(v)
		return t, true
	}
	return t, false
}

// nptPrefix reads one of the two prefixes of a translation.
func nptPrefix(d *decoder, n node, s, want string) (netip.Prefix, bool) {
	p, wrong, right := parsePrefix(s)
	switch {
	case wrong != "":
	case failover.FamilyOf(p.Addr()) != failover.IPv6:
		wrong = "is an IPv4 prefix"
	case p.Bits() < leastNPT || p.Bits() > mostNPT:
		wrong = fmt.Sprintf("has %d bits", p.Bits())
	case p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsUnspecified():
		wrong = "has no addresses that leave by an uplink"
	default:
		return p, true
	}
	if right == "" {
		right = want
	}
	d.wrong(n, show(s)+" "+wrong, right)
	return netip.Prefix{}, false
}

// overlap reports whether two prefixes have addresses in common.
func overlap(a, b netip.Prefix) bool { return a.IsValid() && b.IsValid() && a.Overlaps(b) }

// checkTranslations finds npt without what makes it act, and the other way around.
func (d *decoder) checkTranslations(u Uplink, path string) {
	npt := keyPath(path, "npt")
	switch {
	case u.SNAT6 == NPT && len(u.NPT) == 0 && !d.reported(npt):
		d.wrongAt(d.firstGiven(path, "npt", "snat6"), "snat6: npt has no prefix to translate", "npt: {INSIDE: OUTSIDE}, or snat6: foreign")
	case u.SNAT6 != NPT && len(u.NPT) > 0 && !d.reported(keyPath(path, "snat6")):
		d.wrongAt(npt, "translates prefixes, and snat6 is "+string(u.SNAT6), "snat6: npt, or no npt")
	}
}

// reported reports whether there is a problem with a value or a part of it.
func (d *decoder) reported(path string) bool {
	return slices.ContainsFunc(d.list, func(p Problem) bool { return p.Path == path || strings.HasPrefix(p.Path, path+".") })
}
