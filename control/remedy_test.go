package control

import (
	"net/netip"
	"strings"
	"testing"
)

// A missing gateway is no fault of the modem's: the remedy names the key of each
// family that lacks one, and why a default route that is there may not count.
func TestRemedyForAMissingGateway(t *testing.T) {
	wired := true
	down := func(reason string) FamilyStatus { return FamilyStatus{State: Down, Reason: reason} }
	up := FamilyStatus{State: Up}
	for _, c := range []struct {
		name       string
		v4, v6     FamilyStatus
		has, lacks []string
	}{
		{"IPv4", down("no gateway"), up, []string{"gateway: in", "table main", "dev wan1"}, []string{"gateway6:", "modem"}},
		{"IPv6", up, down("no gateway"), []string{"gateway6: in"}, []string{"modem"}},
		{"both", down("no gateway"), down("no gateway"), []string{"gateway: and gateway6: in"}, []string{"modem"}},
		{"no address", down("no address"), up, []string{"DHCP client"}, []string{"gateway:"}},
		{"without via", FamilyStatus{State: Down, Reason: "0 of 3 targets answer for 500ms", OnLink: true}, up, []string{"has no via", "gateway: in", "wan1"}, []string{"gateway6:"}},
		{"without via in IPv6", up, FamilyStatus{State: Down, OnLink: true}, []string{"ipv6 default route has no via", "gateway6: in"}, []string{"gateway:"}},
		{"silent", down("0 of 3 targets answer for 500ms"), up, []string{"modem"}, []string{"gateway:"}},
	} {
		u := Uplink{Name: "lte", Interface: "wan1", Enabled: true, Admin: Auto, Carrier: &wired, IPv4: c.v4, IPv6: c.v6, Native: []netip.Prefix{}}
		p, found := uplinkProblem(u, Down)
		if !found {
			t.Fatalf("%s: no problem", c.name)
		}
		for _, want := range c.has {
			if !strings.Contains(p.Remedy, want) {
				t.Errorf("%s: %q lacks %q", c.name, p.Remedy, want)
			}
		}
		for _, no := range c.lacks {
			if strings.Contains(p.Remedy, no) {
				t.Errorf("%s: %q has %q", c.name, p.Remedy, no)
			}
		}
	}
}

// What is shunned is so for a moment only.
func TestRemedyForAShunnedUplink(t *testing.T) {
	wired := true
	u := Uplink{Name: "lte", Interface: "wan1", Enabled: true, Carrier: &wired, IPv4: FamilyStatus{State: Shunned, Reason: "0 of 3 targets answer for 126ms"}}
	if p, _ := uplinkProblem(u, Shunned); !strings.HasPrefix(p.Remedy, "wait a second") {
		t.Errorf("%q", p.Remedy)
	}
}

// A policy whose uplinks lack addresses and gateways sends the reader to those.
func TestRemedyForAPolicyWithoutRoutes(t *testing.T) {
	if p := deadProblem(Policy{Name: "default"}, nil); !strings.Contains(p.Remedy, "other tables than main") {
		t.Errorf("no route: %q", p.Remedy)
	}
	if p := deadProblem(Policy{Name: "default", IPv4: List[Share]{{Uplink: "lte", Weight: 1}}}, nil); !strings.Contains(p.Remedy, "bring one of its uplinks back") {
		t.Errorf("silent: %q", p.Remedy)
	}
}
