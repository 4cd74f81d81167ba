package linkmon

import (
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

// TestGatewayIsLearnt puts defaults into main as their makers do, one after the
// other, and expects after each what is written before the colon.
func TestGatewayIsLearnt(t *testing.T) {
	for name, steps := range map[string][]string{
		"dhcp": {
			": ",
			"10.0.0.1 dhcp: route add default via 10.0.0.1 dev w0 proto dhcp src 10.0.0.2 metric 100",
			"10.0.0.254 dhcp: route replace default via 10.0.0.254 dev w0 proto dhcp src 10.0.0.2 metric 100",
			"10.0.0.254 withdrawn: route del default",
		},
		"a person": {
			"10.0.0.1 boot: route add default via 10.0.0.1 dev w0",
			"10.0.0.1 boot: route add default via 10.0.0.7 dev w0 proto dhcp metric 100",
			"10.0.0.7 dhcp: route del default via 10.0.0.1 dev w0",
		},
		"ours are ignored": {
			": route add default via 10.0.0.1 dev w0 proto 83 metric 1",
			": route add default via 10.0.0.1 dev w0 proto dhcp table 100",
			"10.0.0.9 static: route add default via 10.0.0.9 dev w0 proto static metric 9",
		},
		"multipath": {
			"10.0.0.1 static: route add default proto static nexthop via 10.1.0.1 dev w1 nexthop via 10.0.0.1 dev w0",
		},
		"without via": {
			"none boot: route add default dev w0 metric 1002",
			"10.0.0.1 dhcp: route add default via 10.0.0.1 dev w0 proto dhcp metric 100",
			"10.0.0.1 withdrawn: route del default via 10.0.0.1 dev w0",
			"none boot: route add default dev w0 metric 100",
			"none boot: route add default via 10.0.0.7 dev w0 proto dhcp metric 200",
			"10.0.0.7 dhcp: route del default dev w0 metric 100",
		},
		"zeroconf": {
			": addr flush dev w0",
			": addr add 169.254.7.7/16 dev w0 scope link",
			": route add default dev w0 scope link metric 1002",
		},
		"unreachable": {
			": route add unreachable default",
			"10.0.0.1 boot: -4 route add default via 10.0.0.1 dev w0 metric 5",
		},
		"through IPv6": {
			"2001:db8::1 boot: -4 route add default via inet6 2001:db8::1 dev w0 metric 6",
			"10.0.0.1 boot: -4 route add default via 10.0.0.1 dev w0 metric 5",
		},
		"nexthop object": {
			": nexthop add id 5 via 10.0.0.1 dev w0",
			"10.0.0.1 boot: route add default nhid 5",
			"10.0.0.1 withdrawn: nexthop del id 5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, _ := wan(t)
			o := observe(t, ns, uplink("a", "w0"))
			for _, step := range steps {
				want, command, _ := strings.Cut(step, ": ")
				if command != "" {
					runIP(t, ns, command)
				}
				o.catchUp(ns)
				o.untilGateway("a", failover.IPv4, want)
			}
		})
	}
}

func TestConfiguredGateways(t *testing.T) {
	ns, _ := wan(t)
	runIP(t, ns, "route add default via 10.0.0.1 dev w0")
	given, none := uplink("given", "w0"), uplink("none", "w1")
	given.Gateway = [2]GatewaySpec{{Addr: addr("10.0.0.99")}, {Addr: addr("fe80::99")}}
	none.Gateway = [2]GatewaySpec{{None: true}, {None: true}}
	o := observe(t, ns, given, none)
	o.untilGateway("given", failover.IPv4, "10.0.0.99 config")
	o.untilGateway("given", failover.IPv6, "fe80::99 config")
	o.untilGateway("none", failover.IPv4, "none config")
	o.untilGateway("none", failover.IPv6, "none config")
}

// A gateway is remembered after its route is gone, until the device is in another
// network.
func TestGatewayOutlivesAPurge(t *testing.T) {
	ns, isps := wan(t)
	dhcp := "route add default via 10.0.0.1 dev w0 proto dhcp metric 100"
	runIP(t, ns, dhcp)
	o := observe(t, ns, uplink("a", "w0"))
	o.untilGateway("a", failover.IPv4, "10.0.0.1 dhcp")

	runIP(t, ns, "link set w0 down")
	runIP(t, ns, "link set w0 up")
	o.catchUp(ns)
	if out := runIP(t, ns, "route show default"); out != "" {
		t.Fatalf("the kernel kept the route: %s", out)
	}
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	runIP(t, ns, dhcp)
	o.catchUp(ns)
	runIP(t, ns, "route del default")
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")

	// As networkd does on carrier loss.
	runIP(t, ns, dhcp)
	o.untilGateway("a", failover.IPv4, "10.0.0.1 dhcp")
	runIP(t, isps[0], "link set isp down")
	o.untilLink("a", "no carrier", func(l failover.Link) bool { return !l.Carrier })
	runIP(t, ns, "addr flush dev w0 scope global")
	o.catchUp(ns)
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	runIP(t, isps[0], "link set isp up")
	runIP(t, ns, "addr add 172.16.0.2/24 dev w0") // on another network
	o.untilGateway("a", failover.IPv4, "")
}

// The kernel sends no message about the routes that it removes with an interface that
// is switched off and on again at once; one reading may cover both.
func TestGatewayOutlivesAFlickOfTheSwitch(t *testing.T) {
	ns, _ := wan(t)
	runIP(t, ns, "route add default via 10.0.0.1 dev w0 proto dhcp metric 100")
	o := observe(t, ns, uplink("a", "w0"))
	link, err := ns.Netlink().LinkByName("w0")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := ns.Netlink().LinkSetDown(link); err != nil {
			t.Fatal(err)
		}
		if err := ns.Netlink().LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
		o.catchUp(ns)
		o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	}
}

