package firewall

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// The bytes of the only command that could delete every flow of the machine.
func TestDeleteByMarkBytes(t *testing.T) {
	for _, c := range []struct {
		families []failover.Family
		mark     uint32
		want     string
	}{
		// family, version 1, resource id; length 8, CTA_MARK, value; length 8, CTA_MARK_MASK, value
		{[]failover.Family{failover.IPv4}, 0x01400000, "02010000" + "08000800" + "01400000" + "08001500" + "7fff0000"},
		{[]failover.Family{failover.IPv6}, 0x02410000, "0a010000" + "08000800" + "02410000" + "08001500" + "7fff0000"},
		{failover.Families[:], 0x02410000, "00010000" + "08000800" + "02410000" + "08001500" + "7fff0000"},
	} {
		m, err := deleteByMark(c.families, c.mark, lane.DefaultLayout.CTMask)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(m.Data); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if m.Header.Type != 0x0102 || m.Header.Flags != netlink.Request|netlink.Acknowledge {
			t.Errorf("header %+v", m.Header)
		}
	}
}

func TestDeleteByMarkRefuses(t *testing.T) {
	for _, c := range []struct{ mark, mask uint32 }{
		{0, 0}, {0, 0x7fff0000}, {0x01400000, 0}, {0x01400000, 0x7f000000}, {0x81400000, 0x7fff0000},
	} {
		if m, err := deleteByMark(failover.Families[:], c.mark, c.mask); err == nil {
			t.Errorf("mark 0x%08x mask 0x%08x was encoded: %x", c.mark, c.mask, m.Data)
		}
	}
	if m, err := deleteByMark(nil, 0x01400000, lane.DefaultLayout.CTMask); err == nil {
		t.Errorf("for no family was encoded: %x", m.Data)
	}
	if _, err := deleteFlow(flow{}); err == nil {
		t.Error("an entry without a tuple would have been deleted: that is, all of them")
	}
	k := newKernel(t)
	for _, pair := range []Pair{{0, 64}, {64, 64}, {1, 0}, {1, 1}, {1, 127}} {
		_, _, err := k.EndFlows(lane.DefaultLayout, pair, failover.IPv4)
		if err == nil || k.DeleteFlows(lane.DefaultLayout, pair, failover.IPv4) == nil {
			t.Errorf("flows of uplink %d, policy %d would have been deleted", pair.Uplink, pair.Policy)
		}
	}
}

func TestRemarkFlowBytes(t *testing.T) {
	f := flow{family: failover.IPv6, tuple: []byte{4, 0, 1, 0x80}, zone: 7}
	m, err := remarkFlow(f, 0x01c00000, 0x7fff0000)
	if err != nil {
		t.Fatal(err)
	}
	want := "0a000000" + "08000180" + "04000180" + "06001200" + "00070000" + "08000800" + "01c00000" + "08001500" + "7fff0000"
	if got := hex.EncodeToString(m.Data); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if m.Header.Type != 0x0100 || m.Header.Flags&(netlink.Create|netlink.Excl) != 0 {
		t.Errorf("header %+v: it could add a new entry", m.Header)
	}
}

// entryBytes is an entry as Linux 6.18 dumps it: a masqueraded TCP connection
// from 192.168.1.10:40000 to 192.0.2.2:5000 by 203.0.113.2.
const entryBytes = "02000000" +
	"34000180" + "14000180" + "08000100c0a8010a" + "08000200c0000202" +
	"1c000280" + "0500010006000000" + "060002009c400000" + "0600030013880000" +
	"34000280" + "14000180" + "08000100c0000202" + "08000200cb007102" +
	"1c000280" + "0500010006000000" + "0600020013880000" + "060003009c400000" +
	"08000300" + "0000019e" + // seen, assured, confirmed, source NAT
	"30000480" + "2c000180" + "0500010003000000" + "0500020007000000" + "0500030007000000" + "0600040023000000" + "0600050023000000" +
	"08000800" + "01c00001" +
	"06001200" + "00090000"

