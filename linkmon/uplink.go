package linkmon

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// Uplink says what to watch.
type Uplink struct {
	// Name is what observations call it.
	Name string
	// Interface is an interface's name, its altname, or its MAC address. It may
	// be absent now and come later.
	Interface string
	// Gateway says for each family where the next hop is known from.
	Gateway [2]GatewaySpec
	// IPv6 is false where the uplink carries no IPv6, whatever the kernel says.
	IPv6 bool
}

// GatewaySpec is where an uplink's next hop comes from. The zero value learns it
// from the default routes of other programs.
type GatewaySpec struct {
	// None: the device alone is the way; Addr is not looked at.
	None bool
	// Addr is the next hop, where it is valid.
	Addr netip.Addr
}

// find looks for the uplink's device. The present name goes first, so a new
// device that takes the configured name is meant from then on; then altnames;
// then the device that was ours before (last), which was renamed meanwhile.
func (u Uplink) find(devices []device, last device) (device, bool) {
	if mac, err := net.ParseMAC(u.Interface); err == nil {
		return findMAC(devices, string(mac))
	}
	for _, matches := range []func(device) bool{
		func(d device) bool { return d.name == u.Interface },
		func(d device) bool { return slices.Contains(d.altNames, u.Interface) },
		func(d device) bool { return last.index != 0 && d.index == last.index && d.mac == last.mac },
	} {
		if i := slices.IndexFunc(devices, matches); i >= 0 {
			return devices[i], true
		}
	}
	return device{}, false
}

// findMAC finds the device that a MAC address means. VLANs, bridges and macvlans
// have the address of a device below them: the one that was made with it is
// meant, else one that stands on no other, else the oldest.
func findMAC(devices []device, mac string) (device, bool) {
	var found []device
	for _, d := range devices {
		if d.mac == mac || d.permMAC == mac {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return device{}, false
	}
	return slices.MinFunc(found, func(a, b device) int {
		return cmp.Or(
			yesFirst(a.permMAC == mac, b.permMAC == mac),
			yesFirst(a.parent == 0, b.parent == 0),
			cmp.Compare(a.index, b.index),
		)
	}), true
}

// yesFirst orders what has a property before what has not.
func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
