package routing

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// Finding is a sysctl that causes trouble and that Swerve does not set.
type Finding struct {
	// Setting has the present value, and the one that would be right.
	Setting
	// Why says what does not work with the present value.
	Why string
}

// Survey returns the findings among the sysctls that are only reported, for the
// machine and for each uplink, in a fixed order. A sysctl that does not exist is
// not a finding.
func (s *Sysctls) Survey(uplinks []Interface) []Finding {
	var out []Finding
	add := func(link, key, value, want, why string) {
		out = append(out, Finding{Setting{Interface: link, Key: "net/" + key, Value: value, Want: want}, why})
	}
	if s.get("ipv4/ip_forward") == "0" {
		add("", "ipv4/ip_forward", "0", "1", "IPv4 packets of other machines are not forwarded")
	}
	forwards := s.get("ipv6/conf/all/forwarding")
	if forwards == "0" {
		add("", "ipv6/conf/all/forwarding", "0", "1", "IPv6 packets of other machines are not forwarded")
	}
	for _, u := range uplinks {
		conf := func(family, leaf string) string { return fmt.Sprintf("%s/conf/%s/%s", family, u.Name, leaf) }
		if strict := conf("ipv4", "rp_filter"); s.Strict(u.Name) && !s.marked(u.Name) {
			add(u.Name, strict, "1", "2", "answers that come in by an uplink that the main table does not prefer are dropped")
		}
		if ra := conf("ipv6", "accept_ra"); forwards == "1" && s.get(ra) == "1" {
			add(u.Name, ra, "1", "2", "the kernel ignores router advertisements here, since it forwards IPv6")
		}
	}
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
