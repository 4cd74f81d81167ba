package linkmon

import "testing"

func TestFindDevice(t *testing.T) {
	const macA, macB, macC = "\x02\x00\x00\x00\x00\x0a", "\x02\x00\x00\x00\x00\x0b", "\x02\x00\x00\x00\x00\x0c"
	devices := []device{
		{index: 2, name: "eth0", mac: macA, permMAC: macA},
		{index: 3, name: "eth0.10", mac: macA, parent: 2, altNames: []string{"vlan", "wan"}},
		{index: 4, name: "vlan", mac: macB, parent: 9},
		{index: 5, name: "br0", mac: macB},
		{index: 6, name: "br1", mac: macB},
		{index: 7, name: "wlan0", mac: macB, permMAC: macC},
	}
	for _, tc := range []struct {
		name, wanted string
		last         device
		index        int // 0: none
	}{
		{"by name", "eth0", device{}, 2},
		{"by altname", "wan", device{}, 3},
		{"a name goes before an altname", "vlan", device{}, 4},
		{"nothing", "eth9", device{}, 0},
		{"renamed", "eth9", device{index: 5, mac: macB}, 5},
		{"renamed, and the name was taken", "eth0", device{index: 5, mac: macB}, 2},
		{"gone, and another has its number", "eth9", device{index: 5, mac: macA}, 0},
		{"never there", "eth9", device{mac: macB}, 0},
		{"by MAC, made with it", "02:00:00:00:00:0a", device{}, 2},
		{"by MAC, stands on no other, oldest", "02:00:00:00:00:0B", device{}, 5},
		{"by MAC, now another", "02-00-00-00-00-0c", device{}, 7},
		{"by MAC, not by what it was", "02:00:00:00:00:0d", device{index: 5, mac: macB}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, ok := Uplink{Interface: tc.wanted}.find(devices, tc.last)
			if d.index != tc.index || ok != (tc.index != 0) {
				t.Errorf("found %+v, %v; want index %d", d, ok, tc.index)
			}
		})
	}
}
