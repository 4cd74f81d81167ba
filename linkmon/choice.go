package linkmon

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// chooser asks the kernel for the source that it would choose for a packet.
//
// In IPv6 the device in a packet's control message binds the packet only if its
// source is left to the kernel: routes by other devices are then skipped, whatever
// rule or table they are in. With a source of its own, a packet follows the first
// route that a rule finds, such as another uplink's host route in main. (In IPv4 the
// device always binds, and so does a socket bound to a device, which pro-bing does
// not offer.)
//
// It asks in a goroutine of its own: the library that reads the answer takes 128 KiB of
// stack, which each probe in flight would keep.
type chooser struct {
	kernel *kernel
	asks   chan func()
	ended  chan struct{} // closed when the goroutine has ended
}

// openChooser opens its socket on the calling thread.
func openChooser() (*chooser, error) {
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	c := &chooser{kernel: k, asks: make(chan func()), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		for ask := range c.asks {
			ask()
		}
	}()
	return c, nil
}

// close closes the socket. Nobody may ask any more.
func (c *chooser) close() {
	close(c.asks)
	<-c.ended
	c.kernel.close()
}

// ask has the kernel asked, and waits for its answer.
func (c *chooser) ask(question func()) {
	answered := make(chan struct{})
	c.asks <- func() {
		defer close(answered)
		question()
	}
	<-answered
}

// fits reports whether a request by IPv6 may leave its source to the kernel, since
// the choice is one of the uplink's. It is not where all addresses of the uplink are
// deprecated, or where it has none and the kernel prefers another uplink's. To a
// link-local destination, whose zone binds, the kernel's choice is the device's own
// link-local address: an address borrowed from another device may be of a prefix that
// another uplink has delegated, and the gateway has no way back to it.
func (c *chooser) fits(r request) bool {
	if c == nil || r.index == 0 || !r.to.Is6() {
		return false
	}
	if r.to.IsLinkLocalUnicast() {
		return true
	}
	var source netip.Addr
	var err error
	c.ask(func() { source, err = c.kernel.choice(r.to, r.index, r.mark) })
	return err == nil && slices.ContainsFunc(r.sources, func(p netip.Prefix) bool { return p.Addr() == source })
}

// unrouted returns an error for a request by IPv4 that has no route by its gateway, as
// where another program has removed it, if the request asks for certainty. For a packet
// that is bound to a device the kernel then takes any destination for one of the device's
// own network, whatever a rule says: it asks the link for it, and says that it was sent.
func (c *chooser) unrouted(r request) error {
	if c == nil || !r.certain || r.index == 0 || !r.to.Is4() || !r.via.IsValid() {
		return nil
	}
	routed := true
	var err error
	c.ask(func() {
		err = c.kernel.request(unix.RTM_GETROUTE, 0, choiceRequest(r.to, r.index, r.mark), func(b []byte) { routed = hasGateway(b) })
	})
	if err != nil || routed {
		return nil // what cannot be looked up is found out by sending
	}
	return fmt.Errorf("send to %s: the route by %s is missing: %w", r.to, r.via, unix.ENETUNREACH)
}

// hasGateway reports whether a route has a next hop of either family.
func hasGateway(b []byte) bool {
	if _, ok := decodeRouteHead(b); !ok {
		return false
	}
	for kind := range attributes(b[unix.SizeofRtMsg:]) {
		if kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA {
			return true
		}
	}
	return false
}

// choice returns the source of a packet that is bound to a device and has a mark;
// invalid if the kernel would not send it by that device.
func (k *kernel) choice(to netip.Addr, index int, mark uint32) (source netip.Addr, err error) {
	err = k.request(unix.RTM_GETROUTE, 0, choiceRequest(to, index, mark), func(b []byte) { source = decodeChoice(b, index) })
	return source, err
}

// choiceRequest is the body of RTM_GETROUTE for one destination.
func choiceRequest(to netip.Addr, index int, mark uint32) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1] = unix.AF_INET6, byte(to.BitLen())
	if to.Is4() {
		b[0] = unix.AF_INET
	}
	b = appendAttribute(b, unix.RTA_DST, to.AsSlice())
	b = appendNumber(b, unix.RTA_OIF, uint32(index))
	return appendNumber(b, unix.RTA_MARK, mark)
}

// decodeChoice decodes the source of the route that was found.
func decodeChoice(b []byte, index int) (source netip.Addr) {
	if h, ok := decodeRouteHead(b); !ok || h.kind != unix.RTN_UNICAST {
		return source
	}
	by := 0
	for kind, value := range attributes(b[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_OIF:
			by = int(number(value))
		case unix.RTA_PREFSRC:
			source = ip(value)
		}
	}
	if by != index {
		return netip.Addr{}
	}
	return source
}
