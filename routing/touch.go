package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// touched are the hosts whose routes a Touch adds and deletes: addresses that no
// packet has (RFC 7600, RFC 6666), so that not even those would go another way.
var touched = [2]netip.Prefix{
	failover.IPv4: netip.MustParsePrefix("192.0.0.8/32"),
	failover.IPv6: netip.MustParsePrefix("100::8/128"),
}

// touchTries bounds the attempts of a Touch, and touchAgain is the time between two.
const (
	touchTries = 5
	touchAgain = 20 * time.Millisecond
)

// Touch adds a host route to the table of a lane and deletes it again. What the kernel
// remembers of routes by that table is checked anew then: the flows of a flow table,
// whoever made it, bypass every rule and every hook, and go on by an uplink whose
// routes were changed until theirs count as outdated. So it comes after the packet
// filter was changed: a packet between the two would be offloaded as before. For
// IPv4 any change of a route has that effect, for IPv6 one in the same table, and
// on Linux 5.10 only a deletion. It is tried again where it fails.
func Touch(k Kernel, l lane.Layout, n lane.Lane, f failover.Family) error {
	route := touchRoute(l.Table(n), f)
	var err error
	for range touchTries {
		if err = touch(k, route); err == nil {
			return nil
		}
		time.Sleep(touchAgain)
	}
	return fmt.Errorf("routing: touch table %d in %s: %w", route.Table, f, err)
}

func touch(k Kernel, route Route) error {
	added := k.Do(Op{Action: AddRoute, Route: route})
	if errors.Is(added, unix.EEXIST) { // left by a daemon that was killed in between
		added = nil
	}
	return errors.Join(added, k.Do(Op{Action: DeleteRoute, Route: route}))
}

// touchRoute has the type throw: a lookup that meets it goes on with the next rule.
func touchRoute(table int, f failover.Family) Route {
	const metric = 1 // IPv6 has no 0
	return Route{
		Slot:     Slot{Family: f, Table: table, Dst: touched[f], Metric: metric},
		Protocol: lane.Protocol, Type: unix.RTN_THROW,
	}
}

// OfTouch reports whether the op removes what a Touch has added.
func (o Op) OfTouch() bool { return o.Action == DeleteRoute && o.Route.Dst == touched[o.Route.Family] }
