package vm

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

func TestTag(t *testing.T) {
	frame := []byte("\x01\x02\x03\x04\x05\x06\x11\x12\x13\x14\x15\x16\x08\x00data")
	buf := append(make([]byte, tagLen), frame...)
	n := tag(buf, 35)
	want := []byte("\x01\x02\x03\x04\x05\x06\x11\x12\x13\x14\x15\x16\x81\x00\x00\x23\x08\x00data")
	if !bytes.Equal(buf[:n], want) {
		t.Errorf("tagged: %q, want %q", buf[:n], want)
	}
	if got := untag(bytes.Clone(want), 35); !bytes.Equal(got, frame) {
		t.Errorf("without its tag: %q, want %q", got, frame)
	}
	if got := untag(bytes.Clone(want), 36); got != nil {
		t.Errorf("of another VLAN: %q, want none", got)
	}
	if got := untag(bytes.Clone(frame), 35); got != nil {
		t.Errorf("without a tag: %q, want none", got)
	}
}

// The customer of a session may have his address, and nothing else.
func TestSessionAddress(t *testing.T) {
	c := &Concentrator{line: Line{Customer: netip.MustParseAddr("203.0.113.2")}}
	for asked, want := range map[string]string{
		"\x03\x06\x00\x00\x00\x00":                         "\x03\x03\x06\xcb\x00\x71\x02",
		"\x03\x06\xcb\x00\x71\x02":                         "\x02\x03\x06\xcb\x00\x71\x02",
		"\x02\x06\x00\x2d\x0f\x01\x03\x06\x00\x00\x00\x00": "\x04\x02\x06\x00\x2d\x0f\x01",
		"":         "\x03\x03\x06\xcb\x00\x71\x02",
		"\x03\x00": "\x03\x03\x06\xcb\x00\x71\x02",
	} {
		code, options := c.judge([]byte(asked))
		if got := string(append([]byte{code}, options...)); got != want {
			t.Errorf("to %q: %q, want %q", asked, got, want)
		}
	}
}

// What a customer agreed to is not asked for again: that would begin it all anew.
func TestSessionIsAgreed(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	link := os.NewFile(uintptr(pair[0]), "link")
	defer link.Close()
	defer unix.Close(pair[1])
	c := &Concentrator{mac: make([]byte, 6), agreed: map[uint16]bool{}}
	if c.raw, err = link.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	// sent are the codes of what was sent since, of discovery or LCP.
	sent := func() (codes []byte) {
		for buf := make([]byte, maxFrame); ; {
			n, err := unix.Read(pair[1], buf)
			if err != nil || n <= pppAt {
				return codes
			}
			code := buf[pppoeAt+1]
			if code == 0 {
				code = buf[pppAt+2]
			}
			codes = append(codes, code)
		}
	}
	request := make([]byte, pppAt)
	request[pppoeAt+1] = padr
	for _, session := range []uint16{1, 2} {
		c.discover(request, []byte("\x01\x03\x00\x02ab"))
		if got := sent(); !bytes.Equal(got, []byte{pads}) || c.session != session {
			t.Errorf("session %d: sent %v, want PADS of session %d", c.session, got, session)
		}
		for _, step := range []struct {
			code byte
			want []byte
		}{
			{confRequest, []byte{confAck, confRequest}},
			{confRequest, []byte{confAck, confRequest}},
			{confAck, nil},
			{confRequest, []byte{confAck}},
			{echoRequest, []byte{echoReply}},
		} {
			c.receive(protoLCP, []byte{step.code, 7, 0, 4})
			if got := sent(); !bytes.Equal(got, step.want) {
				t.Errorf("session %d: to code %d: sent %v, want %v", session, step.code, got, step.want)
			}
		}
	}
}

