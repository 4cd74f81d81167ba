package daemon

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
)

// tproxied listens as a transparent proxy does, and returns a function that sends a
// packet from beyond wan0 and reports whether the proxy received it.
func (g *gateway) tproxied() (reached func() bool) {
	g.t.Helper()
	var proxy net.PacketConn
	transparent := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) }); failed != nil {
			return failed
		}
		return err
	}}
	g.must(g.ns.Do(func() (err error) {
		proxy, err = transparent.ListenPacket(context.Background(), "udp4", "127.0.0.1:9000")
		return err
	}))
	g.t.Cleanup(func() { proxy.Close() })
	var client net.Conn
	g.must(g.isp.Do(func() (err error) {
		client, err = net.Dial("udp4", "203.0.113.2:7000")
		return err
	}))
	g.t.Cleanup(func() { client.Close() })
	return func() bool {
		_, _ = client.Write([]byte("a request")) // an ICMP error to the packet before may be its error
		g.must(proxy.SetReadDeadline(time.Now().Add(300 * time.Millisecond)))
		_, _, err := proxy.ReadFrom(make([]byte, 100))
		return err == nil
	}
}

// What comes in by an uplink for a transparent proxy reaches it, whether the proxy was
// there before the daemon or comes later; without it the reverse path depends on marks
// as ever.
func TestTransparentProxy(t *testing.T) {
	const (
		install = `ip rule add pref 50 fwmark 1/1 lookup 99; ip route add local 0.0.0.0/0 dev lo table 99
nft add table ip proxy; nft add chain ip proxy p '{ type filter hook prerouting priority mangle; }'
nft add rule ip proxy p iifname '{wan0, wan1}' ip protocol udp udp dport 7000 tproxy to 127.0.0.1:9000 meta mark set meta mark \| 1 accept`
		remove = "ip rule del pref 50; ip route flush table 99; nft delete table ip proxy"
	)
	for name, first := range map[string]bool{"before the daemon": true, "after its start": false} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.sh("ip link set lo up")
			reached := g.tproxied()
			if first {
				g.sh(install)
				if !reached() {
					t.Fatal("the proxy is not reached on this kernel without a daemon")
				}
			}
			p := g.run()
			if !first {
				g.sh(install)
			}
			p.await("the proxy is reached", func(*control.Status) bool { return reached() })
			validMark := func() string { return strings.TrimSpace(g.sh("sysctl -n net.ipv4.conf.wan0.src_valid_mark")) }
			if v := validMark(); v != "0" {
				t.Errorf("src_valid_mark is %s", v)
			}
			g.sh("sysctl -q net.ipv4.conf.wan0.rp_filter=1")
			g.must(p.cmd.Process.Signal(syscall.SIGHUP))
			g.sh("ip rule add pref 60 fwmark 2/2 lookup 98") // has the kernel compared
			p.await("strict filtering is told", func(s *control.Status) bool {
				told := problemOf(s, "sysctl", "sysctl")
				return told != nil && strings.Contains(told.Text, "net/ipv4/conf/wan0/rp_filter=2")
			})
			if !reached() {
				t.Error("the proxy is not reached with strict filtering")
			}
			g.sh("sysctl -q net.ipv4.conf.wan0.rp_filter=0; " + remove)
			p.await("the reverse path depends on marks", func(*control.Status) bool { return validMark() == "1" })
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		})
	}
}
