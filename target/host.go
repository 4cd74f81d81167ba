package target

import (
	"net/netip"
	"regexp"
	"strconv"
)

// rootName is the domain name of the DNS root, which every server can answer for.
const rootName = "."

var (
	hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)
	numbers  = regexp.MustCompile(`^[0-9.]+$`)
)

// isName reports whether s is a domain name (RFC 1035, underscores allowed), and
// not an address with a typo.
func isName(s string) bool {
	return len(s) <= 253 && hostName.MatchString(s) && !numbers.MatchString(s)
}

// IsHost reports whether s is an address or a domain name.
func IsHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || isName(s)
}

// ParsePort reads a port, 1 to 65535.
func ParsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0
}
