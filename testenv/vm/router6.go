package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"

	"swerve/testenv/netns"
)

// Router6 is an ISP's router for the one customer on a link: it advertises itself (RFC
// 4861) and delegates a prefix by DHCPv6 (RFC 8415), which it then routes to the
// customer.
type Router6 struct {
	ns   *netns.NS
	link netlink.Link
	with Advert

	adverts, dhcp net.PacketConn
	pc            *ipv6.PacketConn // of adverts
	lifetime      atomic.Int64     // as advertised, in seconds
	kick          chan struct{}    // full: an advertisement is due anyway
	done          chan struct{}
	tasks         sync.WaitGroup

	sent, replies atomic.Int64
}

// Advert is what a router offers, for Time each.
type Advert struct {
	Prefix   netip.Prefix  // for addresses by autoconfiguration; invalid: the customer's link has a link-local address alone
	Delegate netip.Prefix  // for the customer's LAN; invalid: none
	Interval time.Duration // between advertisements; a delegation is renewed as often
	Time     time.Duration // of the router, the prefix and the delegation
}

var (
	allNodes   = &net.IPAddr{IP: net.ParseIP("ff02::1")}
	allRouters = &net.IPAddr{IP: net.ParseIP("ff02::2")}
	allServers = &net.IPAddr{IP: net.ParseIP("ff02::1:2")} // of DHCPv6
)

// Route6 starts a router on a link in a namespace; address is the link-local one that it
// sends from.
func Route6(ns *netns.NS, link string, address netip.Addr, with Advert) (*Router6, error) {
	r := &Router6{ns: ns, with: with, kick: make(chan struct{}, 1), done: make(chan struct{})}
	r.lifetime.Store(int64(with.Time / time.Second))
	var err error
	if r.link, err = ns.Netlink().LinkByName(link); err != nil {
		return nil, fmt.Errorf("vm: router on %s: %w", link, err)
	}
	index := &net.Interface{Index: r.link.Attrs().Index}
	if r.adverts, err = ns.ListenPacket("ip6:ipv6-icmp", "::"); err != nil {
		return nil, fmt.Errorf("vm: router: %w", err)
	}
	r.pc = ipv6.NewPacketConn(r.adverts)
	var solicitations ipv6.ICMPFilter
	solicitations.SetAll(true)
	solicitations.Accept(ipv6.ICMPTypeRouterSolicitation)
	err = errors.Join(r.pc.SetICMPFilter(&solicitations), r.pc.JoinGroup(index, allRouters))
	if err == nil && with.Delegate.IsValid() {
		if r.dhcp, err = ns.ListenPacket("udp6", "[::]:547"); err == nil {
			err = ipv6.NewPacketConn(r.dhcp).JoinGroup(index, allServers)
		}
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("vm: router on %s: %w", link, err)
	}
	r.tasks.Go(r.solicited)
	r.tasks.Go(func() { r.advertise(&ipv6.ControlMessage{HopLimit: 255, IfIndex: index.Index, Src: address.AsSlice()}) })
	if r.dhcp != nil {
		r.tasks.Go(r.delegate)
	}
	return r, nil
}

// Close ends the router.
func (r *Router6) Close() {
	close(r.done)
	r.adverts.Close()
	if r.dhcp != nil {
		r.dhcp.Close()
	}
	r.tasks.Wait()
}

// Sent is how many advertisements were sent, Replies how often a prefix was delegated or
// renewed.
func (r *Router6) Sent() int64    { return r.sent.Load() }
func (r *Router6) Replies() int64 { return r.replies.Load() }

// SetLifetime advertises the router for so long from now on: 0 withdraws it.
func (r *Router6) SetLifetime(d time.Duration) {
	r.lifetime.Store(int64(d / time.Second))
	r.soon()
}

func (r *Router6) soon() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// solicited has each solicitation answered.
func (r *Router6) solicited() {
	buf := make([]byte, 1500)
	for {
		if _, _, err := r.adverts.ReadFrom(buf); err != nil {
			return
		}
		r.soon()
	}
}

func (r *Router6) advertise(cm *ipv6.ControlMessage) {
	tick := time.NewTicker(r.with.Interval)
	defer tick.Stop()
	for {
		if _, err := r.pc.WriteTo(r.message(), cm, allNodes); err == nil {
			r.sent.Add(1)
		}
		select {
		case <-r.done:
			return
		case <-tick.C:
		case <-r.kick:
		}
	}
}

