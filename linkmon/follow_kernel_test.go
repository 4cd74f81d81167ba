package linkmon

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
)

func TestUplinkComesAndGoes(t *testing.T) {
	ns := netns.New(t)
	o := observe(t, ns, uplink("a", "w0"))
	if l, reported := o.links["a"]; !reported || l.Present || l.Index != 0 || l.Interface != "w0" {
		t.Fatalf("at the start: %+v, reported %v; want w0 reported as missing", l, reported)
	}
	runIP(t, ns, "link add w0 type veth peer p0")
	first := o.untilLink("a", "present", func(l failover.Link) bool { return l.Present && l.Interface == "w0" && !l.AdminUp })
	runIP(t, ns, "link del w0")
	o.untilLink("a", "gone", func(l failover.Link) bool { return l.Equal(failover.Link{}) })
	runIP(t, ns, "link add w0 type veth peer p0")
	again := o.untilLink("a", "present again", func(l failover.Link) bool { return l.Present })
	if again.Index == first.Index {
		t.Errorf("the new device has the old index %d: the test proves nothing", again.Index)
	}
}

func TestRenamedUplink(t *testing.T) {
	ns, _ := wan(t)
	runIP(t, ns, "link property add dev w1 altname fibre")
	mac, err := ns.Netlink().LinkByName("w1")
	if err != nil {
		t.Fatal(err)
	}
	o := observe(t, ns, uplink("name", "w0"), uplink("alt", "fibre"), uplink("mac", mac.Attrs().HardwareAddr.String()))
	index := map[string]int{}
	for name, l := range o.links {
		index[name] = l.Index
	}
	if index["alt"] != index["mac"] || index["alt"] == index["name"] || index["name"] == 0 {
		t.Fatalf("found devices %v", index)
	}
	runIP(t, ns, "link set w0 name old0")
	runIP(t, ns, "link set w1 name old1")
	for name, want := range map[string]string{"name": "old0", "alt": "old1", "mac": "old1"} {
		o.untilLink(name, "renamed", func(l failover.Link) bool { return l.Interface == want && l.Index == index[name] })
	}
	// A new device takes the configured name: it is the uplink's from now on.
	runIP(t, ns, "link add w0 type veth peer p0")
	o.untilLink("name", "the new device", func(l failover.Link) bool { return l.Interface == "w0" && l.Index != index["name"] })
}

// What was learnt from one device is not used for another one that takes its name.
func TestTakenNameForgetsTheGateway(t *testing.T) {
	ns, _ := wan(t)
	runIP(t, ns, "route add default via 10.0.0.1 dev w0 proto dhcp")
	o := observe(t, ns, uplink("a", "w0"))
	o.untilGateway("a", failover.IPv4, "10.0.0.1 dhcp")
	runIP(t, ns, "link del w0")
	runIP(t, ns, "link add w0 type veth peer p0")
	o.untilLink("a", "another device", func(l failover.Link) bool { return l.Present && l.Family[0].Source == "" })
}

func TestSetUplinks(t *testing.T) {
	ns, _ := wan(t)
	runIP(t, ns, "route add default via 10.0.0.1 dev w0 proto dhcp")
	o := observe(t, ns, uplink("a", "w0"), uplink("b", "w1"))
	runIP(t, ns, "link set w0 down")
	o.untilLink("a", "down", func(l failover.Link) bool { return !l.AdminUp })
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	o.catchUp(ns)
	before := o.changes("a")
	changed := uplink("b", "w1")
	changed.IPv6 = false
	o.m.SetUplinks([]Uplink{changed, uplink("a", "w0"), uplink("c", "w1")})
	o.untilLink("c", "reported", func(l failover.Link) bool { return l.Present })
	o.untilLink("b", "without IPv6", func(l failover.Link) bool { return len(l.Family[1].Addresses) == 0 })
	// An uplink that stays as it was is not reported again, and its gateway is kept.
	o.untilGateway("a", failover.IPv4, "10.0.0.1 withdrawn")
	if n := o.changes("a"); n != before {
		t.Errorf("a was reported %d times more", n-before)
	}
	var names string
	for _, l := range o.m.watch.currentLinks() {
		names += l.uplink
		if !l.link.Equal(o.links[l.uplink]) {
			t.Errorf("%s is now %+v, reported as %+v", l.uplink, l.link, o.links[l.uplink])
		}
	}
	if names != "bac" {
		t.Errorf("links in order %s, want b, a, c", names)
	}
	o.m.SetUplinks(nil)
	waitFor(t, "no uplinks", func() bool { return len(o.m.watch.currentLinks()) == 0 })
}

