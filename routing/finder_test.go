package routing

import (
	"testing"

	"github.com/vishvananda/netlink"

	"swerve/testenv/netns"
)

// A port of a bridge has that; a device by itself and the bridge have none.
func TestBridgeOfAPort(t *testing.T) {
	ns, other := netns.New(t), netns.New(t)
	for _, name := range []string{"port0", "lan0"} {
		if err := netns.Veth(ns, name, other, name); err != nil {
			t.Fatal(err)
		}
	}
	err := ns.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			return err
		}
		port, err := netlink.LinkByName("port0")
		if err != nil {
			return err
		}
		var f Finder
		if err := netlink.LinkSetMasterByIndex(port, f.Index("br0")); err != nil {
			return err
		}
		if f.Bridge(f.Index("port0")) != f.Index("br0") || f.Bridge(f.Index("lan0")) != 0 || f.Bridge(f.Index("br0")) != 0 || f.Bridge(99) != 0 {
			t.Errorf("port0 %d, lan0 %d, br0 %d", f.Bridge(f.Index("port0")), f.Bridge(f.Index("lan0")), f.Bridge(f.Index("br0")))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
