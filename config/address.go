package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"swerve/failover"
	"swerve/target"
)

const (
	autoWord  = "auto"
	noneWord  = "none"
	neverWord = "never"
)

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	groupWord   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?$|^[0-9]{1,10}$`)
)

const wantName = "a name of at most 31 characters, a to z, 0 to 9 and -, starting with a letter"

// name reads the name of an uplink or a policy.
func name(d *decoder, n node) (string, bool) {
	s, ok := d.text(n, wantName)
	if ok && !namePattern.MatchString(s) {
		d.wrong(n, show(s)+" is not a valid name", wantName)
	}
	return s, ok
}

const wantInterface = "an interface's name, altname or MAC address"

// interfaceName reads what identifies an interface: its name or altname, which
// the kernel allows no space, slash or colon, or its MAC address, which is
// normalised so that equal addresses compare equal.
func interfaceName(d *decoder, n node) (string, bool) {
	s, ok := d.text(n, wantInterface)
	if !ok {
		return "", false
	}
	if mac, err := net.ParseMAC(s); err == nil && strings.ContainsAny(s, ":-") {
		if len(mac) == 6 && (mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00") {
			d.wrong(n, show(s)+" is the MAC address of no interface", wantInterface)
			return "", false
		}
		return mac.String(), true
	}
	if listed := listedName.FindStringSubmatch(s); listed != nil {
		d.wrong(n, show(s)+" is how ip link lists "+listed[1], listed[1]+": what follows the @ is its peer or parent")
		return "", false
	}
	if wrong := wrongInterface(s); wrong != "" {
		d.wrong(n, show(s)+" "+wrong, wantInterface)
		return "", false
	}
	return s, true
}

// listedName matches an interface's name with what ip(8) lists behind it, such as
// eth0.10@eth0 or wan0@if3.
var listedName = regexp.MustCompile(`^([^@:/\s]{1,15})@[^@:/\s]{1,15}$`)

// maxAltname is ALTIFNAMSIZ of linux/if.h without the terminating NUL.
const maxAltname = 127

func wrongInterface(s string) string {
	switch {
	case s == "" || s == "." || s == "..":
		return "is not an interface name"
	case s == "lo":
		return "is the loopback interface"
	case s == "all" || s == "default":
		return "is what sysctls call all interfaces, or those to come"
	case len(s) > maxAltname:
		return fmt.Sprintf("is longer than %d bytes", maxAltname)
	case strings.ContainsAny(s, "/:") || strings.ContainsFunc(s, unicode.IsSpace):
		return "contains a space, slash or colon"
	}
	if i := strings.IndexFunc(s, unheld); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Sprintf("contains %q (%U), which nftables cannot hold exactly, so that its traffic would go unmasqueraded", r, r)
	}
	return ""
}

// unheld reports whether nft text cannot hold a character in an interface's name as it
// is: it has no way to write a quote or a backslash, and reads * as any characters and
// $ as a variable. Characters beyond ASCII can look like others, or like none.
func unheld(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"\*$`, r) }

// WrongDevice returns why an interface of this name, as the kernel has it, cannot be an
// uplink: "contains …", as a phrase behind the name. It is empty where it can.
func WrongDevice(name string) string { return wrongInterface(name) }

// refusedInterface returns why a file may not name an interface by this name, as a phrase
// behind it; empty where it may.
func refusedInterface(name string) string {
	if listed := listedName.FindStringSubmatch(name); listed != nil {
		return "reads as what ip link lists for " + listed[1] + ", and is refused"
	}
	return wrongInterface(name)
}

// gateway reads the next hop of one family.
func gateway(f failover.Family) reader[Gateway] {
	want := "auto, none (point to point) or an " + familyName(f) + " address"
	if f == failover.IPv4 {
		want = "auto, none (point to point), an IPv4 address or a link-local IPv6 one"
	}
	return func(d *decoder, n node) (Gateway, bool) {
		s, ok := d.text(n, want)
		switch {
		case !ok:
			return Gateway{}, false
		case s == autoWord:
			return Gateway{}, true
		case isNone(s):
			return Gateway{None: true}, true
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			d.wrong(n, show(s)+" is not a gateway", orMeant(s, []string{autoWord, noneWord, "an " + familyName(f) + " address"}))
			return Gateway{}, false
		}
		if wrong := wrongHop(a, f); wrong != "" {
			d.wrong(n, show(s)+" "+wrong, want)
			return Gateway{}, false
		}
		return Gateway{Addr: a}, true
	}
}