func TestDefaults(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns)
	if d := o.m.Defaults(); len(d) != 0 {
		t.Fatalf("without routes: %v", d)
	}
	drain(o.m.DefaultsChanged())
	runIP(t, ns, "route add default via 10.1.0.1 dev w1 metric 200")
	runIP(t, ns, "route add default via 10.0.0.1 dev w0 proto dhcp metric 50")
	runIP(t, ns, "route add default via 10.0.0.7 dev w0 proto dhcp metric 60")
	runIP(t, ns, "-6 route add default via fe80::1 dev w1 proto ra metric 100")
	runIP(t, ns, "route add default via 10.0.0.9 dev w0 metric 1 proto 83")
	waitFor(t, "the list", func() bool {
		d := o.m.Defaults()
		return len(d) == 3 && d[0].Interface == "w0" && d[0].Metric == 50 && d[0].Source == "dhcp" &&
			d[1].Interface == "w1" && d[1].Family == failover.IPv6 && d[1].Metric == 100 &&
			d[2].Interface == "w1" && d[2].Family == failover.IPv4 && d[2].Metric == 200
	})
	await(t, "a hint", o.m.DefaultsChanged())
	o.catchUp(ns)
	drain(o.m.DefaultsChanged())
	runIP(t, ns, "addr add 10.0.0.77/24 dev w0")
	o.catchUp(ns)
	if drain(o.m.DefaultsChanged()) {
		t.Error("a hint although the defaults are as they were")
	}
}

// TestRepairHint has each of these changes make a hint, and other ones none.
func TestRepairHint(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns, uplink("a", "w0"))
	for _, step := range []struct {
		command string
		hint    bool
	}{
		{"route add default via 10.0.0.1 dev w0 table 5301 proto 83", true},
		{"route del default table 5301", true},
		{"-6 route add default via fe80::1 dev w0 table 5301 proto 83", true},
		{"-6 route flush table 5301", true},
		{"rule add pref 5301 fwmark 1 lookup 5301 protocol 83", true},
		{"rule del pref 5301", true},
		{"-6 rule add pref 5301 fwmark 1 lookup 5301 protocol 83", true},
		{"-6 rule del pref 5301", true},
		{"route add default via 10.0.0.1 dev w0 proto dhcp", true},
		{"route del default", true},
		{"link set w0 down", true},
		{"link set w0 up", false},
		{"rule add pref 100 fwmark 1 lookup 100", true},
		{"route add 192.0.2.0/24 via 10.0.0.1 dev w0", false},
		{"route add default via 10.0.0.1 dev w0 table 100", false},
		{"addr add 10.0.0.77/24 dev w0", false},
		{"addr del 10.0.0.77/24 dev w0", true},
	} {
		drainAfter(o.m.Repair(), 20*time.Millisecond)
		runIP(t, ns, step.command)
		if step.hint {
			await(t, "a hint after "+step.command, o.m.Repair())
		} else if drainAfter(o.m.Repair(), 20*time.Millisecond) {
			t.Errorf("a hint after %s", step.command)
		}
	}
}

