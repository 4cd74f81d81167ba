package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv6"
)

// advertInterval is the time between unsolicited advertisements. Real routers wait
// minutes; here a lost one should not delay a test.
const advertInterval = 5 * time.Second

// advertiser is an ISP's router that implements RFC 4861: it answers solicitations
// and advertises itself periodically.
type advertiser struct {
	conn    net.PacketConn
	pc      *ipv6.PacketConn
	message atomic.Pointer[[]byte]
	cm      *ipv6.ControlMessage
	kick    chan struct{} // full: an advertisement is pending anyway
}

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// advertise starts the advertiser of an uplink's ISP.
func (lab *Lab) advertise(i int) error {
	ns, up := lab.ISP[i], lab.Uplinks[i]
	l, err := ns.Netlink().LinkByName(customerLink)
	if err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	conn, err := ns.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	a := &advertiser{
		conn: conn,
		pc:   ipv6.NewPacketConn(conn),
		// RFC 4861, 6.1.2: receivers drop messages with any other hop limit.
		cm:   &ipv6.ControlMessage{HopLimit: 255, IfIndex: l.Attrs().Index, Src: routerLinkLocal.AsSlice()},
		kick: make(chan struct{}, 1),
	}
	a.message.Store(new(routerAdvertisement(l.Attrs().HardwareAddr, up.Prefix6)))
	if err := a.listen(l.Attrs().Index); err != nil {
		conn.Close()
		return fmt.Errorf("advertise: %w", err)
	}
	for len(lab.routers) <= i {
		lab.routers = append(lab.routers, nil)
	}
	lab.routers[i] = a
	lab.tasks.Go(a.receive)
	lab.tasks.Go(func() { a.send(lab.life) })
	a.announce()
	return nil
}

// listen opens a socket that receives solicitations only.
func (a *advertiser) listen(ifindex int) error {
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	if err := a.pc.SetICMPFilter(&filter); err != nil {
		return err
	}
	return a.pc.JoinGroup(&net.Interface{Index: ifindex}, &net.IPAddr{IP: allRouters.AsSlice()})
}

// receive answers solicitations until send closes the socket.
func (a *advertiser) receive() {
	buf := make([]byte, 1500)
	for {
		if _, _, err := a.conn.ReadFrom(buf); err != nil {
			return
		}
		a.announce()
	}
}

// announce sends an advertisement at once.
func (a *advertiser) announce() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

func (a *advertiser) send(ctx context.Context) {
	defer a.conn.Close()
	tick := time.NewTicker(advertInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.kick:
		}
		// An error means that the link is down, which stops a real router too.
		_, _ = a.pc.WriteTo(*a.message.Load(), a.cm, &net.IPAddr{IP: allNodes.AsSlice()})
	}
}

// SetRouterLifetime has an uplink's ISP advertise itself as a router for so long, to the
// second, from now on: 0 withdraws it.
func (lab *Lab) SetRouterLifetime(uplink int, lifetime time.Duration) {
	a := lab.routers[uplink]
	message := slices.Clone(*a.message.Load())
	binary.BigEndian.PutUint16(message[6:], uint16(lifetime/time.Second))
	a.message.Store(&message)
	a.announce()
}

// routerAdvertisement writes the message of RFC 4861, 4.2: a default router for
// half an hour, with its MAC address and the on-link prefix, which is not for address
// autoconfiguration. The kernel fills in the checksum.
func routerAdvertisement(mac net.HardwareAddr, prefix netip.Prefix) []byte {
	const (
		typ       = 134
		hopLimit  = 64
		lifetime  = 1800  // s
		valid     = 86400 // s
		preferred = 14400 // s
		onLink    = 0x80
	)
	m := []byte{typ, 0, 0, 0, hopLimit, 0}
	m = binary.BigEndian.AppendUint16(m, lifetime)
	m = append(m, make([]byte, 8)...)   // reachable time and retransmit timer: unspecified
	m = append(append(m, 1, 1), mac...) // source link-layer address
	m = append(m, 3, 4, byte(prefix.Bits()), onLink)
	m = binary.BigEndian.AppendUint32(m, valid)
	m = binary.BigEndian.AppendUint32(m, preferred)
	m = append(m, 0, 0, 0, 0)
	return append(m, prefix.Addr().AsSlice()...)
}
