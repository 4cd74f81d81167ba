package linkmon

import (
	"context"
	"net/netip"
	"time"

	"swerve/failover"
	"swerve/target"
)

// method is one way to probe: it sends one request, waits for the answer as long
// as the request says or until ctx ends, and returns.
//
// Each outcome is reported at the moment it happens, one at a time and never after
// the method has returned: a probeRefused, or a probeSent and then each answer. A
// probeRefused after a probeSent means nothing. Outcomes are not returned, because
// the engine needs the sending before there is an answer, and because a method may
// need time to clean up after one (pro-bing up to 0.1 s).
type method func(ctx context.Context, r request, report func(outcome))

// newMethods makes the table of the methods that are built in. A new one needs a
// file of its own, a line here, and its place in [target.Method.Built], which a
// test compares with this table.
func newMethods(clock func() failover.Instant) map[target.Method]method {
	echo := newICMP(clock)
	return map[target.Method]method{
		target.ICMP:    echo.probe,
		target.Gateway: echo.probe,
	}
}

// request is what a method is asked to send.
type request struct {
	target target.Target
	// to is the address to ask: the target's, or the gateway. It has a zone where it
	// is link-local, and is invalid where the target is a name.
	to netip.Addr
	// source is the uplink's address, device its interface and mark the packet mark
	// by which its own table routes the request. All three must be set on what is
	// sent: the device alone is only a hint to the kernel.
	source netip.Addr
	device string
	mark   uint32
	// wait is how long an answer is waited for.
	wait time.Duration
	// certain asks for a way of sending that tells for sure whether the kernel has
	// sent the request: an earlier one is without an answer so far.
	certain bool
}

// outcome is one thing that came of a probe.
type outcome struct {
	kind outcomeKind
	at   failover.Instant
	// by is the address that answered.
	by netip.Addr
	// cause says why nothing was sent. It wraps the [syscall.Errno] where the kernel
	// gave one.
	cause error
}

type outcomeKind uint8

const (
	probeSent outcomeKind = iota
	probeAnswered
	probeRefused
)
