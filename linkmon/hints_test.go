package linkmon

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel's messages, as far as hints decode them.

func linkMessage(family uint8, index int, flags uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	return b
}

func routeMessage(family, length, protocol uint8, table uint32) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[5], b[7] = family, length, unix.RT_TABLE_UNSPEC, protocol, unix.RTN_UNICAST
	return appendNumber(b, unix.RTA_TABLE, table)
}

func addressMessage(index int, ip string) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = unix.AF_INET, 24
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return appendAttribute(b, unix.IFA_LOCAL, addr(ip).AsSlice())
}

func ruleMessage(protocol uint8) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0] = unix.AF_INET
	return appendAttribute(b, unix.FRA_PROTOCOL, []byte{protocol})
}

func neighborMessage(state uint16, index int, ip string) []byte {
	b := neighborRequest(index, addr(ip))
	binary.NativeEndian.PutUint16(b[8:], state)
	return b
}

func TestHints(t *testing.T) {
	const running = unix.IFF_UP | unix.IFF_LOWER_UP
	const main, other, own = unix.RT_TABLE_MAIN, 100, 5301
	local := routeMessage(unix.AF_INET, 0, 3, other)
	local[7] = unix.RTN_LOCAL
	for _, tc := range []struct {
		name           string
		kind           uint16
		body           []byte
		reread, repair bool
		purged, failed int
	}{
		{"link", unix.RTM_NEWLINK, linkMessage(0, 7, running), true, false, 0, 0},
		{"link without signal", unix.RTM_NEWLINK, linkMessage(0, 7, unix.IFF_UP), true, false, 0, 0},
		{"link off", unix.RTM_NEWLINK, linkMessage(0, 7, 0), true, true, 1, 0},
		{"link gone", unix.RTM_DELLINK, linkMessage(0, 7, running), true, true, 1, 0},
		{"a bridge's message about a port", unix.RTM_DELLINK, linkMessage(unix.AF_BRIDGE, 7, 0), false, false, 0, 0},
		{"address", unix.RTM_NEWADDR, nil, true, false, 0, 0},
		{"address gone", unix.RTM_DELADDR, nil, true, true, 0, 0},
		{"address of 10.0.0.2 gone", unix.RTM_DELADDR, addressMessage(7, "10.0.0.2"), true, true, 1, 0},
		{"foreign default", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET, 0, 16, main), true, true, 0, 0},
		{"foreign default gone", unix.RTM_DELROUTE, routeMessage(unix.AF_INET6, 0, 9, main), true, true, 0, 0},
		{"foreign default elsewhere", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET, 0, 16, other), false, false, 0, 0},
		{"a transparent proxy's", unix.RTM_NEWROUTE, local, false, true, 0, 0},
		{"foreign default in a table of ours", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET, 0, 4, own), false, true, 0, 0},
		{"foreign route", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET, 24, 2, main), false, false, 0, 0},
		{"half of a VPN's default", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET6, 1, 3, main), false, true, 0, 0},
		{"a half elsewhere", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET, 1, 3, other), false, false, 0, 0},
		{"a host route of DHCP", unix.RTM_DELROUTE, routeMessage(unix.AF_INET, 32, 16, main), false, true, 0, 0},
		{"a host route of an RA", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET6, 128, 9, main), false, true, 0, 0},
		{"a host route of a person", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET, 32, 4, main), false, false, 0, 0},
		{"our route", unix.RTM_DELROUTE, routeMessage(unix.AF_INET, 0, 83, own), false, true, 0, 0},
		{"our route in main", unix.RTM_NEWROUTE, routeMessage(unix.AF_INET, 0, 83, main), false, true, 0, 0},
		{"another family's route", unix.RTM_NEWROUTE, routeMessage(unix.AF_MPLS, 0, 83, main), false, false, 0, 0},
		{"nexthop", unix.RTM_DELNEXTHOP, nil, true, false, 0, 0},
		{"our rule", unix.RTM_DELRULE, ruleMessage(83), false, true, 0, 0},
		{"foreign rule", unix.RTM_NEWRULE, ruleMessage(3), false, true, 0, 0},
		{"neighbour failed", unix.RTM_NEWNEIGH, neighborMessage(unix.NUD_FAILED, 7, "10.0.0.1"), false, false, 0, 1},
		{"neighbour found", unix.RTM_NEWNEIGH, neighborMessage(unix.NUD_REACHABLE, 7, "fe80::1"), false, false, 0, 0},
		{"unknown", 9999, []byte{1}, false, false, 0, 0},
		{"short", unix.RTM_NEWROUTE, []byte{2}, false, false, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHints()
			h.add(tc.kind, tc.body, 5)
			if h.reread != tc.reread || h.repair != tc.repair || len(h.purged) != tc.purged || len(h.failed) != tc.failed || h.missed {
				t.Errorf("got %+v", h)
			}
			if h.reread && h.at != 5 {
				t.Errorf("at %v, want the message's instant", h.at)
			}
		})
	}
}

func TestHintsKeepTheFirstInstant(t *testing.T) {
	h := newHints()
	h.add(unix.RTM_NEWADDR, nil, 5)
	h.add(unix.RTM_NEWADDR, nil, 9)
	if h.at != 5 {
		t.Errorf("at %v, want 5", h.at)
	}
}

func TestHintsAreBounded(t *testing.T) {
	h := newHints()
	for i := range 3 * hintLimit {
		h.add(unix.RTM_NEWLINK, linkMessage(0, i+1, 0), 5)
		h.add(unix.RTM_NEWNEIGH, neighborMessage(unix.NUD_FAILED, 7, fmt.Sprintf("10.0.%d.%d", i/256, i%256)), 5)
	}
	if len(h.purged) != hintLimit || len(h.failed) != hintLimit || !h.missed {
		t.Errorf("%d purged, %d failed, missed %v; want %d of each, and that some were missed", len(h.purged), len(h.failed), h.missed, hintLimit)
	}
}

func TestMailbox(t *testing.T) {
	b := newMailbox()
	b.note(func(h *hints) { h.purged[7] = true }) // nothing to do for that alone
	if drain(b.wake) {
		t.Error("woken without a reason")
	}
	b.note(func(h *hints) { h.requestRead(5) })
	if !drain(b.wake) {
		t.Error("not woken")
	}
	if h := b.take(); !h.reread || !h.purged[7] {
		t.Errorf("took %+v", h)
	}
	if h := b.take(); !h.empty() || len(h.purged) != 0 {
		t.Errorf("took twice: %+v", h)
	}
}

func TestPace(t *testing.T) {
	p := pace{interval: 5 * time.Millisecond, burst: 3}
	at := time.Hour
	for i, want := range []time.Duration{0, 0, 0, 5, 10} {
		if got := p.wait(at); got != want*time.Millisecond {
			t.Errorf("wait %d: %v, want %dms", i, got, want)
		}
	}
	if got := p.wait(at + 25*time.Millisecond); got != 0 {
		t.Errorf("after the allowance came back: wait %v", got)
	}
	if got := p.wait(at + time.Hour); got != 0 {
		t.Errorf("after a long rest: wait %v", got)
	}
}
