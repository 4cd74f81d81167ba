package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Requests of sock_diag(7), linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	inetDiagMark     = 15 // attribute: the socket's mark, for privileged callers

	diagRequestSize = 56
	diagAnswerSize  = 72
	diagIDSize      = 48
)

// States of TCP sockets as bits, linux/tcp_states.h.
const (
	tcpListening = 1 << 10
	// Connected, connecting or closing. Half-open requests belong to a listener, and
	// sockets in TIME_WAIT no longer have a program.
	tcpConnected = 1<<1 /* ESTABLISHED */ | 1<<2 /* SYN_SENT */ | 1<<4 | 1<<5 /* FIN_WAIT */ |
		1<<8 /* CLOSE_WAIT */ | 1<<9 /* LAST_ACK */ | 1<<11 /* CLOSING */
)

// DestroySockets ends the TCP connections that this machine itself opened from an
// address of an uplink that has just been lost: their programs are notified at
// once, instead of waiting for a timeout. It returns how many.
//
// Accepted connections stay, since only their clients can reconnect. The kernel
// does not report which ones were accepted, but an accepted socket has the local
// port of its listener, and the kernel never chooses such a port for a connecting
// socket. So a socket counts as accepted if some socket listens on its port, on
// its address or on all addresses; and, as its listener may be closed by now, if
// it is the other end that began its flow. Sockets with a lane in their mark are our
// probes, and stay as well. So do those whose flow uses another uplink, since two
// uplinks may have the same address. With lane 0 no flow uses another uplink: the
// address is on no other one.
//
// Connections that need no default route stay too, since the loss does not concern
// them: those to this machine itself, to its other networks, to a neighbour on the
// uplink while its link stands, or by any other route that is no default. So do those
// that a rule of another program sends by another device, and that never left by an
// uplink. The routes have to be those of after the loss. Of an uplink that is not down more
// stay, as spared says.
func (k *Kernel) DestroySockets(l lane.Layout, uplink lane.Lane, lost netip.Addr, spared Spared) (int, error) {
	d := destroyer{layout: l, uplink: uplink, lost: lost, spared: spared, listening: map[uint16]bool{}, flows: &k.flows}
	defer d.ways.close()
	err := d.run()
	if err != nil {
		err = fmt.Errorf("firewall: destroy sockets on %s: %w", lost, err)
	}
	return d.destroyed, err
}

// Spared are connections that stay although they are on a lost address.
type Spared struct {
	// Bound: those of sockets that are bound to a device, since their programs want that one.
	Bound bool
	// To: those to these addresses.
	To []netip.Addr
}

func (s Spared) has(c socket) bool {
	return s.Bound && c.device != 0 || slices.Contains(s.To, c.remote.Addr())
}

// destroyer is one call of DestroySockets.
type destroyer struct {
	layout    lane.Layout
	uplink    lane.Lane
	lost      netip.Addr
	spared    Spared
	listening map[uint16]bool
	diag      *netlink.Conn
	flows     *flowFinder
	ways      socketWays
	destroyed int
	failed    error // the last failure with a socket
}

func (d *destroyer) run() (err error) {
	if err := eachSocket(d.lost, tcpListening, func(s socket) {
		if s.local.IsUnspecified() || s.local == d.lost {
			d.listening[s.port] = true
		}
	}); err != nil {
		return err
	}
	if d.diag, err = netlink.Dial(unix.NETLINK_SOCK_DIAG, nil); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer d.diag.Close()
	err = eachSocket(d.lost, tcpConnected, d.consider)
	return errors.Join(err, d.failed)
}

// consider destroys a socket if it is one of those to destroy.
func (d *destroyer) consider(s socket) {
	if s.local != d.lost || d.listening[s.port] || s.mark&d.layout.MarkMask != 0 || d.spared.has(s) {
		return
	}
	way, err := d.ways.of(d.layout, s)
	if err != nil {
		d.failed = err // as if by the default route: its program can reconnect
	}
	if way.spares() {
		return
	}
	f, found, err := d.flows.flowOf(s)
	if err != nil {
		d.failed = err // it counts as one of the lost uplink: its program can reconnect
	}
	if found && s.accepted(f) || err == nil && d.elsewhere(s, way, f, found) {
		return
	}
	switch err := s.destroy(d.diag); {
	case err == nil:
		d.destroyed++
	case !errors.Is(err, unix.ENOENT): // ENOENT: it has ended meanwhile
		d.failed = err
	}
}