// wrongHop returns why an address cannot be a next hop of the family, empty if
// it can. IPv4 may have an IPv6 next hop (RFC 5549).
func wrongHop(a netip.Addr, f failover.Family) string {
	switch {
	case f == failover.IPv4 && a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
		return ""
	case failover.FamilyOf(a) != f:
		return "is an " + familyName(failover.FamilyOf(a)) + " address"
	case a.Zone() != "":
		return "names an interface, which the uplink already does"
	case a.IsMulticast() || a.IsLoopback() || a == broadcast || target.IsThisNetwork(a):
		return "is not the address of a host"
	}
	return ""
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// familyName returns the name of a family as messages write it.
func familyName(f failover.Family) string {
	return [...]string{failover.IPv4: "IPv4", failover.IPv6: "IPv6"}[f]
}

// resolver reads the address of a DNS server.
func resolver(d *decoder, n node) (netip.Addr, bool) {
	const want = "an IPv4 or IPv6 address"
	s, ok := d.text(n, want)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		d.wrong(n, show(s)+" is not the address of a resolver", want)
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// prefix reads a prefix or a single address of one of the families.
func prefix(families ...failover.Family) reader[netip.Prefix] {
	example := map[failover.Family]string{failover.IPv4: "192.168.20.0/24", failover.IPv6: "2001:db8:1::/48"}
	names, samples := []string{}, []string{}
	for _, f := range families {
		names, samples = append(names, familyName(f)), append(samples, example[f])
	}
	want := "an " + or(names) + " prefix, such as " + or(samples)
	return func(d *decoder, n node) (netip.Prefix, bool) {
		s, ok := d.text(n, want)
		if !ok {
			return netip.Prefix{}, false
		}
		p, wrong, right := parsePrefix(s)
		if wrong == "" && len(families) == 1 && failover.FamilyOf(p.Addr()) != families[0] {
			wrong = "is an " + familyName(failover.FamilyOf(p.Addr())) + " prefix"
		}
		if wrong == "" {
			return p, true
		}
		if right == "" {
			right = want
		}
		d.wrong(n, show(s)+" "+wrong, right)
		return netip.Prefix{}, false
	}
}

// parsePrefix reads a prefix or an address. Otherwise it returns what is wrong
// and, where it can be more specific than "a prefix", what would be right.
func parsePrefix(s string) (p netip.Prefix, wrong, right string) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), "", ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, "is not a prefix", ""
	}
	if masked := p.Masked(); masked != p {
		return p, "has host bits set", masked.String() + " or the single address " + p.Addr().String()
	}
	return p, "", ""
}

// prefix6 reads the native prefixes of an uplink: auto, none or a list.
func prefix6(d *decoder, n node) (Prefix6, bool) {
	if !isList(n.ast) && !n.broken {
		switch s, ok := d.text(n, "auto or IPv6 prefixes"); {
		case !ok:
			return Prefix6{}, false
		case s == autoWord:
			return Prefix6{Auto: true}, true
		case isNone(s):
			return Prefix6{}, true
		}
	}
	list, ok := oneOrMany(maxSmallList, nativePrefix)(d, n)
	return Prefix6{Prefixes: list}, ok
}

// leastNative is the shortest prefix that can be native on an uplink: the largest
// blocks that providers hold have 19 bits.
const leastNative = 16

// nativePrefix reads a prefix whose addresses can be native on an uplink.
func nativePrefix(d *decoder, n node) (netip.Prefix, bool) {
	p, ok := prefix(failover.IPv6)(d, n)
	if !ok {
		return p, false
	}
	wrong := ""
	switch a := p.Addr(); {
	case p.Bits() < leastNative:
		wrong = "is larger than what any provider routes to one customer"
	case a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast():
		wrong = "has no addresses that leave by an uplink"
	default:
		return p, true
	}
	d.wrong(n, show(p.String())+" "+wrong, fmt.Sprintf("a prefix of at least %d bits that the provider routes here, such as 2001:db8:1::/48", leastNative))
	return p, false
}

// absolutePath reads the absolute path of a file or folder, at most limit bytes
// long.
func absolutePath(limit int) reader[string] {
	const want = "an absolute path"
	return func(d *decoder, n node) (string, bool) {
		s, ok := d.text(n, want)
		switch {
		case !ok:
			return "", false
		case !filepath.IsAbs(s):
			d.wrong(n, show(s)+" is not an absolute path", want)
		case len(s) > limit:
			d.wrong(n, fmt.Sprintf("%s is %d bytes long", show(s), len(s)), fmt.Sprintf("at most %d bytes", limit))
		default:
			return filepath.Clean(s), true
		}
		return "", false
	}
}

// group reads the name or number of a group; empty means none.
func group(d *decoder, n node) (string, bool) {
	s, ok := d.text(n, "the name of a group")
	if ok && s != "" && !groupWord.MatchString(s) {
		d.wrong(n, show(s)+" is not a group", "the name or number of a group")
		return "", false
	}
	return s, ok
}

// listen reads the host:port to listen on; empty means none.
func listen(d *decoder, n node) (string, bool) {
	const want = `host:port such as "127.0.0.1:9773", or "" for none`
	s, ok := d.text(n, want)
	if !ok || s == "" || isNone(s) {
		return "", ok
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || !target.IsHost(host) && host != "" {
		d.wrong(n, show(s)+" is not an address to listen on", want)
		return "", false
	}
	if _, ok := target.ParsePort(port); !ok {
		d.wrong(n, show(port)+" is not a port", "a port from 1 to 65535")
		return "", false
	}
	return s, true
}
