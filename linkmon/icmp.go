package linkmon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	probing "github.com/prometheus-community/pro-bing"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

// icmp probes by echo requests (RFC 792, RFC 4443), with a pro-bing pinger for each:
// a probe then has no sequence numbers to match and leaves nothing behind, and at
// this daemon's rates it takes less processor time than pingers that stay, since
// each of those polls.
type icmp struct {
	clock   func() failover.Instant
	chooser *chooser // nil if every probe states its source
	// raw says for IPv4 and IPv6 which sockets are tried first. Unprivileged
	// ones cost about half; net.ipv4.ping_group_range says who may have them.
	raw [2]atomic.Bool
}

func newICMP(clock func() failover.Instant, c *chooser) *icmp {
	m := &icmp{clock: clock, chooser: c}
	m.raw[failover.IPv6].Store(!hasDeviceForPing6())
	return m
}

// hasDeviceForPing6 reports whether unprivileged IPv6 sockets honor the device in a
// packet's control message. Before Linux 5.18 they ignored it.
func hasDeviceForPing6() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), 5, 18)
}

// atLeast reports whether a kernel release such as "6.12.38+deb13-amd64" is the
// version major.minor or a later one.
func atLeast(release string, major, minor int) bool {
	var x, y int
	if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
		return false
	}
	return x > major || x == major && y >= minor
}

// probe is a [method]. Where the kind of socket that is tried first is not
// permitted, it tries the other one, and remembers when that worked.
func (m *icmp) probe(ctx context.Context, r request, report func(outcome)) {
	first := &m.raw[failover.FamilyOf(r.to)]
	if err := m.chooser.unrouted(r); err != nil {
		report(outcome{kind: probeRefused, at: m.clock(), cause: err})
		return
	}
	r.unbound = m.chooser.fits(r)
	// Unprivileged IPv6 sockets do not tell that a packet filter dropped what they sent.
	raw := first.Load() || r.certain && r.to.Is6()
	opened, err := m.ping(ctx, r, raw, report)
	if !opened && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		var second error
		if opened, second = m.ping(ctx, r, !raw, report); opened {
			first.Store(!raw)
			err = second
		} else {
			err = fmt.Errorf("no socket for ICMP is permitted: %w", errors.Join(err, second))
		}
	}
	if err != nil {
		report(outcome{kind: probeRefused, at: m.clock(), cause: err})
	}
}

// ping runs one pinger to its end. opened says that its socket was permitted.
func (m *icmp) ping(ctx context.Context, r request, raw bool, report func(outcome)) (opened bool, err error) {
	guard := &sendGuard{}
	p := newPinger(r, raw, guard)
	p.OnSetup = func() { opened = true }
	p.OnSend = func(*probing.Packet) { report(outcome{kind: probeSent, at: m.clock()}) }
	p.OnRecv = func(packet *probing.Packet) {
		at := m.clock()
		if from, ok := netip.AddrFromSlice(packet.IPAddr.IP); ok {
			report(outcome{kind: probeAnswered, at: at, by: from.Unmap()})
		}
	}
	err = p.RunWithContext(ctx)
	if guard.refused {
		err = unix.EACCES
	}
	return opened, sendError(err, r)
}

func newPinger(r request, raw bool, guard *sendGuard) *probing.Pinger {
	p := probing.New("")
	p.SetIPAddr(&net.IPAddr{IP: r.to.AsSlice(), Zone: r.to.Zone()})
	p.SetPrivileged(raw)
	p.SetMark(uint(r.mark))
	p.SetLogger(guard)
	if !r.unbound {
		p.Source = r.source.String()
	}
	p.InterfaceName = r.device
	p.Count = 1
	p.Timeout = r.wait
	p.Interval = r.wait + time.Second // there is no second packet
	p.RecordRtts, p.RecordTTLs = false, false
	return p
}

// sendError words an error of pro-bing's that the kernel caused. It leaves out how
// pro-bing came upon it.
func sendError(err error, r request) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	switch {
	case !ok:
		return err
	case errno == unix.EADDRNOTAVAIL:
		return fmt.Errorf("the address %s is gone: %w", r.source, errno)
	case errno == unix.ENODEV || errno == unix.ENXIO:
		return fmt.Errorf("the interface %s is gone: %w", r.device, errno)
	}
	return fmt.Errorf("send to %s: %w", r.to, errno)
}

// sendGuard is a pinger's logger that logs nothing. pro-bing takes EACCES as the
// sign of a broadcast address, logs that, and sends again, forever if the reason is
// a route or rule of type prohibit. The only way out of its loop is to end its
// goroutine from here; its deferred functions clean up as always.
type sendGuard struct {
	probing.NoopLogger
	refused bool
}

// Infof is called where pro-bing is about to send again.
func (g *sendGuard) Infof(string, ...any) {
	g.refused = true
	runtime.Goexit()
}
