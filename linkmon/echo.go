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
)

// bing pings with pro-bing, with a pinger for each request: an outcome then has no
// sequence numbers, leaks or recycling to care for, and at the rates of this
// daemon it takes less of the processor than pingers that stay (each polls).
type bing struct {
	// raw says for IPv4 and IPv6 which sockets are tried first. Unprivileged
	// ones cost about half; net.ipv4.ping_group_range says who may have them.
	raw [2]atomic.Bool
}

func newBing() *bing {
	b := &bing{}
	b.raw[1].Store(!hasDeviceForPing6())
	return b
}

// hasDeviceForPing6 reports whether unprivileged IPv6 sockets obey the device of a
// packet's control message. Before Linux 5.18 they ignored it.
func hasDeviceForPing6() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), 5, 18)
}

// atLeast reports whether a kernel's release, such as "6.12.38+deb13-amd64", is a
// version or a later one.
func atLeast(release string, major, minor int) bool {
	var x, y int
	if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
		return false
	}
	return x > major || x == major && y >= minor
}

// ping implements pinger. Where the kind of socket that is tried first is not
// permitted, it tries the other one, and remembers when that worked.
func (b *bing) ping(ctx context.Context, r echoRequest, onSent func(), onAnswer func(netip.Addr)) error {
	first := &b.raw[0]
	if r.to.Is6() {
		first = &b.raw[1]
	}
	raw := first.Load()
	opened, err := pingOnce(ctx, r, raw, onSent, onAnswer)
	if opened || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return err
	}
	opened, second := pingOnce(ctx, r, !raw, onSent, onAnswer)
	if !opened {
		return fmt.Errorf("no socket for ICMP is permitted: %w", errors.Join(err, second))
	}
	first.Store(!raw)
	return second
}

// pingOnce runs one pinger to its end. opened says that its socket was permitted.
func pingOnce(ctx context.Context, r echoRequest, raw bool, onSent func(), onAnswer func(netip.Addr)) (opened bool, err error) {
	guard := &sendGuard{}
	p := newPinger(r, raw, guard)
	p.OnSetup = func() { opened = true }
	p.OnSend = func(*probing.Packet) { onSent() }
	p.OnRecv = func(packet *probing.Packet) {
		if from, ok := netip.AddrFromSlice(packet.IPAddr.IP); ok {
			onAnswer(from.Unmap())
		}
	}
	err = p.RunWithContext(ctx)
	if guard.refused {
		err = unix.EACCES
	}
	return opened, inWords(err, r)
}

func newPinger(r echoRequest, raw bool, guard *sendGuard) *probing.Pinger {
	p := probing.New("")
	p.SetIPAddr(&net.IPAddr{IP: r.to.AsSlice(), Zone: r.to.Zone()})
	p.SetPrivileged(raw)
	p.SetMark(uint(r.mark))
	p.SetLogger(guard)
	p.Source = r.source.String()
	p.InterfaceName = r.device
	p.Count = 1
	p.Timeout = r.wait
	p.Interval = r.wait + time.Second // there is no second packet
	p.RecordRtts, p.RecordTTLs = false, false
	return p
}

// inWords keeps of an error what a person wants to know.
func inWords(err error, r echoRequest) error {
	var number syscall.Errno
	switch {
	case err == nil || !errors.As(err, &number):
		return err
	case number == unix.EADDRNOTAVAIL:
		return fmt.Errorf("the address %s is gone: %w", r.source, number)
	case number == unix.ENODEV || number == unix.ENXIO:
		return fmt.Errorf("the interface %s is gone: %w", r.device, number)
	}
	return fmt.Errorf("send to %s: %w", r.to, number)
}

// sendGuard is a pinger's logger, and says nothing. pro-bing takes EACCES for the
// sign of a broadcast address, logs that, and sends again, for ever where a route
// or rule of type prohibit is the reason. The only way out of its loop is to end
// its goroutine from here; its deferred functions then clean up as always.
type sendGuard struct {
	probing.NoopLogger
	refused bool
}

// Infof is called where pro-bing is about to send again.
func (g *sendGuard) Infof(string, ...any) {
	g.refused = true
	runtime.Goexit()
}
