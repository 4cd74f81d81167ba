package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"swerve/failover"
)

// Method is how a target is probed.
type Method string

// The methods.
const (
	ICMP  Method = "icmp"
	TCP   Method = "tcp"
	HTTP  Method = "http"
	HTTPS Method = "https"
	DNS   Method = "dns"
	// GatewayMethod asks the uplink's own next hop, in each family that has one.
	GatewayMethod Method = "gateway"
)

// Target is something whose answer proves an uplink.
type Target struct {
	Method Method
	// Host is the address or name to ask; empty for the gateway.
	Host string
	// Addr is Host as an address, without a zone; invalid where it is a name.
	Addr netip.Addr
	// Port to ask, 1 to 65535; 0 for icmp and the gateway.
	Port uint16
	// Name is the domain name to ask a DNS server for; Path what to ask a web
	// server for, with its query, at least "/".
	Name, Path string
	// Text is the target as the file writes it.
	Text string
}

// String returns the target as the file writes it.
func (t Target) String() string { return t.Text }

// In reports whether the target can be asked in the family: an address in its
// own, a name and the gateway in both.
func (t Target) In(f failover.Family) bool {
	return !t.Addr.IsValid() || familyOf(t.Addr) == f
}

// key is equal for targets that ask the same: method, address and port.
func (t Target) key() string {
	return string(t.Method) + " " + net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// rootName is the domain name of the DNS's root, which every server knows.
const rootName = "."

const wantTarget = "an address, tcp://host:port, http(s)://host, dns://server/name or gateway"

// target reads a target.
func target(d *decoder, n node) (Target, bool) {
	s, ok := d.text(n, wantTarget)
	if !ok {
		return Target{}, false
	}
	t, err := ParseTarget(s)
	if e, bad := errors.AsType[*TargetError](err); bad {
		d.wrong(n, show(s)+" "+e.wrong, e.right)
	}
	return t, err == nil
}

// TargetError says why a text is no target.
type TargetError struct{ text, wrong, right string }

func (e *TargetError) Error() string {
	return fmt.Sprintf("config: read target %s: %s; %s", show(e.text), e.wrong, e.right)
}

// ParseTarget reads a target as probe.targets has it: an IPv4 or IPv6 address,
// tcp://host:port, http://… and https://…, dns://server[:port]/name, or gateway.
// A host is an address (IPv6 in brackets) or a name. Any error is a *TargetError.
func ParseTarget(s string) (Target, error) {
	t, err := parseTarget(s)
	if err == nil && strings.HasSuffix(s, "#") {
		err = &TargetError{wrong: "has a fragment (#)", right: "the same without it"}
	}
	if err != nil {
		err.text = s
		return Target{}, err
	}
	t.Text = s
	return t, nil
}

func parseTarget(s string) (Target, *TargetError) {
	if s == string(GatewayMethod) {
		return Target{Method: GatewayMethod}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return withHost(Target{Method: ICMP}, a.String())
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return Target{}, unknownTarget(s)
	}
	return urlTarget(u)
}

func unknownTarget(s string) *TargetError {
	host, port, _ := net.SplitHostPort(s)
	if _, ok := parsePort(port); ok && isHost(host) {
		return &TargetError{wrong: "has a port but no method", right: "such as tcp://" + s}
	}
	if isName(s) {
		return &TargetError{wrong: "is a name without a method", right: wantTarget}
	}
	return &TargetError{wrong: "is no target", right: wantTarget}
}

// defaultPorts by method; 0: the target has to name its port.
var defaultPorts = map[Method]uint16{TCP: 0, HTTP: 80, HTTPS: 443, DNS: 53}

func urlTarget(u *url.URL) (Target, *TargetError) {
	t := Target{Method: Method(strings.ToLower(u.Scheme))}
	port, known := defaultPorts[t.Method]
	switch {
	case !known:
		return t, &TargetError{wrong: "has the unknown method " + show(u.Scheme), right: wantTarget}
	case u.User != nil:
		return t, &TargetError{wrong: "has a user name", right: "the same without it"}
	case u.Fragment != "":
		return t, &TargetError{wrong: "has a fragment (#)", right: "the same without it"}
	case strings.HasSuffix(u.Host, ":"):
		return t, &TargetError{wrong: "has no port after its colon", right: "a port from 1 to 65535"}
	}
	if text := u.Port(); text != "" {
		n, ok := parsePort(text)
		if !ok {
			return t, &TargetError{wrong: "has the port " + show(text), right: "a port from 1 to 65535"}
		}
		port = n
	}
	if port == 0 {
		return t, &TargetError{wrong: "has no port", right: "tcp://host:port"}
	}
	t.Port = port
	if err := t.setPath(u); err != nil {
		return t, err
	}
	return withHost(t, u.Hostname())
}

// setPath takes what follows the host.
func (t *Target) setPath(u *url.URL) *TargetError {
	query := u.RawQuery != "" || u.ForceQuery
	switch t.Method {
	case TCP:
		if u.Path != "" || query {
			return &TargetError{wrong: "has a path", right: "tcp://host:port"}
		}
	case DNS:
		name := strings.TrimPrefix(u.Path, "/")
		if !isName(name) && name != rootName || query {
			return &TargetError{wrong: "has no name to ask for", right: "dns://server/name, such as dns://9.9.9.9/example.com"}
		}
		t.Name = strings.ToLower(name)
	default:
		t.Path = u.RequestURI()
	}
	return nil
}

// withHost sets the host in one form: addresses as net/netip writes them, an
// IPv4 address in IPv6's clothes as IPv4, names in lower case.
func withHost(t Target, host string) (Target, *TargetError) {
	t.Host = strings.TrimSuffix(strings.ToLower(host), ".")
	a, err := netip.ParseAddr(host)
	if err != nil {
		if !isName(t.Host) {
			return t, &TargetError{wrong: "has no host", right: wantTarget}
		}
		return t, nil
	}
	a = a.Unmap()
	switch {
	case a.Zone() != "" || a.IsLinkLocalUnicast():
		return t, &TargetError{wrong: "is on the link only", right: "an address beyond the uplink, or gateway"}
	case a.IsLoopback() || a.IsUnspecified():
		return t, &TargetError{wrong: "is this machine itself", right: "an address beyond the uplink"}
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return t, &TargetError{wrong: "is no single machine", right: "a unicast address"}
	}
	t.Addr, t.Host = a, a.String()
	return t, nil
}

var (
	hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)
	numbers  = regexp.MustCompile(`^[0-9.]+$`)
)

// isName reports whether s is a domain name (RFC 1035, with the underscore), and
// not an address with a slip.
func isName(s string) bool {
	return len(s) <= 253 && hostName.MatchString(s) && !numbers.MatchString(s)
}

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || isName(s)
}

func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0
}
