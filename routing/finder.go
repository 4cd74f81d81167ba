package routing

import "github.com/vishvananda/netlink"

// Finder asks the kernel of the calling thread's namespace for ways and devices.
type Finder struct{}

// Way is [Lookup].
func (Finder) Way(q Question) (Way, error) { return Lookup(q) }

// Index returns the index of a device by its name or an altname; 0 where there is none.
func (Finder) Index(name string) int {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0
	}
	return link.Attrs().Index
}

// Name returns the name of a device; empty where there is none.
func (Finder) Name(index int) string {
	if index == 0 {
		return ""
	}
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}

// Bridge returns the index of the bridge of which a device is a port; 0 where it is none.
func (Finder) Bridge(index int) int {
	link, err := netlink.LinkByIndex(index)
	if err != nil || link.Attrs().MasterIndex == 0 {
		return 0
	}
	master, err := netlink.LinkByIndex(link.Attrs().MasterIndex)
	if err != nil || master.Type() != "bridge" {
		return 0
	}
	return master.Attrs().Index
}
