package linkmon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"swerve/failover"
)

// Method is how a target is asked.
type Method string

// The methods. Only ICMP and Gateway are built in; the others are understood, and
// a probe by them is reported as not sent.
const (
	// ICMP is an echo request (RFC 792, RFC 4443) to an address.
	ICMP Method = "icmp"
	// Gateway is an echo request to the uplink's own next hop.
	Gateway Method = "gateway"
	// TCP, HTTP, HTTPS and DNS are requests of these protocols.
	TCP   Method = "tcp"
	HTTP  Method = "http"
	HTTPS Method = "https"
	DNS   Method = "dns"
)

// Target is what a probe asks, taken apart.
type Target struct {
	Method Method
	// Addr is where the target is; invalid for Gateway, and where the target
	// names a host.
	Addr netip.Addr
	// Host is the name or address as it was written; empty for Gateway.
	Host string
	// Port of TCP, HTTP, HTTPS and DNS.
	Port uint16
	// Path of HTTP and HTTPS with its query, or the name that DNS asks for.
	Path string
}

// ParseTarget takes a target of the configuration apart: an IPv4 or IPv6 address,
// "gateway", tcp://host:port, http://… or https://…, or dns://server/name. The
// error says what would be right.
func ParseTarget(s string) (Target, error) {
	t, err := parseTarget(s)
	if err != nil {
		return Target{}, fmt.Errorf("linkmon: target %q: %w", s, err)
	}
	return t, nil
}

func parseTarget(s string) (Target, error) {
	if s == string(Gateway) {
		return Target{Method: Gateway}, nil
	}
	scheme, _, isURL := strings.Cut(s, "://")
	if !isURL {
		return parseAddress(s)
	}
	u, err := url.Parse(s)
	if err != nil {
		return Target{}, errors.New("this is no URL")
	}
	switch {
	case u.Hostname() == "":
		return Target{}, errors.New("the host is missing")
	case u.User != nil:
		return Target{}, errors.New("it has a user name; leave it out")
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return Target{}, errors.New("it has a fragment; leave it out")
	}
	switch method := Method(strings.ToLower(scheme)); method {
	case TCP:
		return parseTCP(u)
	case HTTP:
		return parseHTTP(u, method, 80)
	case HTTPS:
		return parseHTTP(u, method, 443)
	case DNS:
		return parseDNS(u)
	}
	return Target{}, fmt.Errorf("unknown method %q; one of tcp, http, https and dns, or a bare address", scheme)
}

func parseAddress(s string) (Target, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return Target{}, errors.New("neither an address nor a URL; an address, gateway, tcp://host:port, http(s)://… or dns://server/name")
	case a.Zone() != "":
		return Target{}, errors.New("it has a zone; leave it out, the uplink gives it")
	}
	a = a.Unmap()
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return Target{}, errors.New("no single host beyond this machine has this address")
	}
	return Target{Method: ICMP, Addr: a, Host: a.String()}, nil
}

func parseTCP(u *url.URL) (Target, error) {
	if u.Path != "" || u.RawQuery != "" || u.ForceQuery {
		return Target{}, errors.New("nothing may follow the port; tcp://host:port")
	}
	if u.Port() == "" {
		return Target{}, errors.New("the port is missing; tcp://host:port")
	}
	return at(u, Target{Method: TCP}, 0)
}

func parseHTTP(u *url.URL, method Method, port uint16) (Target, error) {
	return at(u, Target{Method: method, Path: u.RequestURI()}, port)
}

func parseDNS(u *url.URL) (Target, error) {
	name := strings.TrimPrefix(u.Path, "/")
	if name == "" || strings.Contains(name, "/") || u.RawQuery != "" || u.ForceQuery {
		return Target{}, errors.New("one name must follow the server; dns://server/name")
	}
	return at(u, Target{Method: DNS, Path: name}, 53)
}

// at fills in where the URL's host is.
func at(u *url.URL, t Target, port uint16) (Target, error) {
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return Target{}, errors.New("the port must be 1 to 65535")
		}
		port = uint16(n)
	} else if _, _, err := net.SplitHostPort(u.Host); err == nil {
		return Target{}, errors.New("the port is missing after the colon")
	}
	t.Host, t.Port = u.Hostname(), port
	if a, err := netip.ParseAddr(t.Host); err == nil {
		t.Addr = a.Unmap()
	}
	return t, nil
}

// In reports whether the target can be asked in a family. Names can in both.
func (t Target) In(f failover.Family) bool {
	return !t.Addr.IsValid() || t.Addr.Is6() == (f == failover.IPv6)
}