// drain empties a channel of hints and reports whether there was one.
func drain(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// drainAfter gives the watch some time first.
func drainAfter(c <-chan struct{}, d time.Duration) bool {
	time.Sleep(d)
	return drain(c)
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
}

func TestGatewayThatCannotBeResolved(t *testing.T) {
	ns, _ := wan(t)
	for _, key := range []string{"ipv4/neigh/w0/retrans_time_ms", "ipv6/neigh/w0/retrans_time_ms", "ipv4/neigh/w1/retrans_time_ms"} {
		if err := ns.SetSysctl("net/"+key, "10"); err != nil {
			t.Fatal(err)
		}
	}
	dead, alive := uplink("dead", "w0"), uplink("alive", "w1")
	dead.Gateway = [2]GatewaySpec{{Addr: addr("10.0.0.66")}, {Addr: addr("2001:db8::66")}}
	alive.Gateway[0].Addr = addr("10.1.0.1")
	o := observe(t, ns, dead, alive)
	// Neighbours that are no gateways fail as well; they do not matter.
	for _, to := range []string{"10.0.0.77", "10.1.0.77", "10.1.0.1", "10.0.0.66", "2001:db8::66"} {
		touch(t, ns, to)
	}
	failed := map[failover.NeighborFailed]bool{}
	o.until("both failures", func() bool {
		for _, seen := range o.seen {
			if event, ok := seen.Event.(failover.NeighborFailed); ok {
				failed[event] = true
			}
		}
		return failed[failover.NeighborFailed{Uplink: "dead", Family: failover.IPv4}] &&
			failed[failover.NeighborFailed{Uplink: "dead", Family: failover.IPv6}]
	})
	if len(failed) != 2 {
		t.Errorf("failures: %v", failed)
	}
}

// touch sends something to an address, so that the kernel has to resolve it.
func touch(t *testing.T, ns *netns.NS, to string) {
	t.Helper()
	c, err := ns.DialUDP(unusedPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("?")) // an error does not matter: the kernel has tried
}

// A storm of messages overruns a small buffer. The watch goes on, and finds what
// happened during the storm, including a gateway that failed.
func TestStormAndOverrun(t *testing.T) {
	ns, _ := wan(t)
	if err := ns.SetSysctl("net/ipv4/neigh/w0/retrans_time_ms", "10"); err != nil {
		t.Fatal(err)
	}
	u := uplink("a", "w0")
	u.Gateway[0].Addr = addr("10.0.0.66")
	o := observeWith(t, ns, 4096, u, uplink("b", "w1"))
	before := o.m.Counters()
	storm(t, ns, 10000, func(i int) {
		switch i {
		case 3000:
			touch(t, ns, "10.0.0.66")
		case 5000:
			runIP(t, ns, "link set w1 down")
		}
	})
	o.untilLink("b", "down", func(l failover.Link) bool { return l.Present && !l.AdminUp })
	o.until("the gateway's failure", func() bool {
		for _, seen := range o.seen {
			if seen.Event == (failover.NeighborFailed{Uplink: "a", Family: failover.IPv4}) {
				return true
			}
		}
		return false
	})
	after := o.m.Counters()
	if after.Overruns == 0 {
		t.Error("no overrun: the test proves nothing")
	}
	if n := after.Readings - before.Readings; n > 5000 {
		t.Errorf("%d readings for 10,000 events", n)
	}
	t.Logf("%+v", after)
}

// storm makes events of an address that comes and goes.
func storm(t testing.TB, ns *netns.NS, events int, during func(i int)) {
	t.Helper()
	lo, err := ns.Netlink().LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	a, err := netlink.ParseAddr("127.8.8.8/32")
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		during(i)
		change := ns.Netlink().AddrAdd
		if i%2 == 1 {
			change = ns.Netlink().AddrDel
		}
		if err := change(lo, a); err != nil {
			t.Fatal(err)
		}
	}
}

