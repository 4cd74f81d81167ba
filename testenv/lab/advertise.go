package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv6"
)

// advertInterval is the time between unsolicited advertisements. Real
// routers take minutes; here a missed one should not hold up a test.
const advertInterval = 5 * time.Second

// advertiser is an ISP's router that speaks RFC 4861: it answers solicitations
// and advertises itself now and then.
type advertiser struct {
	conn    net.PacketConn
	pc      *ipv6.PacketConn
	message []byte
	cm      *ipv6.ControlMessage
	kick    chan struct{} // full: an advertisement is about to go out anyway
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
		conn:    conn,
		pc:      ipv6.NewPacketConn(conn),
		message: routerAdvertisement(l.Attrs().HardwareAddr, up.Prefix6),
		// RFC 4861, 6.1.2: receivers drop what has another hop limit.
		cm:   &ipv6.ControlMessage{HopLimit: 255, IfIndex: l.Attrs().Index, Src: routerLinkLocal.AsSlice()},
		kick: make(chan struct{}, 1),
	}
	if err := a.listen(l.Attrs().Index); err != nil {
		conn.Close()
		return fmt.Errorf("advertise: %w", err)
	}
	for len(lab.routers) <= i {
		lab.routers = append(lab.routers, nil)
	}
	lab.routers[i] = a
	lab.tasks.Go(a.hear)
	lab.tasks.Go(func() { a.speak(lab.life) })
	a.announce()
	return nil
}

// listen takes solicitations alone.
func (a *advertiser) listen(ifindex int) error {
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	if err := a.pc.SetICMPFilter(&filter); err != nil {
		return err
	}
	return a.pc.JoinGroup(&net.Interface{Index: ifindex}, &net.IPAddr{IP: allRouters.AsSlice()})
}

// hear answers solicitations until speak closes the socket.
func (a *advertiser) hear() {
	buf := make([]byte, 1500)
	for {
		if _, _, err := a.conn.ReadFrom(buf); err != nil {
			return
		}
		a.announce()
	}
}

// announce has an advertisement sent at once.
func (a *advertiser) announce() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

func (a *advertiser) speak(ctx context.Context) {
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
		// An error means that the link is down: so is a real router's then.
		_, _ = a.pc.WriteTo(a.message, a.cm, &net.IPAddr{IP: allNodes.AsSlice()})
	}
}

// routerAdvertisement writes the message of RFC 4861, 4.2: a default router for
// half an hour, with its MAC address and the prefix on the link, from which no
// addresses are to be made. The kernel fills in the checksum.
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
