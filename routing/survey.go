package routing

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Finding is a sysctl that causes trouble and that Swerve does not set.
type Finding struct {
	// Setting has the present value, and the one that would be right.
	Setting
	// Why says what does not work with the present value.
	Why string
	// Minor: it may be meant, as for one of several networks.
	Minor bool
}

// Survey returns the findings among the sysctls that are only reported, for the
// machine, for each uplink, and for other interfaces, in a fixed order. A sysctl that
// does not exist is not a finding.
func (s *Sysctls) Survey(uplinks []Interface) []Finding {
	out := slices.Concat(s.forwarding4(uplinks, addressed(uplinks)), s.forwarding6(uplinks))
	add := func(link, key, value, want, why string) {
		out = append(out, Finding{Setting: Setting{Interface: link, Key: "net/" + key, Value: value, Want: want}, Why: why})
	}
	for _, u := range uplinks {
		conf := func(family, leaf string) string { return fmt.Sprintf("%s/conf/%s/%s", family, u.Name, leaf) }
		if strict := conf("ipv4", "rp_filter"); s.Strict(u.Name) && !s.marked(u.Name) {
			add(u.Name, strict, "1", "2", "answers that come in by an uplink that the main table does not prefer are dropped")
		}
		if ra := conf("ipv6", "accept_ra"); s.get(conf("ipv6", "forwarding")) == "1" && s.get(ra) == "1" && s.get(conf("ipv6", "disable_ipv6")) != "1" {
			add(u.Name, ra, "1", "2", "the kernel ignores router advertisements here, since it forwards IPv6")
		}
	}
	return out
}

// forwarding4 returns what keeps IPv4 from being forwarded. By which interface a packet
// comes in decides: ip_forward only sets all of them, and those to come.
func (s *Sysctls) forwarding4(uplinks []Interface, others []string) []Finding {
	key := func(link string) string { return "ipv4/conf/" + link + "/forwarding" }
	var out []Finding
	on, onOthers := false, false
	add := func(link, why string, minor bool) {
		out = append(out, Finding{Setting{Interface: link, Key: "net/" + key(link), Value: "0", Want: "1"}, why, minor})
	}
	for _, u := range uplinks {
		switch s.get(key(u.Name)) {
		case "0":
			add(u.Name, "what comes in by this uplink is not forwarded: other machines get no answers by it", false)
		case "1":
			on = true
		}
	}
	for _, link := range others {
		onOthers = onOthers || s.get(key(link)) == "1"
	}
	for _, link := range others {
		if s.get(key(link)) == "0" {
			add(link, "IPv4 packets of the machines behind this interface are not forwarded", onOthers)
		}
	}
	if s.get("ipv4/ip_forward") == "0" && !on && !onOthers {
		return []Finding{{Setting: Setting{Key: "net/ipv4/ip_forward", Value: "0", Want: "1"}, Why: "IPv4 packets of other machines are not forwarded"}}
	}
	return out
}

// forwarding6 returns what keeps IPv6 from being forwarded: conf/all decides for all
// interfaces, except for those that newer kernels are told to forward from in any case.
// An interface's own forwarding only makes it a router's or a host's.
func (s *Sysctls) forwarding6(uplinks []Interface) []Finding {
	if s.get("ipv6/conf/all/forwarding") != "0" {
		return nil
	}
	forced := len(uplinks) > 0
	for _, u := range uplinks {
		forced = forced && s.get("ipv6/conf/"+u.Name+"/force_forwarding") == "1"
	}
	if forced {
		return nil
	}
	return []Finding{{Setting: Setting{Key: "net/ipv6/conf/all/forwarding", Value: "0", Want: "1"}, Why: "IPv6 packets of other machines are not forwarded"}}
}

// addressed returns the interfaces that are up and have a global IPv4 address, without
// the uplinks and the loopback.
func addressed(uplinks []Interface) []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []string
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || slices.ContainsFunc(uplinks, func(u Interface) bool { return u.Name == i.Name }) {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		if slices.ContainsFunc(addresses, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast()
		}) {
			out = append(out, i.Name)
		}
	}
	slices.Sort(out)
	return out
}

// Strict reports whether reverse path filtering is strict on a device (RFC 3704): the
// greater of its own value and that for all interfaces applies.
func (s *Sysctls) Strict(link string) bool {
	return max(s.get("ipv4/conf/all/rp_filter"), s.get("ipv4/conf/"+link+"/rp_filter")) == "1"
}

// Bridged reports whether frames that a device forwards as a bridge, between its own
// ports, pass the packet filter as if they were routed (bridge-nf-call-iptables, and
// -ip6tables).
func (s *Sysctls) Bridged(link string) bool {
	if s.get("bridge/bridge-nf-call-iptables") != "1" && s.get("bridge/bridge-nf-call-ip6tables") != "1" {
		return false
	}
	device, err := netlink.LinkByName(link)
	return err == nil && device.Type() == "bridge"
}

// marked reports whether the lookup of the reverse path uses the packet's mark.
func (s *Sysctls) marked(link string) bool {
	return s.get("ipv4/conf/all/src_valid_mark") == "1" || s.get("ipv4/conf/"+link+"/src_valid_mark") == "1"
}

// get returns a value below net, empty if there is none.
func (s *Sysctls) get(key string) string {
	b, err := os.ReadFile(filepath.Join(s.root, key))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// HasIPv6 reports whether IPv6 is in use: the kernel supports it, and it is enabled
// on some interface. That is about the calling thread's network namespace.
func HasIPv6() bool {
	off, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/disable_ipv6")
	if err != nil {
		return false
	}
	for _, path := range off {
		switch filepath.Base(filepath.Dir(path)) {
		case "all", "default", "lo":
			continue
		}
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == "0" {
			return true
		}
	}
	return false
}
