package linkmon

import (
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"

	"swerve/testenv/netns"
)

// decoders are all decoders, for the fuzzer: none may panic on any input.
var decoders = []func([]byte){
	func(b []byte) { decodeDevice(b) },
	func(b []byte) { decodeAddress(b) },
	func(b []byte) { decodeRouteHead(b) },
	func(b []byte) { decodeDefault(b) },
	func(b []byte) { decodeNeighbor(b) },
	func(b []byte) { decodeNexthop(b) },
	func(b []byte) { decodeForeignDefault(b) },
	func(b []byte) { decodeChoice(b, 7) },
	func(b []byte) {
		if h, ok := decodeRouteHead(b); ok && h.isNarrow() {
			decodeNarrow(b)
		}
	},
}

func FuzzDecode(f *testing.F) {
	f.Add(linkMessage(0, 7, unix.IFF_UP))
	f.Add(routeMessage(unix.AF_INET6, 0, 9, unix.RT_TABLE_MAIN))
	f.Add(neighborMessage(unix.NUD_FAILED, 7, "fe80::1"))
	f.Add(ruleMessage(83))
	hops := append([]byte{16, 0, 0, 0, 7, 0, 0, 0}, 8, 0, 5, 0, 10, 0, 0, 1)
	f.Add(appendAttribute(routeMessage(unix.AF_INET, 0, 4, unix.RT_TABLE_MAIN), unix.RTA_MULTIPATH, hops))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, decode := range decoders {
			decode(b)
		}
		h := newHints()
		for _, kind := range []uint16{unix.RTM_NEWLINK, unix.RTM_NEWADDR, unix.RTM_NEWROUTE, unix.RTM_NEWRULE, unix.RTM_NEWNEIGH} {
			h.add(kind, b, 1)
		}
		if len(h.purged) > 1 || len(h.failed) > 1 {
			t.Errorf("one message made %d purged and %d failed", len(h.purged), len(h.failed))
		}
	})
}

// Truncated messages are rejected, and truncated attributes yield no value.
func TestDecodeShort(t *testing.T) {
	whole := appendAttribute(routeMessage(unix.AF_INET, 0, 4, unix.RT_TABLE_MAIN), unix.RTA_OIF, []byte{7, 0})
	if r, ok := decodeDefault(whole); !ok || len(r.hops) != 0 {
		t.Errorf("an attribute that is too short became %+v", r)
	}
	for n := range unix.SizeofRtMsg {
		if _, ok := decodeDefault(whole[:n]); ok {
			t.Errorf("%d bytes are a route", n)
		}
		if _, ok := decodeDevice(whole[:n]); ok {
			t.Errorf("%d bytes are a device", n)
		}
	}
	if _, ok := decodeAddress(make([]byte, unix.SizeofIfAddrmsg)); ok {
		t.Error("an address without the address is one")
	}
	if _, ok := decodeNeighbor(neighborMessage(0, 7, "10.0.0.1")[:unix.SizeofNdMsg]); ok {
		t.Error("a neighbour without an address is one")
	}
}

// The kernel's messages decode to what ip(8) was given.
func TestDecodeWhatTheKernelSays(t *testing.T) {
	ns, _ := wan(t)
	for _, command := range []string{
		"link add base type veth peer p0",
		"link add link base name sub address 02:00:00:00:00:99 type macvlan",
		"link property add dev sub altname one altname two",
		"link set sub up",
		"addr add 192.0.2.2 peer 192.0.2.1/30 dev base",
		"-6 addr add 2001:db8:7::7/48 dev base preferred_lft 0 valid_lft 1000 nodad",
		"route add default proto static metric 7 src 10.0.0.2 nexthop via 10.0.0.1 dev w0 nexthop via inet6 fe80::1 dev w1",
		"-6 route add default via fe80::2 dev w0 proto ra metric 9 pref high",
	} {
		runIP(t, ns, command)
	}
	s := readState(t, ns)
	find := func(name string) device {
		d, ok := Uplink{Interface: name}.find(s.devices, device{})
		if !ok {
			t.Fatalf("no device %s in %+v", name, s.devices)
		}
		return d
	}
	base, sub, w0, w1 := find("base"), find("two"), find("w0"), find("w1")
	if sub.name != "sub" || sub.mac != "\x02\x00\x00\x00\x00\x99" || sub.parent != base.index || !sub.adminUp() || base.adminUp() ||
		!reflect.DeepEqual(sub.altNames, []string{"one", "two"}) {
		t.Errorf("devices %+v and %+v", sub, base)
	}
	wantAddress := []address{
		{base.index, prefix("192.0.2.2/32"), unix.RT_SCOPE_UNIVERSE, unix.IFA_F_PERMANENT},
		{base.index, prefix("2001:db8:7::7/48"), unix.RT_SCOPE_UNIVERSE, unix.IFA_F_DEPRECATED | unix.IFA_F_NODAD},
	}
	var got []address
	for _, a := range s.addresses {
		if a.index == base.index {
			got = append(got, a)
		}
	}
	if !reflect.DeepEqual(got, wantAddress) {
		t.Errorf("addresses %+v, want %+v", got, wantAddress)
	}
	wantDefaults := []route{
		{table: 254, protocol: unix.RTPROT_STATIC, kind: unix.RTN_UNICAST, metric: 7, shape: failover.Shape{Source: addr("10.0.0.2")},
			hops: []hop{onto(w0.index, "10.0.0.1"), onto(w1.index, "fe80::1")}},
		{ipv6: true, table: 254, protocol: unix.RTPROT_RA, kind: unix.RTN_UNICAST, metric: 9, preference: 1,
			hops: []hop{onto(w0.index, "fe80::2")}},
	}
	if !reflect.DeepEqual(s.defaults, wantDefaults) {
		t.Errorf("defaults %+v, want %+v", s.defaults, wantDefaults)
	}
}

func readState(t *testing.T, ns *netns.NS) (s state) {
	t.Helper()
	err := ns.Do(func() error {
		k, err := openKernel()
		if err != nil {
			return err
		}
		defer k.close()
		if s, err = k.read(); err == nil {
			s.mainRoutes, err = k.routes()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