// TestVLAN plays an uplink that is a VLAN on its card.
func TestVLAN(t *testing.T) {
	onNewest(t, setting{lab: lab.Options{NoIPv6: true}, vlan: 35}, func(t *testing.T, s *site) {
		s.run(`cd /etc/systemd/network
printf '[NetDev]\nName=wan0.35\nKind=vlan\n[VLAN]\nId=35\n' >20-vlan.netdev
printf '[Match]\nName=wan0\n[Network]\nVLAN=wan0.35\nLinkLocalAddressing=no\n' >20-wan0.network
for n in wan0.35:100 wan1:200; do
	printf "[Match]\nName=${n%:*}\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n[DHCPv4]\nRouteMetric=${n#*:}\n" >30-${n%:*}.network
done
systemctl enable --now systemd-networkd`)
		s.await("both uplinks to be leased", func() bool { return s.providers[0].Acks() > 0 && s.providers[1].Acks() > 0 })
		s.install()
		c := s.follow()
		s.by(c, lab.Fiber)
		if out := s.run("swerve status"); !strings.Contains(out, "wan0.35") {
			t.Errorf("the VLAN is no uplink:\n%s", out)
		}
		t.Run("renewals", func(t *testing.T) { s.in(t).renewedUnnoticed(c) })
		t.Run("black-hole", func(t *testing.T) { s.in(t).fault(c, "black-hole") })
		t.Run("carrier", func(t *testing.T) { s.in(t).carrier(c) })
		t.Run("reboot", func(t *testing.T) { s.in(t).reboot(c) })
	})
}

// TestPPPoE plays an uplink that is a session of pppd, as pppoeconf sets it up beside
// another uplink.
func TestPPPoE(t *testing.T) {
	onNewest(t, setting{lab: lab.Options{NoIPv6: true}, kernel: FullKernel}, func(t *testing.T, s *site) {
		up := s.lab.Uplinks[lab.Fiber]
		ac, err := Concentrate(s.lab.ISP[lab.Fiber], "cust", Line{Customer: up.Address4, Router: up.Router4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(ac.Close)
		s.run(fmt.Sprintf(`printf '[Match]\nName=wan1\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n[DHCPv4]\nRouteMetric=%d\n' >/etc/systemd/network/20-wan1.network
printf 'auto lo dsl\niface lo inet loopback\niface dsl inet ppp\n pre-up ip link set wan0 up\n provider dsl\n' >/etc/network/interfaces
printf 'plugin pppoe.so wan0\nuser customer\nnoauth\nnoipdefault\ndefaultroute\ndefaultroute-metric 50\npersist\nmaxfail 0\nholdoff 1\nmtu 1492\n`+
			`lcp-echo-interval 2\nlcp-echo-failure 5\nhide-password\nnoaccomp\nnoproxyarp\n' >/etc/ppp/peers/dsl
systemctl enable --now systemd-networkd && systemctl enable networking && `+ifup+` -a`, s.lab.Uplinks[lab.LTE].Metric4))
		s.await("the lease and the session", func() bool { return s.providers[lab.LTE].Acks() > 0 && ac.Sessions() > 0 })
		s.install()
		c := s.follow()
		s.by(c, lab.Fiber)
		if out := s.run("swerve status"); !strings.Contains(out, "ppp0") {
			t.Errorf("the session is no uplink:\n%s", out)
		}
		t.Run("black-hole", func(t *testing.T) {
			s := s.in(t)
			begin := time.Now()
			ac.SetBlackHole(true)
			s.by(c, lab.LTE)
			t.Logf("black-hole: %v", c.Measure(begin, time.Now()))
			ac.SetBlackHole(false)
			s.by(c, lab.Fiber)
			s.settled()
		})
		t.Run("terminated", func(t *testing.T) { s.in(t).terminated(c, ac) })
		t.Run("carrier", func(t *testing.T) { s.in(t).carrier(c) })
		t.Run("reboot", func(t *testing.T) { s.in(t).reboot(c) })
	})
}

// terminated has the server end the session and refuse new ones for a while: the device
// goes, and comes back as another one.
func (s *site) terminated(c *traffic.Client, ac *Concentrator) {
	begin, sessions, before := time.Now(), ac.Sessions(), s.run("cat /sys/class/net/ppp0/ifindex")
	ac.Terminate()
	s.by(c, lab.LTE)
	s.t.Logf("terminated: %v", c.Measure(begin, time.Now()))
	s.await("the device to go, or to be down", func() bool {
		return strings.TrimSpace(s.try("ip -o address show dev ppp0 up")) == "" ||
			strings.Contains(s.try("ip -o link show dev ppp0"), "does not exist")
	})
	ac.Accept()
	s.by(c, lab.Fiber)
	s.settled()
	s.t.Logf("session %d after %d, device %s after %s", ac.Sessions(), sessions, strings.TrimSpace(s.run("cat /sys/class/net/ppp0/ifindex")), strings.TrimSpace(before))
}
