package linkmon

import (
	"net/netip"
	"testing"
)

// To a link-local gateway the kernel chooses: an address borrowed from another device may
// be of another uplink's prefix, which this gateway does not answer.
func TestSourceToALinkLocalGateway(t *testing.T) {
	c := &chooser{}
	r := request{to: netip.MustParseAddr("fe80::1%wan1"), index: 3, source: netip.MustParseAddr("2001:db8:1:50::1")}
	if !c.fits(r) {
		t.Error("the source is borrowed")
	}
	if r.index = 0; c.fits(r) {
		t.Error("without a device the source is left to the kernel")
	}
}
