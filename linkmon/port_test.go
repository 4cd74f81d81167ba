package linkmon

import "testing"

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