// elsewhere reports whether a socket that needs a default route does not use the lost
// uplink: its flow has the lane of another one, or it has none, and another program's
// rule leads it to a device without the address. The flow of a socket with a mark has no
// lane in any case.
func (d *destroyer) elsewhere(s socket, w socketWay, f flow, found bool) bool {
	uplink, _ := d.layout.CTLanes(f.mark)
	if uplink == 0 {
		return found && s.mark == 0 && w.foreign
	}
	return d.uplink != 0 && uplink != d.uplink
}

// socket is one TCP socket in an answer of sock_diag.
type socket struct {
	family byte
	local  netip.Addr // IPv4 also for an IPv6 socket with an IPv4-mapped address
	port   uint16
	remote netip.AddrPort
	device int    // index of the device that it is bound to; 0 for none
	id     []byte // struct inet_diag_sockid: ends, device and cookie
	mark   uint32
}

// eachSocket calls fn with the sockets in these states that could have a local
// address. IPv6 sockets may have IPv4-mapped addresses, so for an IPv4 address
// both families are listed.
func eachSocket(local netip.Addr, states uint32, fn func(socket)) error {
	families := []byte{unix.AF_INET6}
	if local.Is4() {
		families = append(families, unix.AF_INET)
	}
	for _, family := range families {
		req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		req.AddRawData(diagRequest(family, states, nil))
		err := req.ExecuteIter(unix.NETLINK_SOCK_DIAG, sockDiagByFamily, func(answer []byte) bool {
			if s, ok := decodeSocket(answer); ok {
				fn(s)
			}
			return true
		})
		if errors.Is(err, unix.ENOENT) && family == unix.AF_INET6 {
			continue // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("list TCP sockets: %w", err)
		}
	}
	return nil
}

// diagRequest encodes a struct inet_diag_req_v2.
func diagRequest(family byte, states uint32, id []byte) []byte {
	b := make([]byte, diagRequestSize)
	b[0], b[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], states)
	copy(b[8:], id)
	return b
}

// decodeSocket decodes a struct inet_diag_msg and its attributes.
func decodeSocket(b []byte) (s socket, ok bool) {
	if len(b) < diagAnswerSize {
		return socket{}, false
	}
	s = socket{family: b[0], id: b[4 : 4+diagIDSize], port: binary.BigEndian.Uint16(b[4:])}
	if s.family != unix.AF_INET && s.family != unix.AF_INET6 {
		return socket{}, false
	}
	s.local = addressIn(s.family, s.id[4:])
	s.remote = netip.AddrPortFrom(addressIn(s.family, s.id[20:]), binary.BigEndian.Uint16(s.id[2:]))
	s.device = int(binary.NativeEndian.Uint32(s.id[36:]))
	ad, err := netlink.NewAttributeDecoder(b[diagAnswerSize:])
	if err != nil {
		return socket{}, false
	}
	for ad.Next() {
		if ad.Type() == inetDiagMark {
			s.mark = ad.Uint32()
		}
	}
	return s, ad.Err() == nil
}

// findSocket reports whether this machine has a connected socket with these ends.
func findSocket(conn *netlink.Conn, local, remote netip.AddrPort) bool {
	family := addressFamily(failover.FamilyOf(local.Addr()))
	id := make([]byte, diagIDSize)
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:], local.Addr().AsSlice())
	copy(id[20:], remote.Addr().AsSlice())
	for i := diagIDSize - 8; i < diagIDSize; i++ {
		id[i] = 0xff // whatever its cookie is, INET_DIAG_NOCOOKIE
	}
	answers, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request},
		Data:   diagRequest(family, tcpConnected, id),
	})
	if err != nil || len(answers) == 0 {
		return false
	}
	// Where there is none, the kernel finds the one that would accept it.
	s, ok := decodeSocket(answers[0].Data)
	return ok && s.remote == remote && 1<<answers[0].Data[1]&tcpConnected != 0
}

// destroy makes the kernel abort the connection: its program gets ECONNABORTED. The
// cookie in the id ensures that it is this socket and not a later one.
func (s socket) destroy(conn *netlink.Conn) error {
	_, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: sockDestroy, Flags: netlink.Request | netlink.Acknowledge},
		Data:   diagRequest(s.family, tcpConnected, s.id),
	})
	return err
}
