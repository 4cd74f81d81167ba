package routing

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// captured returns messages of a real kernel with routes and rules of all kinds.
func captured(t testing.TB) (routes, rules [][]byte) {
	l := newLab(t)
	l.goal.Policies[0].Family = both(Ladder{Rungs: []Rung{{{1, 3}, {2, 1}}}, Block: true})
	l.apply(Desired(l.goal))
	l.sh("ip -4 route add default via inet6 fe80::1 dev wan0 metric 7; ip -4 rule add pref 9 iif lo ipproto tcp dport 1-9 goto 5300 protocol 83")
	for _, f := range failover.Families {
		req := &nl.RtMsg{RtMsg: unix.RtMsg{Family: afOf(f)}}
		collect := func(into *[][]byte) func([]byte) error {
			return func(b []byte) error { *into = append(*into, b); return nil }
		}
		l.must(l.kernel.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, req, func() {}, collect(&routes)))
		l.must(l.kernel.dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, req, func() {}, collect(&rules)))
	}
	return routes, rules
}

// A message that is truncated anywhere is an error or another message, never a panic;
// so is one with a wrong length in it.
func TestDecodeBrokenMessages(t *testing.T) {
	routes, rules := captured(t)
	refused := 0
	try := func(b []byte) {
		for _, err := range decodeAll(b) {
			if err != nil && !errors.Is(err, errMalformed) {
				t.Errorf("%x: %v", b, err)
			}
			if err != nil {
				refused++
			}
		}
	}
	for _, b := range append(routes, rules...) {
		for n := range b {
			try(b[:n])
			broken := append([]byte(nil), b...)
			for _, v := range []byte{0, 1, 3, 5, 0xff} {
				broken[n] = v
				try(broken)
			}
		}
	}
	if refused == 0 {
		t.Error("none was refused")
	}
}

// decodeAll returns the errors of all decoders, which read what any program may have
// put into the kernel.
func decodeAll(b []byte) (errs [5]error) {
	_, _, errs[0] = decodeRoute(b)
	_, _, errs[1] = decodeRule(b)
	_, _, errs[2] = decodeForeignRule(b, lane.DefaultLayout)
	_, _, errs[3] = decodeOtherRule(b)
	_, errs[4] = decodeNexthop(b)
	return errs
}

func TestDecodeRefuses(t *testing.T) {
	attr := func(kind uint16, value ...byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
		return append(binary.NativeEndian.AppendUint16(b, kind), value...)
	}
	head := []byte{unix.AF_INET, 33, 33, 0, 0, lane.Protocol, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	for name, b := range map[string][]byte{
		"no header":           {unix.AF_INET},
		"attribute too long":  append(head, 99, 0, 1, 0),
		"attribute too short": append(head, 3, 0, 1, 0),
		"metric of one byte":  append(head, attr(unix.RTA_PRIORITY, 1)...),
		"address of 5 bytes":  append(head, attr(unix.RTA_GATEWAY, 1, 2, 3, 4, 5)...),
		"prefix of 33":        append(head, attr(unix.RTA_DST, 1, 2, 3, 4)...),
		"via without address": append(head, attr(unix.RTA_VIA, 1)...),
		"hop cut short":       append(head, attr(unix.RTA_MULTIPATH, 8, 0, 0)...),
		"hop too long":        append(head, attr(unix.RTA_MULTIPATH, 9, 0, 0, 0, 1, 0, 0, 0)...),
	} {
		if _, _, err := decodeRoute(b); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, want malformed", name, err)
		}
	}
	if _, _, err := decodeRule(append(head, attr(nl.FRA_PROTOCOL)...)); !errors.Is(err, errMalformed) {
		t.Errorf("rule with an empty protocol: %v, want malformed", err)
	}
	if _, ok, err := decodeRoute(append([]byte{unix.AF_MPLS}, head[1:]...)); ok || err != nil {
		t.Errorf("route of MPLS: accepted %v, %v; want neither", ok, err)
	}
	cached := append([]byte(nil), head...)
	binary.NativeEndian.PutUint32(cached[8:], unix.RTM_F_CLONED)
	if _, ok, err := decodeRoute(cached); ok || err != nil {
		t.Errorf("entry of a cache: accepted %v, %v; want neither", ok, err)
	}
}

func FuzzDecode(f *testing.F) {
	routes, rules := captured(f)
	for _, b := range append(routes, rules...) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, err := range decodeAll(b) {
			if err != nil && !errors.Is(err, errMalformed) {
				t.Errorf("decoder %d: %v, want malformed", i, err)
			}
		}
	})
}