// Where messages were lost, the state of each gateway is read.
func TestMissedFailureIsRead(t *testing.T) {
	ns, _ := wan(t)
	if err := ns.SetSysctl("net/ipv4/neigh/w0/retrans_time_ms", "10"); err != nil {
		t.Fatal(err)
	}
	dead, alive := uplink("dead", "w0"), uplink("alive", "w1")
	dead.Gateway[0].Addr, alive.Gateway[0].Addr = addr("10.0.0.66"), addr("10.1.0.1")
	w := unattended(t, ns, dead, alive)
	w.out.take()
	touch(t, ns, "10.0.0.66")
	touch(t, ns, "10.1.0.1")
	waitFor(t, "the failure", func() bool {
		return strings.Contains(runIP(t, ns, "neigh show 10.0.0.66"), "FAILED")
	})
	h := newHints()
	h.miss(5)
	w.handle(t.Context(), h)
	want := []Observation{{At: 5, Event: failover.NeighborFailed{Uplink: "dead", Family: failover.IPv4}}}
	if got := w.out.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
	w.handle(t.Context(), hints{reread: true})
	if got := w.out.take(); len(got) != 0 {
		t.Errorf("reported %v although nothing was missed", got)
	}
}

// What was not taken yet of an uplink is discarded when the uplink is removed.
func TestUplinkThatIsGoneIsForgotten(t *testing.T) {
	ns, _ := wan(t)
	w := unattended(t, ns, uplink("a", "w0"), uplink("b", "w1"))
	w.setUplinks([]Uplink{uplink("b", "w1")})
	w.handle(t.Context(), w.box.take())
	got := w.out.take()
	if len(got) != 1 || got[0].Event.(failover.LinkChanged).Uplink != "b" {
		t.Errorf("reported %v, want b alone, and once", got)
	}
}

// unattended makes a watch that does nothing by itself.
func unattended(t *testing.T, ns *netns.NS, uplinks ...Uplink) (w *watch) {
	t.Helper()
	err := ns.Do(func() (err error) {
		o := Options{Uplinks: uplinks, Clock: clockFrom(time.Now()), Log: slog.New(slog.DiscardHandler)}
		w, err = openWatch(o, newOutbox(), receiveBuffer)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// After another change of the link the kernel delays the news of a lost carrier by
// up to a second, for its own routes too. When this link alone is read, it acts at
// once.
func TestRereadHastensCarrier(t *testing.T) {
	ns := netns.New(t)
	tap := addTuntap(t, ns, "tap0", netlink.TUNTAP_MODE_TAP)
	runIP(t, ns, "addr add 10.0.0.2/24 dev tap0")
	runIP(t, ns, "route add default via 10.0.0.1 dev tap0")
	o := observe(t, ns, uplink("a", "tap0"))
	const rounds = 6
	late := 0
	for range rounds {
		for _, on := range []bool{false, true} {
			setCarrier(t, tap, on)
			o.m.Reread("a")
			asked := time.Now()
			o.untilLink("a", fmt.Sprintf("carrier %v", on), func(l failover.Link) bool { return l.Carrier == on })
			if time.Since(asked) > 500*time.Millisecond {
				late++
			}
			if down := strings.Contains(runIP(t, ns, "route show default"), "linkdown"); down == on {
				t.Errorf("carrier %v is reported, but the kernel's route is linkdown: %v", on, down)
			}
		}
	}
	// This machine may pause as well, but not every time.
	if late > rounds/2 {
		t.Errorf("%d of %d changes were reported late", late, 2*rounds)
	}
}

func setCarrier(t *testing.T, tap *netlink.Tuntap, on bool) {
	t.Helper()
	value := int32(0)
	if on {
		value = 1
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, tap.Fds[0].Fd(), unix.TUNSETCARRIER, uintptr(unsafe.Pointer(&value)))
	if errno != 0 {
		t.Fatal(errno)
	}
}

// Whoever turns reverse path filtering on, on one interface or on all, has our rules
// compared at once: strict filters need some of their own.
func TestReversePathFilterIsAHint(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns, uplink("a", "w0"))
	for _, name := range []string{"w0", "all"} {
		drainAfter(o.m.Repair(), 100*time.Millisecond)
		if err := ns.SetSysctl("net/ipv4/conf/"+name+"/rp_filter", "1"); err != nil {
			t.Fatal(err)
		}
		await(t, "a hint after rp_filter of "+name, o.m.Repair())
	}
}
