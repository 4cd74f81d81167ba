package linkmon

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// What the machine has of public IPv6 beside its uplinks is told, and each change of it.
func TestLAN(t *testing.T) {
	ns, _ := wan(t)
	m := observe(t, ns, uplink("a", "w0"), uplink("b", "w1")).m
	want := func(addresses, delegated []string) {
		t.Helper()
		parsed := func(texts []string) (out []netip.Prefix) {
			for _, s := range texts {
				out = append(out, netip.MustParsePrefix(s))
			}
			return out
		}
		for l := (LAN{}); ; l = m.LAN() {
			if slices.Equal(l.Addresses, parsed(addresses)) && slices.Equal(l.Delegated, parsed(delegated)) {
				return
			}
			await(t, fmt.Sprintf("a hint of other networks than %+v", l), m.OwnChanged())
		}
	}
	run := func(all ...string) {
		t.Helper()
		for _, args := range all {
			runIP(t, ns, args)
		}
	}
	run("link set lo up", "addr add 2001:db8:1:50::1/64 dev lo", "addr add fd00:1::1/64 dev lo", "addr add 2001:db8:1:52::1/128 dev lo",
		"addr add 2001:db8:1:53::1/64 dev w0 nodad")
	want([]string{"2001:db8:1:50::1/64"}, nil)
	run("-6 route add unreachable 2001:db8:1:40::/60", "-6 route add blackhole 2001:db8:1:80::/60 proto dhcp",
		"-6 route add unreachable 2001:db8:2:40::/60 table 7", "-6 route add unreachable fd00:1::/60", "-6 route add unreachable ::/3",
		"-6 route add 2001:db8:1:90::/60 dev w0")
	want([]string{"2001:db8:1:50::1/64"}, []string{"2001:db8:1:40::/60", "2001:db8:1:80::/60"})
	run("-6 route del blackhole 2001:db8:1:80::/60", "addr del 2001:db8:1:50::1/64 dev lo")
	want(nil, []string{"2001:db8:1:40::/60"})
}

// An echo request from an address elsewhere on the machine is answered by the device that
// it left by, or counts for nothing.
func TestProve(t *testing.T) {
	ns, isps := wan(t)
	runIP(t, ns, "addr add 2001:db8:1:50::1/64 dev lo nodad")
	for i, isp := range isps {
		runIP(t, isp, "link set lo up")
		runIP(t, isp, "addr add 2001:db8:9::9/128 dev lo nodad")
		runIP(t, ns, fmt.Sprintf("-6 route add default via 2001:db8:%d::1 dev w%[1]d metric %d", i, 10+i))
	}
	runIP(t, isps[0], "-6 route add 2001:db8:1:50::/64 via 2001:db8:0::2")
	for _, c := range []struct {
		device         string
		to             []netip.Addr
		sent, answered bool
	}{
		{"w0", []netip.Addr{addr("2001:db8:9::8"), addr("2001:db8:9::9")}, true, true},
		{"w0", []netip.Addr{addr("2001:db8:9::8")}, true, false},
		{"w1", []netip.Addr{addr("2001:db8:9::9")}, true, false},
		{"none", []netip.Addr{addr("2001:db8:9::9")}, false, false},
	} {
		p := Proof{Device: c.device, Mark: 0x01000000, Source: addr("2001:db8:1:50::1"), Targets: c.to, Wait: 20 * time.Second}
		if !c.answered {
			p.Wait = 300 * time.Millisecond
		}
		var sent, answered bool
		if err := ns.Do(func() error { sent, answered = p.run(t.Context()); return nil }); err != nil {
			t.Fatal(err)
		}
		if sent != c.sent || answered != c.answered {
			t.Errorf("by %s to %v: sent %v, answered %v", c.device, c.to, sent, answered)
		}
	}
}

// A link's MTU is told, and each change of it.
func TestMTU(t *testing.T) {
	ns, _ := wan(t)
	o := observe(t, ns, uplink("a", "w0"))
	if got := o.links["a"].MTU; got != 1500 {
		t.Errorf("MTU %d", got)
	}
	runIP(t, ns, "link set w0 mtu 1428")
	o.until("1428", func() bool { return o.links["a"].MTU == 1428 })
}
