package linkmon

import (
	"strings"
	"testing"

	"swerve/failover"
)

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]Target{
		"gateway":                        {Method: Gateway},
		"192.0.2.1":                      {Method: ICMP, Addr: addr("192.0.2.1"), Host: "192.0.2.1"},
		"::ffff:192.0.2.1":               {Method: ICMP, Addr: addr("192.0.2.1"), Host: "192.0.2.1"},
		"2606:4700:4700::1111":           {Method: ICMP, Addr: addr("2606:4700:4700::1111"), Host: "2606:4700:4700::1111"},
		"2606:4700:4700:0:0:0:0:1111":    {Method: ICMP, Addr: addr("2606:4700:4700::1111"), Host: "2606:4700:4700::1111"},
		"tcp://192.0.2.1:443":            {Method: TCP, Addr: addr("192.0.2.1"), Host: "192.0.2.1", Port: 443},
		"TCP://Example.org:443":          {Method: TCP, Host: "Example.org", Port: 443},
		"tcp://[2001:db8::1]:53":         {Method: TCP, Addr: addr("2001:db8::1"), Host: "2001:db8::1", Port: 53},
		"http://example.org":             {Method: HTTP, Host: "example.org", Port: 80, Path: "/"},
		"https://example.org:8443/a?b=c": {Method: HTTPS, Host: "example.org", Port: 8443, Path: "/a?b=c"},
		"https://192.0.2.1/generate_204": {Method: HTTPS, Addr: addr("192.0.2.1"), Host: "192.0.2.1", Port: 443, Path: "/generate_204"},
		"dns://9.9.9.9/example.org":      {Method: DNS, Addr: addr("9.9.9.9"), Host: "9.9.9.9", Port: 53, Path: "example.org"},
		"dns://[2620:fe::fe]:5353/a.b":   {Method: DNS, Addr: addr("2620:fe::fe"), Host: "2620:fe::fe", Port: 5353, Path: "a.b"},
	} {
		if got, err := ParseTarget(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", s, got, err, want)
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	for s, want := range map[string]string{
		"":                         "neither an address nor a URL",
		"example.org":              "neither an address nor a URL",
		"192.0.2.1:443":            "neither an address nor a URL",
		"192.0.2.0/24":             "neither an address nor a URL",
		"Gateway":                  "neither an address nor a URL",
		"fe80::1%eth0":             "zone",
		"0.0.0.0":                  "no single host",
		"::":                       "no single host",
		"127.0.0.1":                "no single host",
		"ff02::1":                  "no single host",
		"255.255.255.255":          "no single host",
		"icmp://192.0.2.1":         `unknown method "icmp"`,
		"://192.0.2.1":             "no URL",
		"tcp://192.0.2.1":          "port is missing",
		"tcp://192.0.2.1:":         "port is missing",
		"tcp://:443":               "host is missing",
		"tcp://192.0.2.1:0":        "1 to 65535",
		"tcp://192.0.2.1:65536":    "1 to 65535",
		"tcp://192.0.2.1:443/":     "nothing may follow",
		"tcp://192.0.2.1:443?":     "nothing may follow",
		"http://me@example.org/":   "user name",
		"http://example.org/#a":    "fragment",
		"http://example.org:/":     "port is missing",
		"dns://9.9.9.9":            "one name",
		"dns://9.9.9.9/":           "one name",
		"dns://9.9.9.9/a/b":        "one name",
		"dns:///a":                 "host is missing",
		"http://exa mple.org/":     "no URL",
		"tcp://[2001:db8::1:443":   "no URL",
		"tcp://192.0.2.1:http":     "no URL",
		"https://\x00example.org/": "no URL",
	} {
		got, err := ParseTarget(s)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "linkmon: target ") {
			t.Errorf("%q: %+v, %v; want an error with %q", s, got, err, want)
		}
	}
}

func TestTargetFamilies(t *testing.T) {
	for s, want := range map[string][2]bool{
		"192.0.2.1": {true, false}, "2001:db8::1": {false, true},
		"gateway": {true, true}, "tcp://example.org:1": {true, true}, "tcp://192.0.2.1:1": {true, false},
	} {
		target, err := ParseTarget(s)
		if got := [2]bool{target.In(failover.IPv4), target.In(failover.IPv6)}; err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"gateway", "192.0.2.1", "tcp://[2001:db8::1]:53", "https://a.b:1/c?d", "dns://9.9.9.9/x", "::ffff:1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		if err != nil {
			if target != (Target{}) {
				t.Errorf("%q: a target beside an error: %+v", s, target)
			}
			return
		}
		switch target.Method {
		case ICMP:
			if again, err := ParseTarget(target.Host); err != nil || again != target || target.Addr.Zone() != "" {
				t.Errorf("%q: %+v is %+v, %v when parsed again", s, target, again, err)
			}
		case Gateway:
			if target != (Target{Method: Gateway}) {
				t.Errorf("%q: %+v", s, target)
			}
		case TCP, HTTP, HTTPS, DNS:
			if target.Host == "" || target.Port == 0 {
				t.Errorf("%q: no host or port in %+v", s, target)
			}
		default:
			t.Errorf("%q: unknown method in %+v", s, target)
		}
	})
}
