package linkmon

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
)

func on7(p string, flags uint32) address { return address{index: 7, prefix: prefix(p), flags: flags} }

func TestUsableAddresses(t *testing.T) {
	linkScope := on7("10.0.0.3/24", 0)
	linkScope.scope = unix.RT_SCOPE_LINK
	elsewhere := on7("10.0.0.4/24", 0)
	elsewhere.index = 8
	for _, tc := range []struct {
		name string
		ipv6 bool
		gw   gateway
		all  []address
		want []string
	}{
		{"none", false, unknown, nil, nil},
		{"the family's", false, unknown, []address{on7("10.0.0.2/24", 0), on7("2001:db8::2/64", 0)}, []string{"10.0.0.2/24"}},
		{"the device's", false, unknown, []address{elsewhere, on7("10.0.0.2/24", 0)}, []string{"10.0.0.2/24"}},
		{"no link scope", false, unknown, []address{linkScope, on7("169.254.1.1/16", 0), on7("127.0.0.1/8", 0)}, nil},
		{"no link-local", true, unknown, []address{on7("fe80::1/64", 0)}, nil},
		{"not yet or never valid", true, unknown, []address{
			on7("2001:db8::1/64", unix.IFA_F_TENTATIVE), on7("2001:db8::2/64", unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE)}, nil},
		{"optimistic", true, unknown, []address{on7("2001:db8::1/64", unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC)}, []string{"2001:db8::1/64"}},
		{"optimistic, but a duplicate", true, unknown, []address{on7("2001:db8::1/64", unix.IFA_F_OPTIMISTIC|unix.IFA_F_DADFAILED)}, nil},
		{"sorted by number", false, unknown, []address{on7("10.0.0.20/24", 0), on7("10.0.0.3/24", 0)}, []string{"10.0.0.3/24", "10.0.0.20/24"}},
		{"secondary last", false, unknown, []address{on7("10.0.0.3/24", unix.IFA_F_SECONDARY), on7("10.0.0.20/24", 0)}, []string{"10.0.0.20/24", "10.0.0.3/24"}},
		{"temporary after stable", true, unknown, []address{on7("2001:db8::1/64", unix.IFA_F_TEMPORARY), on7("2001:db8::2/64", 0)}, []string{"2001:db8::2/64", "2001:db8::1/64"}},
		{"unique local after global", true, unknown, []address{on7("2001:db8::2/64", unix.IFA_F_TEMPORARY), on7("fd00::1/64", 0), on7("2001:db8::1/64", unix.IFA_F_TEMPORARY)},
			[]string{"2001:db8::1/64", "2001:db8::2/64", "fd00::1/64"}},
		{"private IPv4 is no worse", false, unknown, []address{on7("203.0.113.2/24", 0), on7("10.0.0.2/24", 0)}, []string{"10.0.0.2/24", "203.0.113.2/24"}},
		{"the gateway's network first", false, gatewayOf("203.0.113.1", "dhcp"), []address{on7("10.0.0.2/24", 0), on7("203.0.113.2/24", 0)}, []string{"203.0.113.2/24", "10.0.0.2/24"}},
		{"the route's source first", false, gateway{addr: addr("203.0.113.1"), shape: failover.Shape{Source: addr("10.0.0.2")}},
			[]address{on7("203.0.113.2/24", 0), on7("10.0.0.2/32", unix.IFA_F_SECONDARY)}, []string{"10.0.0.2/32", "203.0.113.2/24"}},
		{"deprecated left out", true, unknown, []address{on7("2001:db8::1/64", unix.IFA_F_DEPRECATED), on7("2001:db8::2/64", 0)}, []string{"2001:db8::2/64"}},
		{"deprecated as the last resort", true, unknown, []address{on7("2001:db8::1/64", unix.IFA_F_DEPRECATED)}, []string{"2001:db8::1/64"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := usable(tc.all, 7, tc.ipv6, tc.gw)
			if !slices.Equal(texts(got), tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			slices.Reverse(tc.all)
			if again := usable(tc.all, 7, tc.ipv6, tc.gw); !slices.Equal(again, got) {
				t.Errorf("the kernel's order matters: %v and %v", got, again)
			}
		})
	}
}

func texts(prefixes []netip.Prefix) (all []string) {
	for _, p := range prefixes {
		all = append(all, p.String())
	}
	return all
}

// Where the uplink has no address, the kernel chooses one of another device.
func TestBorrowedAddresses(t *testing.T) {
	on := func(index int, p string, flags uint32) address {
		return address{index: index, prefix: prefix(p), flags: flags}
	}
	lan, dummy := device{index: 8, flags: ethernet}, device{index: 9, flags: quiet}
	tunnel, off := device{index: 10, flags: modem}, device{index: 11}
	devices := []device{{index: 7, flags: ethernet}, lan, dummy, tunnel, off, {index: 12, flags: ethernet}}
	isUplink := func(index int) bool { return index == 7 || index == 12 }
	for _, tc := range []struct {
		name string
		ipv6 bool
		all  []address
		want []string
	}{
		{"none", true, nil, nil},
		{"the LAN's delegated prefix", true, []address{on(8, "2001:db8:8::1/64", 0), on(8, "fe80::1/64", 0)}, []string{"2001:db8:8::1/64"}},
		{"several, by number", true, []address{on(9, "2001:db8:9::1/128", 0), on(8, "2001:db8:8::1/64", 0)}, []string{"2001:db8:8::1/64", "2001:db8:9::1/128"}},
		{"another uplink's", true, []address{on(12, "2001:db8:12::1/64", 0)}, nil},
		{"unique local", true, []address{on(8, "fd00::1/64", 0)}, nil},
		{"deprecated", true, []address{on(8, "2001:db8:8::1/64", unix.IFA_F_DEPRECATED)}, nil},
		{"still checked", true, []address{on(8, "2001:db8:8::1/64", unix.IFA_F_TENTATIVE)}, nil},
		{"of a device that is off", true, []address{on(11, "2001:db8:11::1/64", 0)}, nil},
		{"a tunnel's where there is no other", true, []address{on(10, "2001:db8:10::1/64", 0)}, []string{"2001:db8:10::1/64"}},
		{"a tunnel's beside another", true, []address{on(10, "2001:db8:10::1/64", 0), on(8, "2001:db8:8::1/64", 0)}, []string{"2001:db8:8::1/64"}},
		{"IPv4 of an unnumbered line", false, []address{on(9, "203.0.113.7/32", 0), on(8, "192.168.1.1/24", 0)}, []string{"203.0.113.7/32"}},
		{"private IPv4, and that of a carrier", false, []address{on(8, "192.168.1.1/24", 0), on(9, "100.64.0.1/32", 0)}, nil},
		{"the family's", false, []address{on(8, "2001:db8:8::1/64", 0)}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := texts(borrowed(state{devices: devices, addresses: tc.all}, tc.ipv6, isUplink))
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPendingAddress(t *testing.T) {
	for _, tc := range []struct {
		name string
		all  []address
		want bool
	}{
		{"none", nil, false},
		{"usable", []address{on7("2001:db8::1/64", 0)}, false},
		{"checked", []address{on7("2001:db8::1/64", unix.IFA_F_TENTATIVE)}, true},
		{"a duplicate", []address{on7("2001:db8::1/64", unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED)}, false},
		{"link-local", []address{on7("fe80::1/64", unix.IFA_F_TENTATIVE)}, false},
	} {
		if got := pending(tc.all, 7, true); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// A preferred source that is on another device, or not usable on its own, comes before
// what the device has; probes beyond the link have it, those on the link what is there.
func TestPreferredElsewhere(t *testing.T) {
	transfer, lo := on7("10.66.0.2/30", 0), address{index: 1, prefix: prefix("203.0.113.99/32")}
	lan := address{index: 8, prefix: prefix("203.0.113.129/28")}
	transfer6, lo6 := on7("2001:db8:66::2/64", 0), address{index: 1, prefix: prefix("2001:db8:99::9/128")}
	far, near := addr("198.18.0.1"), addr("10.66.0.1")
	far6, near6 := addr("2001:db8:ffff::1"), addr("2001:db8:66::1")
	for _, tc := range []struct {
		name      string
		all       []address
		to        netip.Addr
		source    string // of the route
		want      []string
		asks      string // the source of a probe
		translate bool
	}{
		{"on lo", []address{transfer, lo}, far, "203.0.113.99", []string{"203.0.113.99/32", "10.66.0.2/30"}, "203.0.113.99", true},
		{"on lo, to the gateway", []address{transfer, lo}, near, "203.0.113.99", []string{"203.0.113.99/32", "10.66.0.2/30"}, "10.66.0.2", true},
		{"on the LAN", []address{transfer, lan}, far, "203.0.113.129", []string{"203.0.113.129/28", "10.66.0.2/30"}, "203.0.113.129", true},
		{"on the link", []address{transfer, lo}, far, "10.66.0.2", []string{"10.66.0.2/30"}, "10.66.0.2", false},
		{"on the device, in no network of its own", []address{transfer, on7("203.0.113.99/32", 0)}, far, "203.0.113.99", []string{"203.0.113.99/32", "10.66.0.2/30"}, "203.0.113.99", true},
		{"none", []address{transfer, lo}, far, "", []string{"10.66.0.2/30"}, "10.66.0.2", false},
		{"no address of this machine", []address{transfer}, far, "203.0.113.99", []string{"10.66.0.2/30"}, "10.66.0.2", false},
		{"the device has but a link-local one", []address{on7("169.254.3.4/16", 0), lo}, far, "203.0.113.99", []string{"203.0.113.99/32"}, "203.0.113.99", true},
		{"a private one in place of none", []address{{index: 8, prefix: prefix("192.168.1.1/24")}}, far, "192.168.1.1", []string{"192.168.1.1/24"}, "192.168.1.1", true},
		{"before what is borrowed", []address{lan, lo}, far, "203.0.113.129", []string{"203.0.113.129/28", "203.0.113.99/32"}, "203.0.113.129", true},
		{"IPv6", []address{transfer6, lo6}, far6, "2001:db8:99::9", []string{"2001:db8:99::9/128", "2001:db8:66::2/64"}, "2001:db8:99::9", true},
		{"IPv6 to the gateway", []address{transfer6, lo6}, near6, "2001:db8:99::9", []string{"2001:db8:99::9/128", "2001:db8:66::2/64"}, "2001:db8:66::2", true},
		{"IPv6, the device's deprecated", []address{on7("2001:db8:66::2/64", unix.IFA_F_DEPRECATED), lo6}, far6, "2001:db8:99::9", []string{"2001:db8:99::9/128", "2001:db8:66::2/64"}, "2001:db8:99::9", true},
		{"IPv6, itself deprecated", []address{transfer6, on7("2001:db8:66::7/64", unix.IFA_F_DEPRECATED)}, far6, "2001:db8:66::7", []string{"2001:db8:66::7/64", "2001:db8:66::2/64"}, "2001:db8:66::7", true},
		{"IPv6 that is checked", []address{transfer6, {index: 1, prefix: lo6.prefix, flags: unix.IFA_F_TENTATIVE}}, far6, "2001:db8:99::9", []string{"2001:db8:66::2/64"}, "2001:db8:66::2", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := failover.FamilyOf(tc.to)
			r := via4("10.66.0.1")
			if f == failover.IPv6 {
				r = via6("fe80::1")
			}
			if tc.source != "" {
				r.shape.Source = addr(tc.source)
			}
			d := device{index: 7, name: "w0", flags: ethernet}
			s := state{devices: []device{d, {index: 8, flags: ethernet}, {index: 1, flags: quiet}}, addresses: tc.all, mainRoutes: mainRoutes{defaults: []route{r}}}
			link := (&follower{uplink: Uplink{IPv6: true}, device: d}).linkIn(s, func(index int) bool { return index == 7 })
			family := link.Family[f]
			if got := texts(family.Sources()); !slices.Equal(got, tc.want) {
				t.Errorf("sources %v, want %v", got, tc.want)
			}
			if got := sourcesTo(tc.to, family); got[0].Addr().String() != tc.asks {
				t.Errorf("a probe has the source %v, want %s", got, tc.asks)
			}
			if got := family.Preferred(); got.IsValid() != tc.translate || tc.translate && got.String() != tc.source {
				t.Errorf("sources are translated to %v", got)
			}
		})
	}
}

// When a preferred source on another device disappears, and with it the route, the
// device's own addresses are no replacement; they are where another route comes.
func TestPreferredSourceLapses(t *testing.T) {
	transfer, lo := on7("10.66.0.2/30", 0), address{index: 1, prefix: prefix("203.0.113.99/32")}
	with := via4("10.66.0.1", func(r *route) { r.shape.Source = lo.prefix.Addr() })
	d := device{index: 7, name: "w0", flags: ethernet}
	f := &follower{device: d}
	for _, step := range []struct {
		name     string
		all      []address
		defaults []route
		want     int // sources
	}{
		{"there", []address{transfer, lo}, []route{with}, 2},
		{"gone with its route", []address{transfer}, nil, 0},
		{"the address is back", []address{transfer, lo}, nil, 2},
		{"gone again", []address{transfer}, nil, 0},
		{"a route without it", []address{transfer}, []route{via4("10.66.0.1")}, 1},
		{"which is withdrawn", []address{transfer}, nil, 1},
	} {
		link := f.linkIn(state{devices: []device{d}, addresses: step.all, mainRoutes: mainRoutes{defaults: step.defaults}}, func(int) bool { return true })
		if got := link.Family[failover.IPv4].Sources(); len(got) != step.want || !link.Family[failover.IPv4].Gateway.IsValid() {
			t.Errorf("%s: sources %v by %v, want %d", step.name, got, link.Family[failover.IPv4].Gateway, step.want)
		}
	}
}
