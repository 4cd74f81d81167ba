package failover_test

import (
	"net/netip"
	"testing"

	"swerve/failover"
)

// What is behind somebody's NAT is not the internet's, carriers' included.
func TestIsPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"203.0.113.7": true, "2001:db8::1": true, "100.128.0.1": true,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "100.64.0.1": false, "100.127.255.254": false,
		"169.254.1.1": false, "127.0.0.1": false, "224.0.0.1": false, "0.0.0.0": false,
		"fd00::1": false, "fe80::1": false, "::1": false, "ff02::1": false,
	} {
		if got := failover.IsPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if failover.IsPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
}
