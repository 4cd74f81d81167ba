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
