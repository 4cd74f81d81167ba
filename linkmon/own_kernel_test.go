package linkmon

import (
	"slices"
	"testing"
	"time"

	"swerve/failover"
)

// A probe to an address of this machine would never leave it, so it is not sent: on
// whichever device the address is, and only while it exists.
func TestOwnAddresses(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns, uplink("a", "w0"))
	probe := func(target string) failover.Event {
		t.Helper()
		id := failover.ProbeID(len(o.seen) + 1)
		o.m.Send(failover.Probe{ID: id, Uplink: "a", Target: target}, Path{Link: o.links["a"], LostAfter: time.Second}.to(target))
		var outcome failover.Event
		o.until("an outcome for "+target, func() bool {
			for _, seen := range o.seen {
				switch e := seen.Event.(type) {
				case failover.ProbeNotSent:
					if e.ID == id {
						outcome = e
					}
				case failover.ProbeSent:
					if e.ID == id {
						outcome = e
					}
				}
			}
			return outcome != nil
		})
		return outcome
	}
	own := func(target string) bool {
		e, refused := probe(target).(failover.ProbeNotSent)
		return refused && e.Cause == target+" is an address of this machine"
	}
	drain(o.m.OwnChanged())
	if !own("10.0.0.2") || !own("10.1.0.2") || own("192.0.2.1") {
		t.Error("own addresses are asked, or others are taken for own")
	}
	runIP(t, ns, "addr add 192.0.2.1/32 dev lo")
	await(t, "the hint", o.m.OwnChanged())
	if !slices.Contains(o.m.Own(), addr("192.0.2.1")) || !own("192.0.2.1") {
		t.Errorf("a new one is not among %v, or asked", o.m.Own())
	}
	runIP(t, ns, "addr del 192.0.2.1/32 dev lo")
	await(t, "the hint", o.m.OwnChanged())
	if own("192.0.2.1") {
		t.Error("one that is gone is still taken for own")
	}
}

// The kernel takes no route by such a gateway, and it would answer every probe.
func TestGatewayThatIsThisMachine(t *testing.T) {
	ns, _ := wan(t)
	u := uplink("a", "w0")
	u.Gateway[0].Addr = addr("10.0.0.9")
	o := observe(t, ns, u)
	o.untilGateway("a", failover.IPv4, "10.0.0.9 config")
	runIP(t, ns, "addr add 10.0.0.9/32 dev lo")
	o.untilGateway("a", failover.IPv4, "")
	runIP(t, ns, "addr del 10.0.0.9/32 dev lo")
	o.untilGateway("a", failover.IPv4, "10.0.0.9 config")
}

// A link-local address is this machine's on one link alone: the provider's router and
// the LAN's, which is this machine, may both be fe80::1.
func TestLinkLocalGatewayIsOwnElsewhere(t *testing.T) {
	ns, _ := wan(t)
	runIP(t, ns, "-6 addr add fe80::1/64 dev w1 nodad")
	runIP(t, ns, "-6 route add default via fe80::1 dev w0 proto ra")
	o := observe(t, ns, uplink("a", "w0"))
	o.untilGateway("a", failover.IPv6, "fe80::1 ra")
	if own := o.m.Own(); slices.Contains(own, addr("fe80::1")) {
		t.Errorf("it is among the addresses that are never probed: %v", own)
	}
	runIP(t, ns, "-6 addr add fe80::1/64 dev w0 nodad")
	o.untilGateway("a", failover.IPv6, "")
}
