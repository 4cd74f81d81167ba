package daemon

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"swerve/control"
)

// Routes and rules of other programs lead each of the targets away, in both families.
// All uplinks are probed through themselves all the same: each target answers by each
// of them, and by the lost one none does.
func TestTargetsLedElsewhereAreProbed(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	text, err := os.ReadFile(g.config())
	g.must(err)
	const targets = `[192.0.2.53, 198.18.0.1, 10.77.0.1, "2001:db8:53::53", "2001:db8:5400::1", "2001:db8:5500::1"]`
	g.must(os.WriteFile(g.config(), []byte(strings.Replace(string(text), "[gateway]", targets, 1)), 0o600))
	_, err = g.isp.Run("sh", "-ec", `for a in 192.0.2.53 198.18.0.1 10.77.0.1; do ip addr add $a dev lo; done
		for a in 2001:db8:53::53 2001:db8:5400::1 2001:db8:5500::1; do ip -6 addr add $a dev lo; done`)
	g.must(err)
	g.sh(`ip tuntap add tun0 mode tun; ip link set tun0 up
		ip -4 route add 192.0.2.53 via 198.51.100.1 dev wan1 proto dhcp metric 5
		ip -6 route add 2001:db8:53::53 via 2001:db8:2::1 dev wan1 proto ra metric 5
		ip -4 route add 198.18.0.0/15 dev tun0
		ip -6 route add 2001:db8:5400::/40 dev tun0
		ip -4 rule add pref 100 to 10.77.0.0/16 lookup 77
		ip -6 rule add pref 100 to 2001:db8:5500::/40 lookup 77
		ip -4 route add default via 203.0.113.1 dev wan0 table 77
		ip -6 route add default via 2001:db8:1::1 dev wan0 table 77`)
	p := g.run()
	p.await("every target answers by both uplinks", func(s *control.Status) bool {
		return !slices.ContainsFunc(s.Uplinks, func(u control.Uplink) bool {
			return slices.ContainsFunc(slices.Concat(u.IPv4.Targets, u.IPv6.Targets), func(t control.Target) bool { return t.Answering == nil || !*t.Answering })
		})
	})
	g.hush(true)
	p.await("fiber is down", lostFiber)
	p.await("the probes are checked once more", func(s *control.Status) bool {
		return s.Now.Sub(s.Uplinks[0].IPv4.Since.Time) > 2*checkProbesEvery
	})
	s, err := p.client.Status(t.Context())
	g.must(err)
	for _, p := range s.Problems {
		if p.Code == "probes-elsewhere" || p.Code == "probes-unsent" || p.Code == "target-unreachable" {
			t.Errorf("%+v", p)
		}
	}
	if !lostFiber(s) {
		t.Errorf("fiber answers: %+v", s.Uplinks[0])
	}
	g.hush(false)
	p.await("fiber is back", allUp)
}

// Fiber's answers begin to come in by the other uplink, while nothing comes by fiber
// itself: they do not prove it. Where they come so from the beginning they do, as the
// line is like that.
func TestAnswersElsewhere(t *testing.T) {
	t.Parallel() // it waits, mostly
	g := newGateway(t)
	away := func(verb string) {
		_, err := g.isp.Run("sh", "-ec", `ip route `+verb+` 203.0.113.2/32 via 198.51.100.2 dev wan1
			ip -6 route `+verb+` 2001:db8:1::2/128 via 2001:db8:2::2 dev wan1`)
		g.must(err)
	}
	p := g.run()
	p.await("the answers are counted", func(s *control.Status) bool {
		return s.Now.Sub(s.Uplinks[0].IPv4.Since.Time) > 3*checkProbesEvery
	})
	away("add")
	p.await("fiber is down", func(s *control.Status) bool {
		return lostFiber(s) && has(s, "answers-elsewhere", "ipv4 and ipv6")
	})
	away("del")
	p.await("fiber is back", func(s *control.Status) bool { return allUp(s) && !has(s, "answers-elsewhere", "") })
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	away("add")
	p = g.start()
	p.await("fiber is up, and its answers are named", func(s *control.Status) bool { return allUp(s) && has(s, "answers-elsewhere", "ipv4 and ipv6") })
	s, err := p.client.Status(t.Context())
	g.must(err)
	for _, p := range s.Problems {
		if p.Code == "answers-elsewhere" && p.Severity != control.Info {
			t.Errorf("%+v", p)
		}
	}
}
