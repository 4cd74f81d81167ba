package linkmon

import (
	"context"
	"net/netip"
	"time"

	"swerve/failover"
	"swerve/target"
)

// method is one way to probe: it sends one request, waits for the answer for the
// time that the request states or until ctx ends, and returns.
//
// Each outcome is reported at the moment it happens, one at a time and never after
// the method has returned: either a probeRefused, or a probeSent and then each
// answer, or a probeFailed in its place. A probeRefused after a probeSent is ignored.
// Outcomes are not returned, because the engine needs to know of the sending before
// there is an answer, and because a method may need time to clean up after one
// (pro-bing up to 0.1 s).
type method func(ctx context.Context, r request, report func(outcome))

// newMethods returns the table of methods, which has all of package target. A new one
// needs a file of its own and a line here.
func newMethods(clock func() failover.Instant, c *chooser) map[target.Method]method {
	echo, sockets := newICMP(clock, c), opener{clock, c, newTracking()}
	pages := web{opener: sockets}
	return map[target.Method]method{
		target.ICMP:    echo.probe,
		target.Gateway: echo.probe,
		target.TCP:     tcp{sockets}.probe,
		target.HTTP:    pages.probe,
		target.HTTPS:   pages.probe,
		target.DNS:     dns{sockets}.probe,
	}
}

// request describes the probe that a method is to send.
type request struct {
	target target.Target
	// to is the address to probe: the target's, or the gateway. It has a zone if it
	// is link-local.
	to netip.Addr
	// source is the uplink's address, device its interface and mark the packet mark
	// by which its own table routes the request. All three must be set on the
	// packets sent: the device alone is only a hint to the kernel. For IPv6 a socket
	// that is not bound to the device must leave the source to the kernel where that
	// is unbound.
	source netip.Addr
	device string
	// via is the gateway by which a request by IPv4 should go; invalid where it needs none.
	via     netip.Addr
	mark    uint32
	unbound bool
	// index is the number of the device, 0 if unknown; sources are all addresses of
	// the uplink, of which source is the best.
	index   int
	sources []netip.Prefix
	// wait is how long to wait for an answer.
	wait time.Duration
	// certain requests a way of sending that reliably reports whether the kernel
	// has sent the request: an earlier one has no answer so far.
	certain bool
}

// outcome is one result of a probe.
type outcome struct {
	kind outcomeKind
	at   failover.Instant
	// by is the address that answered.
	by netip.Addr
	// cause is the reason why nothing was sent. It wraps the [syscall.Errno] if the
	// kernel returned one.
	cause error
	// fault is what came in place of an answer.
	fault failover.Fault
}

type outcomeKind uint8

const (
	probeSent outcomeKind = iota
	probeAnswered
	probeRefused
	probeFailed
)
