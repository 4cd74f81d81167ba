package target

import (
	"errors"
	"net/netip"
	"strings"
	"swerve/failover"
	"testing"
)

func TestParseTarget(t *testing.T) {
	addr := netip.MustParseAddr
	for s, want := range map[string]Target{
		"gateway":                      {Method: Gateway},
		"192.0.2.1":                    {Method: ICMP, Addr: addr("192.0.2.1")},
		"::ffff:192.0.2.1":             {Method: ICMP, Addr: addr("192.0.2.1")},
		"2606:4700:4700::1111":         {Method: ICMP, Addr: addr("2606:4700:4700::1111")},
		"2606:4700:4700:0:0:0:0:1111":  {Method: ICMP, Addr: addr("2606:4700:4700::1111")},
		"tcp://192.0.2.1:443":          {Method: TCP, Addr: addr("192.0.2.1"), Port: 443},
		"TCP://[2001:DB8::1]:65535":    {Method: TCP, Addr: addr("2001:db8::1"), Port: 65535},
		"http://192.0.2.1:8080/x":      {Method: HTTP, Addr: addr("192.0.2.1"), Port: 8080, Path: "/x"},
		"http://192.0.2.1":             {Method: HTTP, Addr: addr("192.0.2.1"), Port: 80, Path: "/"},
		"https://[2001:db8::1]":        {Method: HTTPS, Addr: addr("2001:db8::1"), Port: 443, Path: "/"},
		"https://192.0.2.1:8443/a?b=c": {Method: HTTPS, Addr: addr("192.0.2.1"), Port: 8443, Path: "/a?b=c"},
		"dns://9.9.9.9/example.org":    {Method: DNS, Addr: addr("9.9.9.9"), Port: 53, Name: "example.org"},
		"dns://9.9.9.9/.":              {Method: DNS, Addr: addr("9.9.9.9"), Port: 53, Name: "."},
		"dns://[2620:fe::fe]:5353/a.b": {Method: DNS, Addr: addr("2620:fe::fe"), Port: 5353, Name: "a.b"},
		"dns://192.0.2.1:5353/A.com.":  {Method: DNS, Addr: addr("192.0.2.1"), Port: 5353, Name: "a.com."},
	} {
		want.Text = s
		if got, err := Parse(s); err != nil || got != want || got.String() != s {
			t.Errorf("%q: %+v, %v; want %+v", s, got, err, want)
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	for s, want := range map[string]string{
		"":                         "is not a target",
		"example.org":              "is not an address, and names are not resolved",
		"192.0.2.1:443":            "has a port but no method; such as tcp://192.0.2.1:443",
		"example.org:443":          "has a port but no method; tcp://address:port",
		"tcp://Example.ORG.:443":   `names its host, and names are not resolved for probes; an address in place of "Example.ORG."`,
		"http://example.org":       "names its host",
		"https://a_b.example/x":    "names its host",
		"dns://ns.example/a.com":   "names its host",
		"192.0.2.0/24":             "is not a target",
		"Gateway":                  "is not an address",
		"fe80::1":                  "is valid only on a link",
		"2001:db8::1%eth0":         "is valid only on a link",
		"0.0.0.0":                  "is this machine itself",
		"::":                       "is this machine itself",
		"127.0.0.1":                "is this machine itself",
		"http://[::1]/":            "is this machine itself",
		"ff02::5%2":                "is valid only on a link",
		"ff0e::1":                  "is not a single host",
		"255.255.255.255":          "is not a single host",
		"icmp://192.0.2.1":         `has the unknown method "icmp"`,
		"://192.0.2.1":             "is not a target",
		"tcp://192.0.2.1":          "has no port; tcp://address:port",
		"tcp://192.0.2.1:":         "has no port after its colon",
		"tcp://:443":               "has no host",
		"tcp://192.0.2.1:0":        `has the port "0"; a port from 1 to 65535`,
		"tcp://192.0.2.1:65536":    `has the port "65536"; a port from 1 to 65535`,
		"tcp://192.0.2.1:443/":     "has a path",
		"tcp://192.0.2.1:443?":     "has a path",
		"http://me@example.org/":   "has a user name",
		"http://example.org/#a":    "has a fragment",
		"http://192.0.2.1/#":       "has a fragment",
		"http://example.org:/":     "has no port after its colon",
		"http://192.0.2/":          "has no host",
		"dns://9.9.9.9":            "has no name to query",
		"dns://9.9.9.9/":           "has no name to query",
		"dns://9.9.9.9/a/b":        "has no name to query",
		"dns://9.9.9.9/a?b":        "has no name to query",
		"dns:///a":                 "has no host",
		"http://exa mple.org/":     "is not a target",
		"tcp://[2001:db8::1:443":   "is not a target",
		"tcp://192.0.2.1:http":     "is not a target",
		"https://\x00example.org/": "is not a target",
	} {
		got, err := Parse(s)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Text != s || e.Right == "" || !strings.Contains(err.Error(), want) || got != (Target{}) {
			t.Errorf("%q: %+v, %v; want an error with %q", s, got, err, want)
		}
	}
}

func TestTargetFamilies(t *testing.T) {
	for s, want := range map[string][2]bool{
		"192.0.2.1": {true, false}, "2001:db8::1": {false, true},
		"gateway": {true, true}, "tcp://[2001:db8::1]:1": {false, true}, "tcp://192.0.2.1:1": {true, false},
	} {
		target, err := Parse(s)
		if got := [2]bool{target.In(failover.IPv4), target.In(failover.IPv6)}; err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
}

func TestTargetKey(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"http://192.0.2.1", "HTTP://192.0.2.1:80/other", true},
		{"dns://9.9.9.9/a", "dns://9.9.9.9:53/b", true},
		{"http://192.0.2.1", "https://192.0.2.1", false},
		{"tcp://192.0.2.1:1", "tcp://192.0.2.1:2", false},
		{"tcp://192.0.2.1:1", "192.0.2.1", false},
	} {
		a, err := Parse(c.a)
		b, err2 := Parse(c.b)
		if err != nil || err2 != nil || (a.Key() == b.Key()) != c.same {
			t.Errorf("%q and %q have the keys %q and %q (%v, %v)", c.a, c.b, a.Key(), b.Key(), err, err2)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"gateway", "192.0.2.1", "tcp://[2001:db8::1]:53", "https://a.b:1/c?d", "dns://9.9.9.9/x", "::ffff:1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := Parse(s)
		if err != nil {
			if target != (Target{}) {
				t.Errorf("%q: a target beside an error: %+v", s, target)
			}
			return
		}
		switch target.Method {
		case ICMP:
			again, err := Parse(target.Addr.String())
			if again.Text = s; err != nil || again != target || target.Addr.Zone() != "" {
				t.Errorf("%q: %+v is %+v, %v when parsed again", s, target, again, err)
			}
		case Gateway:
			if target != (Target{Method: Gateway, Text: s}) {
				t.Errorf("%q: %+v", s, target)
			}
		case TCP, HTTP, HTTPS, DNS:
			if !target.Addr.IsValid() || target.Addr.Zone() != "" || target.Port == 0 || target.Transport() == "" {
				t.Errorf("%q: no address or port in %+v", s, target)
			}
		default:
			t.Errorf("%q: unknown method in %+v", s, target)
		}
	})
}
