package netns

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Veth makes a pair of links, one end in a and the other in b, both down. a and b
// may be the same namespace.
func Veth(a *NS, nameA string, b *NS, nameB string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = nameA
	err := a.handle.LinkAdd(&netlink.Veth{
		LinkAttrs:     attrs,
		PeerName:      nameB,
		PeerNamespace: netlink.NsFd(b.Fd()),
	})
	if err != nil {
		return fmt.Errorf("netns: add veth %s with peer %s: %w", nameA, nameB, err)
	}
	return nil
}

// SetUp sets a link up.
func (ns *NS) SetUp(link string) error {
	return ns.withLink(link, "set up", ns.handle.LinkSetUp)
}

// SetDown sets a link down; a veth's other end loses its carrier.
func (ns *NS) SetDown(link string) error {
	return ns.withLink(link, "set down", ns.handle.LinkSetDown)
}

// AddAddr adds an address with the length of its subnet to a link, in either family.
// It can be used at once.
func (ns *NS) AddAddr(link string, addr netip.Prefix) error {
	return ns.withLink(link, "add address "+addr.String(), func(l netlink.Link) error {
		a, err := netlink.ParseAddr(addr.String())
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD // otherwise it is tentative for a while
		return ns.handle.AddrAdd(l, a)
	})
}

// DelAddr deletes an address from a link.
func (ns *NS) DelAddr(link string, addr netip.Prefix) error {
	return ns.withLink(link, "delete address "+addr.String(), func(l netlink.Link) error {
		a, err := netlink.ParseAddr(addr.String())
		if err != nil {
			return err
		}
		return ns.handle.AddrDel(l, a)
	})
}

func (ns *NS) withLink(name, what string, fn func(netlink.Link) error) error {
	l, err := ns.handle.LinkByName(name)
	if err == nil {
		err = fn(l)
	}
	if err != nil {
		return fmt.Errorf("netns: %s: %s: %w", name, what, err)
	}
	return nil
}
