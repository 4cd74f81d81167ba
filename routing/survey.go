package routing

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Finding is a sysctl that is not ours to set and that will bite.
type Finding struct {
	// Setting with the value that would be right.
	Setting
	// Why in words: what goes wrong with it.
	Why string
}

// Survey looks at the sysctls that are reported only, for the machine and for
// each uplink, in a fixed order. What is not there is no finding.
func (s *Sysctls) Survey(uplinks []Interface) []Finding {
	var out []Finding
	add := func(link, key, value, want, why string) {
		out = append(out, Finding{Setting{Interface: link, Key: "net/" + key, Value: value, Want: want}, why})
	}
	if s.get("ipv4/ip_forward") == "0" {
		add("", "ipv4/ip_forward", "0", "1", "IPv4 of other machines is not forwarded")
	}
	forwards := s.get("ipv6/conf/all/forwarding")
	if forwards == "0" {
		add("", "ipv6/conf/all/forwarding", "0", "1", "IPv6 of other machines is not forwarded")
	}
	for _, u := range uplinks {
		conf := func(family, leaf string) string { return fmt.Sprintf("%s/conf/%s/%s", family, u.Name, leaf) }
		if strict := conf("ipv4", "rp_filter"); s.Strict(u.Name) && !s.marked(u.Name) {
			add(u.Name, strict, "1", "2", "answers that come in by an uplink which the main table does not prefer are dropped")
		}
		if ra := conf("ipv6", "accept_ra"); forwards == "1" && s.get(ra) == "1" {
			add(u.Name, ra, "1", "2", "the kernel ignores router advertisements here, since it forwards IPv6")
		}
	}
	return out
}

// Strict reports whether the kernel filters reverse paths strictly on a device:
// the greater of its own value and that for all counts.
func (s *Sysctls) Strict(link string) bool {
	return max(s.get("ipv4/conf/all/rp_filter"), s.get("ipv4/conf/"+link+"/rp_filter")) == "1"
}

// marked reports whether the reverse path is looked up with the packet's mark.
func (s *Sysctls) marked(link string) bool {
	return s.get("ipv4/conf/all/src_valid_mark") == "1" || s.get("ipv4/conf/"+link+"/src_valid_mark") == "1"
}

// get is a value below net, empty where there is none.
func (s *Sysctls) get(key string) string {
	b, err := os.ReadFile(filepath.Join(s.root, key))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// HasIPv6 reports whether the machine speaks IPv6: the kernel has it, and some
// interface has it switched on. It looks at the calling thread's network namespace.
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
