package routing

import (
	"net/netip"
	"slices"
	"testing"

	"swerve/failover"
	"swerve/lane"
)

// The next hops of the uplinks' own tables are found with their addresses; those of a
// policy, of several hops and of other destinations are none of an uplink's.
func TestKept(t *testing.T) {
	l := lane.DefaultLayout
	at := func(f failover.Family, n lane.Lane, hops ...Hop) Route {
		return Route{Slot: Slot{Family: f, Table: l.Table(n), Dst: anywhere(f), Metric: 1}, Type: Unicast, Hops: hops}
	}
	gw, gw6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("fe80::1")
	realm := at(failover.IPv4, 1, Hop{Index: 3, Gateway: gw, Weight: 1, Realm: 5})
	pin := at(failover.IPv4, 2, Hop{Index: 4, Gateway: gw})
	pin.Dst = netip.MustParsePrefix("192.0.2.1/32")
	block := at(failover.IPv4, 3)
	block.Type = Unreachable
	from := netip.MustParsePrefix("203.0.113.2/32")
	s := State{
		Routes: []Route{
			realm, at(failover.IPv6, 1, Hop{Index: 3, Gateway: gw6}), pin, block,
			at(failover.IPv4, 4, Hop{Index: 3, Gateway: gw}, Hop{Index: 4, Gateway: gw}),
			at(failover.IPv4, lane.DefaultPolicy, Hop{Index: 3, Gateway: gw}),
		},
		Rules: []Rule{
			{Family: failover.IPv4, Table: l.Table(1), From: from},
			{Family: failover.IPv4, Table: l.Table(2), From: from},
			{Family: failover.IPv4, Table: l.Table(1)},
		},
	}
	got := s.Kept(l)
	one := got[1]
	if len(got) != 1 || one[0].Index != 3 || one[0].Gateway != gw || one[0].Shape.Realm != 5 ||
		!slices.Equal(one[0].Sources, []netip.Addr{from.Addr()}) || one[1].Gateway != gw6 || len(one[1].Sources) != 0 {
		t.Errorf("got %+v", got)
	}
}
