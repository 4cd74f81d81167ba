package linkmon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// observer runs a monitor in a namespace and keeps what it reported.
type observer struct {
	t     testing.TB
	m     *Monitor
	links map[string]failover.Link
	// seen are all observations so far.
	seen []Observation
}

func observe(t testing.TB, ns *netns.NS, uplinks ...Uplink) *observer {
	t.Helper()
	return observeWith(t, ns, receiveBuffer, uplinks...)
}

func observeWith(t testing.TB, ns *netns.NS, bufferSize int, uplinks ...Uplink) *observer {
	t.Helper()
	o := &observer{t: t, links: map[string]failover.Link{}}
	err := ns.Do(func() (err error) {
		o.m, err = newMonitor(Options{Uplinks: uplinks, Clock: clockFrom(time.Now())}, bufferSize)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	o.take()
	return o
}

func clockFrom(epoch time.Time) func() failover.Instant {
	return func() failover.Instant { return time.Since(epoch) }
}

func (o *observer) take() {
	for _, seen := range o.m.Take() {
		o.seen = append(o.seen, seen)
		if event, ok := seen.Event.(failover.LinkChanged); ok {
			o.links[event.Uplink] = event.Link
		}
	}
}

// until takes observations until cond holds.
func (o *observer) until(what string, cond func() bool) {
	o.t.Helper()
	deadline := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-o.m.Ready():
			o.take()
		case <-deadline:
			o.t.Fatalf("waited in vain for %s; the links are\n%+v", what, o.links)
		}
	}
}

// untilLink takes observations until an uplink's link is as cond wants it.
func (o *observer) untilLink(uplink, what string, cond func(failover.Link) bool) failover.Link {
	o.t.Helper()
	o.until(uplink+": "+what, func() bool { return cond(o.links[uplink]) })
	return o.links[uplink]
}

// untilGateway waits for the gateway of a family, as text: "" for unknown, "none"
// for a point-to-point link, else the address; then a space and who made the route, or "withdrawn".
func (o *observer) untilGateway(uplink string, f failover.Family, want string) {
	o.t.Helper()
	o.untilLink(uplink, fmt.Sprintf("%s gateway %q", f, want), func(l failover.Link) bool {
		return gatewayText(l.Family[f]) == want
	})
}

func gatewayText(f failover.FamilyLink) string {
	switch {
	case f.Withdrawn:
		return f.Gateway.String() + " withdrawn"
	case f.PointToPoint:
		return "none " + f.Source
	case f.Gateway.IsValid():
		return f.Gateway.String() + " " + f.Source
	}
	return f.Source
}

// catchUp waits until the watch has handled all that happened before, so that a
// test can say that something did not change: an address comes and goes on lo.
func (o *observer) catchUp(ns *netns.NS) {
	o.t.Helper()
	marker := addr("127.9.9.9")
	runIP(o.t, ns, "addr add 127.9.9.9/32 dev lo")
	waitFor(o.t, "a new address", func() bool { return slices.Contains(o.m.Own(), marker) })
	runIP(o.t, ns, "addr del 127.9.9.9/32 dev lo")
	waitFor(o.t, "its removal", func() bool { return !slices.Contains(o.m.Own(), marker) })
	o.take()
}

// runIP runs ip(8) in a namespace.
func runIP(t testing.TB, ns *netns.NS, args string) string {
	t.Helper()
	out, err := ns.Run("ip", strings.Fields(args)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// wan makes a namespace with links w0 and w1, each to a namespace of an ISP, with
// addresses of both families: 10.N.0.2/24 and 2001:db8:N::2/64 with .1 at the ISP.
func wan(t testing.TB) (ns *netns.NS, isps [2]*netns.NS) {
	t.Helper()
	ns = netns.New(t)
	for i := range isps {
		isps[i] = netns.New(t)
		device := fmt.Sprintf("w%d", i)
		if err := netns.Veth(ns, device, isps[i], "isp"); err != nil {
			t.Fatal(err)
		}
		runIP(t, isps[i], "link set isp up")
		runIP(t, ns, "link set "+device+" up")
		runIP(t, isps[i], fmt.Sprintf("addr add 10.%d.0.1/24 dev isp", i))
		runIP(t, isps[i], fmt.Sprintf("addr add 2001:db8:%d::1/64 dev isp", i))
		runIP(t, ns, fmt.Sprintf("addr add 10.%d.0.2/24 dev %s", i, device))
		runIP(t, ns, fmt.Sprintf("addr add 2001:db8:%d::2/64 dev %s", i, device))
	}
	// IPv6 addresses become usable when the kernel has noticed the carrier.
	for _, space := range []*netns.NS{ns, isps[0], isps[1]} {
		waitFor(t, "addresses", func() bool { return runIP(t, space, "-6 addr show tentative") == "" })
	}
	return ns, isps
}

func uplink(name, device string) Uplink { return Uplink{Name: name, Interface: device, IPv6: true} }

func TestCarrierAndSwitch(t *testing.T) {
	ns, isps := wan(t)
	o := observe(t, ns, uplink("a", "w0"), uplink("b", "w1"))
	for name, link := range o.links {
		if !link.Present || !link.AdminUp || !link.Carrier {
			t.Errorf("%s at the start: %+v; want it up with carrier", name, link)
		}
	}
	runIP(t, isps[0], "link set isp down")
	o.untilLink("a", "no carrier", func(l failover.Link) bool { return l.AdminUp && !l.Carrier })
	runIP(t, isps[0], "link set isp up")
	o.untilLink("a", "carrier again", func(l failover.Link) bool { return l.Carrier })
	runIP(t, ns, "link set w0 down")
	o.untilLink("a", "switched off", func(l failover.Link) bool { return !l.AdminUp && !l.Carrier })
	runIP(t, ns, "link set w0 up")
	o.untilLink("a", "on again", func(l failover.Link) bool { return l.AdminUp && l.Carrier })
	if changes := o.changes("b"); changes != 1 {
		t.Errorf("the other uplink was reported %d times, want once, at the start", changes)
	}
}

func (o *observer) changes(uplink string) (n int) {
	for _, seen := range o.seen {
		if event, ok := seen.Event.(failover.LinkChanged); ok && event.Uplink == uplink {
			n++
		}
	}
	return n
}

func TestAddressesChange(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns, uplink("a", "w0"), Uplink{Name: "v4only", Interface: "w1"})
	want := func(v4, v6 []string) {
		t.Helper()
		o.untilLink("a", fmt.Sprintf("addresses %v %v", v4, v6), func(l failover.Link) bool {
			return slices.Equal(texts(l.Family[0].Addresses), v4) && slices.Equal(texts(l.Family[1].Addresses), v6)
		})
	}
	want([]string{"10.0.0.2/24"}, []string{"2001:db8::2/64"})
	if l := o.links["v4only"]; len(l.Family[0].Addresses) != 1 || len(l.Family[1].Addresses) != 0 {
		t.Errorf("an uplink without IPv6: %+v", l)
	}
	runIP(t, ns, "addr add 10.0.0.7/24 dev w0")
	want([]string{"10.0.0.2/24", "10.0.0.7/24"}, []string{"2001:db8::2/64"})
	runIP(t, ns, "addr flush dev w0 scope global")
	want(nil, nil)
	runIP(t, ns, "addr add 192.0.2.9/32 peer 192.0.2.1/32 dev w0")
	runIP(t, ns, "addr add 2001:db8:9::9/64 dev w0")
	want([]string{"192.0.2.9/32"}, []string{"2001:db8:9::9/64"})
}
