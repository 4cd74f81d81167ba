package routing

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

// pin returns a host route of another program by the gateway on the device with an
// index.
func pin(dst string, metric uint32, index int, gateway string) Route {
	d := netip.MustParseAddr(dst)
	f := failover.IPv4
	if d.Is6() {
		f = failover.IPv6
	}
	r := other(f, metric, index)
	r.Dst, r.Hops[0].Gateway = netip.PrefixFrom(d, d.BitLen()), netip.MustParseAddr(gateway)
	return r
}

// by returns a route as another program made it.
func by(protocol uint8, r Route) Route {
	r.Protocol = protocol
	return r
}

func TestOverruling(t *testing.T) {
	const v4, v6 = failover.IPv4, failover.IPv6
	const none = ""
	dead4 := []Route{other(v4, 100, 2), other(v4, 200, 3)}
	for name, c := range map[string]struct {
		foreign, pins []Route
		change        func(*Goal)
		want          string // our routes in main beside the mirror, in both families
		dead          bool   // main-leads-to-dead in IPv4
		pinned        int
	}{
		"main leads to the lost":  {foreign: dead4, want: "default metric 99 via 198.51.100.1"},
		"IPv6":                    {foreign: []Route{other(v6, 1024, 2)}, want: "default metric 1023 via 2001:db8:2::1"},
		"main leads to the other": {foreign: []Route{other(v4, 100, 3), other(v4, 200, 2)}},
		"nothing is lost":         {foreign: dead4, pins: []Route{pin("1.1.1.1", 100, 2, "203.0.113.1")}, change: func(g *Goal) { g.Uplinks[0].Family = exampleGoal().Uplinks[0].Family }},
		"all are lost":            {foreign: dead4, pins: []Route{pin("1.1.1.1", 0, 2, "203.0.113.1")}, change: func(g *Goal) { g.Uplinks[1].Family[v4].Lost, g.Uplinks[1].Family[v6].Lost = true, true }},
		"metric 2":                {foreign: []Route{other(v4, 2, 2)}, want: "default metric 1 via 198.51.100.1"},
		"metric 1":                {foreign: []Route{other(v4, 1, 2)}, dead: true},
		"metric 0":                {foreign: []Route{other(v4, 0, 2)}, dead: true},
		"a VPN's between":         {foreign: append([]Route{other(v4, 150, 9)}, dead4...), dead: true},
		"a VPN's behind":          {foreign: append([]Route{other(v4, 250, 9)}, dead4...), want: "default metric 99 via 198.51.100.1"},
		"a VPN's before":          {foreign: append([]Route{other(v4, 50, 9)}, dead4...)},
		"a VPN's halves":          {foreign: append([]Route{half(v4, 0, 9), half(v4, 1, 9)}, dead4...)},
		"leave":                   {foreign: dead4, change: func(g *Goal) { g.Mirror = false }},
		"pins": {
			pins: []Route{pin("1.1.1.1", 1024, 2, "203.0.113.1"), pin("8.8.8.8", 1024, 3, "198.51.100.1"), pin("2606:4700:4700::1111", 1024, 2, "fe80::1")},
			want: "1.1.1.1/32 metric 1023 via 198.51.100.1\n2606:4700:4700::1111/128 metric 1023 via 2001:db8:2::1",
		},
		"a pin by both, the lost better": {
			pins: []Route{pin("1.1.1.1", 100, 2, "203.0.113.1"), pin("1.1.1.1", 200, 3, "198.51.100.1")}, want: "1.1.1.1/32 metric 99 via 198.51.100.1",
		},
		"a pin by both, the lost worse": {pins: []Route{pin("1.1.1.1", 200, 2, "203.0.113.1"), pin("1.1.1.1", 100, 3, "198.51.100.1")}},
		"a pin of metric 1":             {pins: []Route{pin("1.1.1.1", 1, 2, "203.0.113.1")}, want: "1.1.1.1/32 metric 0 via 198.51.100.1"},
		"a person's pin":                {pins: []Route{by(unix.RTPROT_BOOT, pin("1.1.1.1", 100, 2, "203.0.113.1"))}, pinned: 1},
		"FRR's default":                 {foreign: []Route{by(196, other(v4, 20, 2)), other(v4, 200, 3)}, dead: true},
		"BIRD's default":                {foreign: []Route{by(unix.RTPROT_BIRD, other(v4, 32, 2)), other(v4, 200, 3)}, dead: true},
		"a pin of metric 0":             {pins: []Route{pin("1.1.1.1", 0, 2, "203.0.113.1")}, pinned: 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := exampleGoal()
			g.Mirror, g.Foreign, g.Pins = true, c.foreign, c.pins
			for _, f := range failover.Families {
				g.Uplinks[0].Family[f].Lost = true
			}
			if c.change != nil {
				c.change(&g)
			}
			var got []string
			for _, r := range Desired(g).Routes {
				if r.Table == MainTable && r.Metric < mirrorBase {
					text := strings.NewReplacer(" table main proto 83", none, " dev wan1 onlink", none).Replace(r.String())
					got = append(got, text)
				}
			}
			if text := strings.Join(got, "\n"); text != c.want {
				t.Errorf("in main:\n%s\nwant:\n%s", text, c.want)
			}
			if _, dead := g.MainLeadsToDead(v4); dead != c.dead {
				t.Errorf("main leads to the dead: %v, want %v", dead, c.dead)
			}
			if pinned := g.Pinned(v4); len(pinned) != c.pinned {
				t.Errorf("pinned: %v, want %d", pinned, c.pinned)
			}
		})
	}
}

func TestIsPin(t *testing.T) {
	for text, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700:4700::1111": true, "10.0.0.1": false, "192.168.1.1": false, "100.64.0.1": false,
		"169.254.169.254": false, "fd00::1": false, "fe80::1": false, "127.0.0.1": false, "203.0.113.1": false,
	} {
		r := pin(text, 100, 2, "203.0.113.1") // the last one is its own gateway
		if got := isPin(r); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	wide := pin("1.1.1.1", 100, 2, "203.0.113.1")
	wide.Dst = netip.MustParsePrefix("1.1.1.0/24")
	device := pin("1.1.1.1", 100, 2, "203.0.113.1")
	device.Hops[0].Gateway = netip.Addr{}
	if isPin(wide) || isPin(device) {
		t.Error("a network, or a route without a gateway, is taken for a pin")
	}
}
