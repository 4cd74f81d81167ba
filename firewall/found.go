package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"

	"swerve/failover"
	"swerve/lane"
)

// What was found to need no NAT stands in maps that no rule uses, one for each uplink and
// length of prefixes: the rules mix it with what is configured. So a start without the
// state folder knows it.
const (
	nativeMap = "native" // native_LANE_BITS, native6_LANE_BITS: networks
	plainMap  = "plain"  // plain_LANE_BITS_BITS, plain6_…: from one network to another
)

var (
	addressKeys = [2]keyKind{
		{text: "type ipv4_addr", datatype: nftables.TypeIPAddr, network: true},
		{text: "type ipv6_addr", datatype: nftables.TypeIP6Addr, network: true},
	}
	pairKeys = [2]keyKind{
		{"type ipv4_addr . ipv4_addr", nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr), true, true, false},
		{"type ipv6_addr . ipv6_addr", nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeIP6Addr), true, true, false},
	}
)

// foundMaps returns the maps of what was found on uplinks.
func foundMaps(uplinks []Uplink) []verdictMap {
	var out []verdictMap
	add := func(what string, f failover.Family, keys keyKind, n lane.Lane, networks ...netip.Prefix) {
		name := what + [2]string{"", "6"}[f] + "_" + fmt.Sprint(n)
		var key []byte
		var text []string
		for _, p := range networks {
			name += "_" + fmt.Sprint(p.Bits())
			key, text = append(key, p.Masked().Addr().AsSlice()...), append(text, p.Masked().Addr().String())
		}
		i := slices.IndexFunc(out, func(m verdictMap) bool { return m.name == name })
		if i < 0 {
			i, out = len(out), append(out, verdictMap{name: name, keys: keys})
		}
		out[i].elements = append(out[i].elements, entry{key: string(key), text: strings.Join(text, " . "), chain: "own"})
	}
	for _, u := range uplinks {
		for _, f := range failover.Families {
			for _, p := range distinct(ofFamily(u.Found, f)) {
				add(nativeMap, f, addressKeys[f], u.Lane, p)
			}
			for _, e := range u.plain(f) {
				add(plainMap, f, pairKeys[f], u.Lane, e.From, e.To)
			}
		}
	}
	if len(out) > 0 {
		out[0].about = "Networks (by lane and length) found to need no NAT, for a start without the state folder. No rule uses this."
	}
	return out
}

// found reads back what foundMaps wrote.
func (h heldTable) found() (native map[lane.Lane][]netip.Prefix, plain map[lane.Lane][]Ends) {
	native, plain = map[lane.Lane][]netip.Prefix{}, map[lane.Lane][]Ends{}
	for _, name := range h.setNames() {
		what, numbers := splitName(name)
		switch what = strings.TrimSuffix(what, "6"); {
		case what == nativeMap && len(numbers) == 2:
			for key := range h.sets[name].elements {
				if p := networkOf(key, numbers[1]); p.IsValid() {
					n := lane.Lane(numbers[0])
					native[n] = distinct(append(native[n], p))
				}
			}
		case what == plainMap && len(numbers) == 3:
			for key := range h.sets[name].elements {
				half := len(key) / 2
				if e := (Ends{networkOf(key[:half], numbers[1]), networkOf(key[half:], numbers[2])}); e.IsValid() {
					n := lane.Lane(numbers[0])
					plain[n] = append(plain[n], e)
				}
			}
		}
	}
	for _, all := range plain {
		slices.SortFunc(all, func(a, b Ends) int { return strings.Compare(a.String(), b.String()) })
	}
	return native, plain
}

// splitName splits the name of a map into the word and the numbers that it has.
func splitName(name string) (what string, numbers []int) {
	what, rest, _ := strings.Cut(name, "_")
	for part := range strings.SplitSeq(rest, "_") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return "", nil
		}
		numbers = append(numbers, int(n))
	}
	return what, numbers
}

// networkOf returns the network of an address in a key; invalid if it is none.
func networkOf(key string, bits int) netip.Prefix {
	a, _ := netip.AddrFromSlice([]byte(key))
	p, _ := a.Prefix(bits)
	return p
}
