package linkmon

import (
	"testing"

	"swerve/failover"
)

// What comes in by a port of a bridge is received by the bridge, so the port borrows no
// address. A device in a VRF receives what comes in by it.
func TestPort(t *testing.T) {
	s := state{devices: []device{
		{index: 1, kind: "bridge"}, {index: 2, kind: "vrf"}, {index: 3, master: 1}, {index: 4, master: 2}, {index: 5}, {index: 6, master: 99},
	}}
	for _, d := range s.devices {
		if got := s.isPort(d); got != (d.index == 3) {
			t.Errorf("device %d: %v", d.index, got)
		}
	}
}

// What comes in by a device in a VRF is routed by the VRF's table, so nothing is offered
// there, whatever main and the configuration say. Out of it, all is as before.
func TestDeviceInAVRF(t *testing.T) {
	vrf := device{index: 1, name: "vrf-wan", kind: "vrf"}
	bridge := device{index: 2, name: "br0", kind: "bridge", master: 1}
	for name, tc := range map[string]struct {
		device device
		want   string
	}{
		"in none":                {device{index: 7, name: "w0", flags: ethernet}, ""},
		"in a bridge":            {device{index: 7, name: "w0", flags: ethernet, master: 3}, ""},
		"in one":                 {device{index: 7, name: "w0", flags: ethernet, master: 1}, "vrf-wan"},
		"in a bridge in one":     {device{index: 7, name: "w0", flags: ethernet, master: 2}, "vrf-wan"},
		"its master is not read": {device{index: 7, name: "w0", flags: ethernet, master: 99}, ""},
	} {
		s := state{
			devices:    []device{vrf, bridge, {index: 3, name: "br1", kind: "bridge"}, tc.device},
			addresses:  []address{on7("10.0.0.2/24", 0)},
			mainRoutes: mainRoutes{defaults: []route{via4("10.0.0.1")}},
		}
		for _, spec := range []GatewaySpec{{}, {Addr: addr("10.0.0.1")}, {None: true}} {
			f := &follower{device: tc.device, uplink: Uplink{IPv6: true, Gateway: [2]GatewaySpec{spec, spec}}}
			link := f.linkIn(s, func(int) bool { return true })
			if link.VRF != tc.want || link.Family[failover.IPv4].Offered() != (tc.want == "") || !link.Present {
				t.Errorf("%s, %+v: %+v", name, spec, link)
			}
		}
	}
}
