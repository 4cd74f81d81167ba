package linkmon

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"swerve/failover"
)

// Uplink says what to watch.
type Uplink struct {
	// Name by which observations refer to the uplink.
	Name string
	// Interface is an interface's name, its altname, or its MAC address. The
	// interface need not exist yet.
	Interface string
	// Gateway says for each family where the next hop comes from.
	Gateway [2]GatewaySpec
	// IPv6 is false where the uplink carries no IPv6, whatever the kernel says.
	IPv6 bool
	// Route is what the configuration says of the uplink's routes, by family.
	Route [2]failover.Override
	// Held are the gateways of an earlier run, by family; nil for none. They are used
	// when the uplink is first followed, and where no default route gives one.
	Held *[2]Held
}

// Held is a next hop by which an earlier run routed, and which the kernel still has.
type Held struct {
	// Index is the device's number; 0 where there is no such next hop.
	Index int
	// Gateway is invalid where none was needed.
	Gateway netip.Addr
	// Sources are addresses that the uplink had then, as far as they are known.
	Sources []netip.Addr
	// Shape is what the route said of its packets.
	Shape failover.Shape
}

// sameBut reports whether both are the same but for Route and Held.
func (u Uplink) sameBut(o Uplink) bool {
	u.Route, u.Held = o.Route, o.Held
	return u == o
}

// renamed reports whether both are the same but for Route and the name.
func (u Uplink) renamed(o Uplink) bool {
	u.Name = o.Name
	return u.sameBut(o)
}

// GatewaySpec is where an uplink's next hop comes from. The zero value learns it
// from the default routes of other programs.
type GatewaySpec struct {
	// None: there is no next hop, the device suffices. Addr is ignored.
	None bool
	// Addr is the next hop, if it is valid.
	Addr netip.Addr
}

// find finds the uplink's device: by its present name, so that a new device with
// the configured name replaces the former one; then by an altname; then the device
// of the last reading, which was renamed since.
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

// findMAC finds the device that a MAC address stands for. VLANs, bridges and macvlans
// share the address of a device below them: the device with that permanent address
// is preferred, then one that is on top of no other, then the oldest.
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
			trueFirst(a.permMAC == mac, b.permMAC == mac),
			trueFirst(a.parent == 0, b.parent == 0),
			cmp.Compare(a.index, b.index),
		)
	}), true
}

// trueFirst compares two bools, true before false.
func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