func TestDecodeFlow(t *testing.T) {
	b, err := hex.DecodeString(entryBytes)
	if err != nil {
		t.Fatal(err)
	}
	f, err := decodeFlow(b)
	if err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr
	if f.family != failover.IPv4 || f.src != a("192.168.1.10") || f.dst != a("192.0.2.2") ||
		f.replySrc != a("192.0.2.2") || f.replyDst != a("203.0.113.2") {
		t.Errorf("addresses: %+v", f)
	}
	if f.protocol != unix.IPPROTO_TCP || !f.established() || !f.translated() || f.mark != 0x01c00001 || f.zone != 9 {
		t.Errorf("state: %+v", f)
	}
	if len(f.tuple) != 0x30 {
		t.Errorf("the original tuple has %d bytes", len(f.tuple))
	}
	for n := range b {
		if _, err := decodeFlow(b[:n]); err != nil && !errors.Is(err, errNoFlow) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestAdoptedLanes(t *testing.T) {
	g := twoUplinks()
	g.Uplinks = append(g.Uplinks,
		Uplink{Lane: 3, Addresses: addresses("192.168.8.100")}, Uplink{Lane: 4, Addresses: addresses("192.168.8.100")})
	a := newAdopter(g)
	for name, c := range map[string]struct {
		f    flow
		want uint32
	}{
		"udp, masqueraded":      {adoptable("192.168.1.10", "192.0.2.2", "203.0.113.2", unix.IPPROTO_UDP, 0), 0x01400000},
		"tcp, established":      {adoptable("192.168.1.10", "192.0.2.2", "198.51.100.2", unix.IPPROTO_TCP, 3), 0x02c00000},
		"tcp, half open":        {adoptable("192.168.1.10", "192.0.2.2", "198.51.100.2", unix.IPPROTO_TCP, 2), 0x02400000},
		"tcp, in time wait":     {adoptable("192.168.1.10", "192.0.2.2", "198.51.100.2", unix.IPPROTO_TCP, 7), 0x02400000},
		"the gateway's own":     {adoptable("2001:db8:1::2", "2001:db8:99::2", "2001:db8:1::2", unix.IPPROTO_UDP, 0), 0x01400000},
		"inbound":               {adoptable("192.0.2.2", "198.51.100.2", "192.0.2.2", unix.IPPROTO_TCP, 3), 0x027f0000},
		"within the LAN":        {adoptable("192.168.1.10", "192.168.1.1", "192.168.1.10", unix.IPPROTO_TCP, 3), 0},
		"not translated":        {adoptable("2001:db8:50::1", "2001:db8:99::2", "2001:db8:50::1", unix.IPPROTO_TCP, 3), 0},
		"between own addresses": {adoptable("203.0.113.2", "198.51.100.2", "203.0.113.2", unix.IPPROTO_TCP, 3), 0},
		"on a shared address":   {adoptable("192.168.1.10", "192.0.2.2", "192.168.8.100", unix.IPPROTO_UDP, 0), 0},
	} {
		change, mark := a.adopt(c.f)
		if mark != c.want || (change == markFlow) != (c.want != 0) {
			t.Errorf("%s: change %d to 0x%08x, want 0x%08x", name, change, mark, c.want)
		}
		c.f.mark = 0x02400000
		if change, _ := a.adopt(c.f); change != keepFlow {
			t.Errorf("%s: it had lanes and was changed", name)
		}
	}
}

func adoptable(src, dst, given string, protocol, tcpState byte) flow {
	f := flow{
		src: netip.MustParseAddr(src), dst: netip.MustParseAddr(dst), replySrc: netip.MustParseAddr(dst),
		replyDst: netip.MustParseAddr(given), protocol: protocol, tcpState: tcpState, mark: 0x80001234,
	}
	if !f.src.Is4() {
		f.family = failover.IPv6
	}
	return f
}

// No message, however malformed, makes the decoder panic or return a flow without
// addresses.
func FuzzConntrackDecode(f *testing.F) {
	b, _ := hex.DecodeString(entryBytes)
	f.Add(b)
	f.Add(b[:4])
	f.Fuzz(func(t *testing.T, b []byte) {
		flow, err := decodeFlow(b)
		if err != nil {
			return
		}
		if !flow.src.IsValid() || !flow.replyDst.IsValid() {
			t.Errorf("a flow without addresses: %+v", flow)
		}
	})
}

// The same for answers about sockets.
func FuzzSocketDecode(f *testing.F) {
	f.Add(make([]byte, diagAnswerSize))
	f.Add(append([]byte{unix.AF_INET6}, make([]byte, diagAnswerSize+8)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := decodeSocket(b); ok && (!s.local.IsValid() || len(s.id) != diagIDSize) {
			t.Errorf("a socket without an address: %+v", s)
		}
	})
}