func TestRouterAdvertisement(t *testing.T) {
	ns, isps := wan(t)
	runIP(t, ns, "-6 addr flush dev w0 scope global")
	o := observe(t, ns, uplink("a", "w0"))
	from := linkLocal(t, isps[0], "isp")
	advertise(t, isps[0], from, 1800)
	o.untilGateway("a", failover.IPv6, from+" ra")
	o.untilLink("a", "an address of the announced prefix", func(l failover.Link) bool {
		a := l.Family[failover.IPv6].Addresses
		return len(a) == 1 && prefix("2001:db8:aaaa::/64").Contains(a[0].Addr())
	})
	expires := func(what string, seconds func(int) bool) {
		t.Helper()
		waitFor(t, what, func() bool {
			_, rest, _ := strings.Cut(runIP(t, ns, "-6 route show default dev w0"), "expires ")
			n := 0
			_, err := fmt.Sscanf(rest, "%dsec", &n)
			return err == nil && seconds(n)
		})
	}
	expires("the lifetime", func(n int) bool { return n > 1000 })
	before := o.links["a"]
	advertise(t, isps[0], from, 600) // another lifetime is no event
	expires("another lifetime", func(n int) bool { return n <= 600 })
	o.catchUp(ns)
	if now := o.links["a"]; !now.Equal(before) {
		t.Errorf("with another lifetime the link is %+v, was %+v", now, before)
	}
	advertise(t, isps[0], from, 0) // no router any more
	o.untilGateway("a", failover.IPv6, from+" withdrawn")
	advertise(t, isps[0], from, 1800) // and back
	o.untilGateway("a", failover.IPv6, from+" ra")
}

// linkLocal waits for a link's own address.
func linkLocal(t *testing.T, ns *netns.NS, device string) (found string) {
	t.Helper()
	waitFor(t, "a link-local address", func() bool {
		fields := strings.Fields(runIP(t, ns, "-6 -o addr show scope link dev "+device))
		if len(fields) > 3 {
			found, _, _ = strings.Cut(fields[3], "/")
		}
		return found != ""
	})
	return found
}

// advertise sends a router advertisement (RFC 4861, 4.2) with the prefix
// 2001:db8:aaaa::/64 to everybody on the link.
func advertise(t *testing.T, ns *netns.NS, from string, lifetime uint16) {
	t.Helper()
	message := []byte{134, 0, 0, 0, 64, 0, byte(lifetime >> 8), byte(lifetime), 0, 0, 0, 0, 0, 0, 0, 0}
	message = append(message, 3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0)
	message = append(message, prefix("2001:db8:aaaa::/64").Addr().AsSlice()...)
	err := ns.Do(func() error {
		c, err := net.ListenPacket("ip6:ipv6-icmp", from+"%isp")
		if err != nil {
			return err
		}
		defer c.Close()
		device, err := net.InterfaceByName("isp")
		if err != nil {
			return err
		}
		to := &net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: "isp"}
		_, err = ipv6.NewPacketConn(c).WriteTo(message, &ipv6.ControlMessage{HopLimit: 255, IfIndex: device.Index}, to)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// To the kernel a tun device is like that of PPP or of a raw-IP modem.
func TestPointToPoint(t *testing.T) {
	ns := netns.New(t)
	o := observe(t, ns, uplink("a", "ppp0"))
	addTun(t, ns, "ppp0")
	o.untilLink("a", "the device with carrier", func(l failover.Link) bool { return l.Carrier })
	o.untilGateway("a", failover.IPv4, "none device")
	runIP(t, ns, "addr add 10.64.64.64 peer 10.64.64.1 dev ppp0")
	runIP(t, ns, "route add default dev ppp0 metric 3")
	o.untilGateway("a", failover.IPv4, "none boot")
	o.untilLink("a", "its address", func(l failover.Link) bool {
		return fmt.Sprint(texts(l.Family[0].Addresses)) == "[10.64.64.64/32]" && l.Routable(failover.IPv4)
	})
	// The test's device is a tun, so a tunnel.
	if got := fmt.Sprint(o.m.Defaults()); got != fmt.Sprintf("[{ppp0 %d ipv4 3 0 true boot 0 false false}]", o.links["a"].Index) {
		t.Errorf("defaults: %s", got)
	}
}

// addTun makes a tun device whose other end this process holds.
func addTun(t testing.TB, ns *netns.NS, name string) *netlink.Tuntap {
	t.Helper()
	return addTuntap(t, ns, name, netlink.TUNTAP_MODE_TUN)
}

func addTuntap(t testing.TB, ns *netns.NS, name string, mode netlink.TuntapMode) *netlink.Tuntap {
	t.Helper()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	tun := &netlink.Tuntap{LinkAttrs: attributes, Mode: mode, Queues: 1, Flags: netlink.TUNTAP_DEFAULTS | netlink.TUNTAP_NO_PI, NonPersist: true}
	err := ns.Do(func() error {
		if err := ns.Netlink().LinkAdd(tun); err != nil {
			return err
		}
		return ns.Netlink().LinkSetUp(tun)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range tun.Fds {
			f.Close()
		}
	})
	return tun
}

// A routing table exists from its first route on. Where not even lo is up, as early
// in a boot, table main does not exist: then there are no default routes.
func TestNoMainTableYet(t *testing.T) {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends, and the namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ended <- err
			return
		}
		w, err := openWatch(Options{Clock: clockFrom(time.Now()), Log: slog.New(slog.DiscardHandler)}, newOutbox(), receiveBuffer)
		if err == nil {
			w.close()
		}
		ended <- err
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