// message is an advertisement: RFC 4861, 4.2. The kernel fills in the checksum.
func (r *Router6) message() []byte {
	const (
		typ         = 134
		hopLimit    = 64
		managed     = 0x80 // ask for a lease by DHCPv6
		onLinkAuto  = 0xc0
		sourceLink  = 1
		information = 3
	)
	var flags byte
	if r.with.Delegate.IsValid() {
		flags = managed
	}
	m := []byte{typ, 0, 0, 0, hopLimit, flags}
	m = binary.BigEndian.AppendUint16(m, uint16(r.lifetime.Load()))
	m = append(m, make([]byte, 8)...)
	m = append(append(m, sourceLink, 1), r.link.Attrs().HardwareAddr...)
	if p := r.with.Prefix; p.IsValid() {
		m = append(m, information, 4, byte(p.Bits()), onLinkAuto)
		m = r.appendLifetimes(m, true)
		m = append(m, 0, 0, 0, 0)
		m = append(m, p.Addr().AsSlice()...)
	}
	return m
}

// appendLifetimes appends how long a prefix is valid and preferred, in either order.
func (r *Router6) appendLifetimes(m []byte, validFirst bool) []byte {
	valid := uint32(r.with.Time / time.Second)
	first, second := valid-1, valid
	if validFirst {
		first, second = second, first
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(m, first), second)
}

// The messages of DHCPv6, and the options that are used here.
const (
	solicit6, advertise6, request6, renew6, rebind6, reply6 = 1, 2, 3, 5, 6, 7

	optClientID, optServerID = 1, 2
	optDelegation, optPrefix = 25, 26
)

func (r *Router6) delegate() {
	buf := make([]byte, 1500)
	for {
		n, from, err := r.dhcp.ReadFrom(buf)
		if err != nil {
			return
		}
		answer := r.answer(buf[:n])
		if answer == nil {
			continue
		}
		if answer[0] == reply6 {
			r.routeTo(from.(*net.UDPAddr).IP)
			r.replies.Add(1)
		}
		_, _ = r.dhcp.WriteTo(answer, from)
	}
}

// routeTo routes the delegated prefix to the customer.
func (r *Router6) routeTo(customer net.IP) {
	p := r.with.Delegate
	_ = r.ns.Netlink().RouteReplace(&netlink.Route{
		LinkIndex: r.link.Attrs().Index, Gw: customer,
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)},
	})
}

// answer answers a message that asks for a prefix; nil if it does not.
func (r *Router6) answer(m []byte) []byte {
	if len(m) < 4 {
		return nil
	}
	kind := byte(reply6)
	switch m[0] {
	case solicit6:
		kind = advertise6
	case request6, renew6, rebind6:
	default:
		return nil
	}
	client, delegation := option6(m[4:], optClientID), option6(m[4:], optDelegation)
	if len(client) == 0 || len(delegation) < 4 {
		return nil
	}
	a := append([]byte{kind}, m[1:4]...) // the transaction
	a = appendOption6(a, optClientID, client)
	a = appendOption6(a, optServerID, append([]byte{0, 3, 0, 1}, r.link.Attrs().HardwareAddr...))
	every := uint32(r.with.Interval / time.Second)
	d := append([]byte(nil), delegation[:4]...) // whose
	d = binary.BigEndian.AppendUint32(d, every)
	d = binary.BigEndian.AppendUint32(d, 2*every)
	p := r.appendLifetimes(nil, false)
	p = append(append(p, byte(r.with.Delegate.Bits())), r.with.Delegate.Addr().AsSlice()...)
	return appendOption6(a, optDelegation, appendOption6(d, optPrefix, p))
}

func appendOption6(m []byte, code uint16, value []byte) []byte {
	m = binary.BigEndian.AppendUint16(m, code)
	m = binary.BigEndian.AppendUint16(m, uint16(len(value)))
	return append(m, value...)
}

// option6 returns the value of an option, nil if there is none.
func option6(options []byte, code uint16) []byte {
	for len(options) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(options[2:]))
		if n > len(options) {
			return nil
		}
		if binary.BigEndian.Uint16(options) == code {
			return options[4:n]
		}
		options = options[n:]
	}
	return nil
}
