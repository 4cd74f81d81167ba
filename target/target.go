package target

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"swerve/failover"
)

// Method is how a target is probed.
type Method string

// The methods.
const (
	// ICMP is an echo request (RFC 792, RFC 4443) to an address.
	ICMP Method = "icmp"
	// Gateway is an echo request to the uplink's own next hop, in each family that
	// has one.
	Gateway Method = "gateway"
	// TCP is the handshake of a connection (RFC 9293), which is then reset.
	TCP Method = "tcp"
	// HTTP is a request to a web server (RFC 9110), HTTPS the same by TLS.
	HTTP  Method = "http"
	HTTPS Method = "https"
	// DNS is a query to a name server (RFC 1035) by UDP.
	DNS Method = "dns"
)

// Target is something whose answers prove that an uplink works, in its parts.
type Target struct {
	Method Method
	// Addr is the address to probe, without a zone; invalid for the gateway.
	Addr netip.Addr
	// Port to probe, 1 to 65535; 0 for icmp and the gateway.
	Port uint16
	// Name is the domain name to query a DNS server for. Path is what to request
	// from a web server, including the query, at least "/".
	Name, Path string
	// Text is the target as the configuration has it.
	Text string
}

// String returns the target as the configuration has it.
func (t Target) String() string { return t.Text }

// In reports whether the target can be probed in a family: an address only in its
// own, the gateway in both.
func (t Target) In(f failover.Family) bool {
	return !t.Addr.IsValid() || failover.FamilyOf(t.Addr) == f
}

// Key is equal for targets that probe the same method, address and port.
func (t Target) Key() string {
	return string(t.Method) + " " + netip.AddrPortFrom(t.Addr, t.Port).String()
}

// Transport returns the protocol, tcp or udp, of a target that has a port; else it
// returns "".
func (t Target) Transport() string {
	switch t.Method {
	case TCP, HTTP, HTTPS:
		return "tcp"
	case DNS:
		return "udp"
	case ICMP, Gateway:
	}
	return ""
}

// Forms describes the forms that a target may have, for messages.
const Forms = "an address, tcp://address:port, http(s)://address, dns://address/name or gateway"

// Error says why a text is not a target.
type Error struct {
	// Text is what was read.
	Text string
	// Wrong says what is wrong with it. Value, if it is not empty, is the part at
	// fault, and completes Wrong.
	Wrong, Value string
	// Right says what would be right.
	Right string
}

func (e *Error) Error() string {
	wrong := e.Wrong
	if e.Value != "" {
		wrong += " " + strconv.Quote(e.Value)
	}
	return fmt.Sprintf("target: read %q: %s; %s", e.Text, wrong, e.Right)
}

// Parse reads a target as probe.targets has it: an IPv4 or IPv6 address,
// tcp://address:port, http://address[:port][/path], the same with https,
// dns://address[:port]/name, or gateway. IPv6 addresses are in brackets where more may
// follow. Names of hosts are errors: only a resolver behind the same uplink could
// translate them for its probes, and whether it answers is what is to be found out. Any
// error is an *[Error].
func Parse(s string) (Target, error) {
	t, err := parse(s)
	if err == nil && strings.HasSuffix(s, "#") {
		err = &Error{Wrong: "has a fragment (#)", Right: "the same without it"}
	}
	if err != nil {
		err.Text = s
		return Target{}, err
	}
	t.Text = s
	return t, nil
}

func parse(s string) (Target, *Error) {
	if s == string(Gateway) {
		return Target{Method: Gateway}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return withHost(Target{Method: ICMP}, a.String())
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		host, port, _ := net.SplitHostPort(s)
		if _, ok := ParsePort(port); ok && IsHost(host) {
			right := "tcp://address:port"
			if !isName(host) {
				right = "such as tcp://" + s
			}
			return Target{}, &Error{Wrong: "has a port but no method", Right: right}
		}
		if isName(s) {
			return Target{}, &Error{Wrong: "is not an address, and names are not resolved for probes", Right: Forms}
		}
		return Target{}, &Error{Wrong: "is not a target", Right: Forms}
	}
	return urlTarget(u)
}

// defaultPorts are the default ports by method; 0: the target must name its port.
var defaultPorts = map[Method]uint16{TCP: 0, HTTP: 80, HTTPS: 443, DNS: 53}

func urlTarget(u *url.URL) (Target, *Error) {
	t := Target{Method: Method(strings.ToLower(u.Scheme))}
	port, known := defaultPorts[t.Method]
	switch {
	case !known:
		return t, &Error{Wrong: "has the unknown method", Value: u.Scheme, Right: Forms}
	case u.User != nil:
		return t, &Error{Wrong: "has a user name", Right: "the same without it"}
	case u.Fragment != "":
		return t, &Error{Wrong: "has a fragment (#)", Right: "the same without it"}
	case strings.HasSuffix(u.Host, ":"):
		return t, &Error{Wrong: "has no port after its colon", Right: "a port from 1 to 65535"}
	}
	if text := u.Port(); text != "" {
		n, ok := ParsePort(text)
		if !ok {
			return t, &Error{Wrong: "has the port", Value: text, Right: "a port from 1 to 65535"}
		}
		port = n
	}
	if port == 0 {
		return t, &Error{Wrong: "has no port", Right: "tcp://address:port"}
	}
	t.Port = port
	if err := t.setPath(u); err != nil {
		return t, err
	}
	return withHost(t, u.Hostname())
}

// setPath checks what follows the host, and sets Name or Path from it.
func (t *Target) setPath(u *url.URL) *Error {
	query := u.RawQuery != "" || u.ForceQuery
	switch t.Method {
	case TCP:
		if u.Path != "" || query {
			return &Error{Wrong: "has a path", Right: "tcp://address:port"}
		}
	case DNS:
		name := strings.TrimPrefix(u.Path, "/")
		if !isName(name) && name != rootName || query {
			return &Error{Wrong: "has no name to query", Right: "dns://address/name, such as dns://9.9.9.9/example.com"}
		}
		t.Name = strings.ToLower(name)
	default:
		t.Path = u.RequestURI()
	}
	return nil
}

// withHost sets the address, an IPv4-mapped IPv6 one as IPv4.
func withHost(t Target, host string) (Target, *Error) {
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil && isName(host):
		return t, &Error{Wrong: "names its host, and names are not resolved for probes", Right: "an address in place of " + strconv.Quote(host)}
	case err != nil:
		return t, &Error{Wrong: "has no host", Right: Forms}
	}
	a = a.Unmap()
	switch {
	case a.Zone() != "" || a.IsLinkLocalUnicast():
		return t, &Error{Wrong: "is valid only on a link", Right: "an address beyond the uplink, or gateway"}
	case a.IsLoopback() || a.IsUnspecified():
		return t, &Error{Wrong: "is this machine itself", Right: "an address beyond the uplink"}
	case IsThisNetwork(a):
		return t, &Error{Wrong: "is not the address of a host", Right: "an address beyond the uplink"}
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return t, &Error{Wrong: "is not a single host", Right: "a unicast address"}
	}
	t.Addr = a
	return t, nil
}

// IsThisNetwork reports whether an address is the unspecified one, or one of 0.0.0.0/8
// (RFC 1122, 3.2.1.3), which no host has.
func IsThisNetwork(a netip.Addr) bool { return a.IsUnspecified() || a.Is4() && a.As4()[0] == 0 }
