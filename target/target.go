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
	// Gateway is an echo request to the uplink's own next hop, in each
	// family that has one.
	Gateway Method = "gateway"
	// The others are requests of these protocols.
	TCP   Method = "tcp"
	HTTP  Method = "http"
	HTTPS Method = "https"
	DNS   Method = "dns"
)

// Built reports whether this version can probe by the method. Targets of the others
// are valid, but not asked. Package linkmon has the table of methods that are built,
// and a test that both agree.
func (m Method) Built() bool { return m == ICMP || m == Gateway }

// Target is something whose answer proves an uplink, taken apart.
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
	// Text is the target as the configuration writes it.
	Text string
}

// String returns the target as the configuration writes it.
func (t Target) String() string { return t.Text }

// In reports whether the target can be asked in the family: an address in its
// own, a name and the gateway in both.
func (t Target) In(f failover.Family) bool {
	return !t.Addr.IsValid() || failover.FamilyOf(t.Addr) == f
}

// Key is equal for targets that ask the same: method, address and port.
func (t Target) Key() string {
	return string(t.Method) + " " + net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// Forms are the forms that a target may have, in words.
const Forms = "an address, tcp://host:port, http(s)://host, dns://server/name or gateway"

// Error says why a text is no target.
type Error struct {
	// Text that was read.
	Text string
	// Wrong says what is wrong with it. Value, where it is not empty, is the part
	// at fault, and completes Wrong.
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
// tcp://host:port, http://… and https://…, dns://server[:port]/name, or gateway.
// A host is an address (IPv6 in brackets) or a name. Any error is a *Error.
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
		return Target{}, unknown(s)
	}
	return urlTarget(u)
}

func unknown(s string) *Error {
	host, port, _ := net.SplitHostPort(s)
	if _, ok := ParsePort(port); ok && IsHost(host) {
		return &Error{Wrong: "has a port but no method", Right: "such as tcp://" + s}
	}
	if isName(s) {
		return &Error{Wrong: "is a name without a method", Right: Forms}
	}
	return &Error{Wrong: "is no target", Right: Forms}
}

// defaultPorts by method; 0: the target has to name its port.
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
		return t, &Error{Wrong: "has no port", Right: "tcp://host:port"}
	}
	t.Port = port
	if err := t.setPath(u); err != nil {
		return t, err
	}
	return withHost(t, u.Hostname())
}

// setPath takes what follows the host.
func (t *Target) setPath(u *url.URL) *Error {
	query := u.RawQuery != "" || u.ForceQuery
	switch t.Method {
	case TCP:
		if u.Path != "" || query {
			return &Error{Wrong: "has a path", Right: "tcp://host:port"}
		}
	case DNS:
		name := strings.TrimPrefix(u.Path, "/")
		if !isName(name) && name != rootName || query {
			return &Error{Wrong: "has no name to ask for", Right: "dns://server/name, such as dns://9.9.9.9/example.com"}
		}
		t.Name = strings.ToLower(name)
	default:
		t.Path = u.RequestURI()
	}
	return nil
}

// withHost sets the host in its canonical form: addresses as net/netip writes them,
// IPv4-mapped IPv6 addresses as IPv4, names in lower case.
func withHost(t Target, host string) (Target, *Error) {
	t.Host = strings.TrimSuffix(strings.ToLower(host), ".")
	a, err := netip.ParseAddr(host)
	if err != nil {
		if !isName(t.Host) {
			return t, &Error{Wrong: "has no host", Right: Forms}
		}
		return t, nil
	}
	a = a.Unmap()
	switch {
	case a.Zone() != "" || a.IsLinkLocalUnicast():
		return t, &Error{Wrong: "is on the link only", Right: "an address beyond the uplink, or gateway"}
	case a.IsLoopback() || a.IsUnspecified():
		return t, &Error{Wrong: "is this machine itself", Right: "an address beyond the uplink"}
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return t, &Error{Wrong: "is no single machine", Right: "a unicast address"}
	}
	t.Addr, t.Host = a, a.String()
	return t, nil
}
