package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/packet"
)

// Concentrator is a PPPoE server (RFC 2516) for the one customer on a link, without
// authentication and for IPv4 alone. It needs nothing of the kernel but a tun device.
type Concentrator struct {
	line  Line
	mac   []byte
	link  *os.File // a packet socket
	raw   syscall.RawConn
	tun   *os.File
	tasks sync.WaitGroup

	mu        sync.Mutex
	customer  []byte // MAC address; nil: there is no session
	session   uint16 // the latest one's number
	sessions  int    // that came up
	up        bool
	agreed    map[uint16]bool // the protocols whose options of ours the customer agreed to
	refusing  bool
	blackHole bool
}

// Line is the addresses of a session's two ends.
type Line struct{ Customer, Router netip.Addr }

const (
	typeDiscovery, typeSession = 0x8863, 0x8864

	padi, pado, padr, pads, padt = 0x09, 0x07, 0x19, 0x65, 0xa7

	tagService, tagName, tagHost = 0x0101, 0x0102, 0x0103

	protoIPv4, protoIPCP, protoLCP = 0x0021, 0x8021, 0xc021

	// The codes of LCP and IPCP (RFC 1661), and IPCP's option.
	confRequest, confAck, confNak, confReject = 1, 2, 3, 4
	termRequest, termAck, protoReject         = 5, 6, 8
	echoRequest, echoReply                    = 9, 10

	optAddress = 3

	ourMagic = 0x5e11e551

	pppoeAt = 14          // PPPoE's header in a frame
	pppAt   = pppoeAt + 6 // PPP's protocol
)

// Concentrate serves sessions on a link in a namespace. Its own end is a device ppp0
// there, with a route to the customer; another link has the router's address.
func Concentrate(ns *netns.NS, link string, line Line) (*Concentrator, error) {
	c := &Concentrator{line: line, agreed: map[uint16]bool{}}
	err := c.open(ns, link)
	if err != nil {
		c.close()
		return nil, fmt.Errorf("vm: PPPoE on %s: %w", link, err)
	}
	c.tasks.Go(c.fromCustomer)
	c.tasks.Go(c.toCustomer)
	return c, nil
}

func (c *Concentrator) open(ns *netns.NS, link string) error {
	l, err := ns.Netlink().LinkByName(link)
	if err != nil {
		return err
	}
	c.mac = l.Attrs().HardwareAddr
	fd, err := packet.Open(ns, packet.Options{Link: link, Incoming: true})
	if err != nil {
		return err
	}
	c.link = os.NewFile(uintptr(fd), link)
	if c.raw, err = c.link.SyscallConn(); err != nil {
		return err
	}
	if c.tun, err = openTun(ns, "ppp0"); err != nil {
		return err
	}
	if err := ns.SetUp("ppp0"); err != nil {
		return err
	}
	_, err = ns.Run("ip", "route", "add", c.line.Customer.String(), "dev", "ppp0")
	return errors.Join(err, ns.SetSysctl("net/ipv6/conf/ppp0/disable_ipv6", "1"))
}

// openTun makes a tun device with the MTU of a session.
func openTun(ns *netns.NS, name string) (f *os.File, err error) {
	err = ns.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("open /dev/net/tun", err)
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
		}
		if err != nil {
			unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	l, err := ns.Netlink().LinkByName(name)
	if err == nil {
		err = ns.Netlink().LinkSetMTU(l, 1492)
	}
	return f, err
}

// Close ends the server.
func (c *Concentrator) Close() {
	c.close()
	c.tasks.Wait()
}

func (c *Concentrator) close() {
	for _, f := range []*os.File{c.link, c.tun} {
		if f != nil {
			f.Close()
		}
	}
}

// Sessions is how many came up so far.
func (c *Concentrator) Sessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions
}

// SetBlackHole has the server forward nothing. The session stays.
func (c *Concentrator) SetBlackHole(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blackHole = on
}

// Terminate ends the session, and has new ones refused until Accept.
func (c *Concentrator) Terminate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.control(protoLCP, termRequest, 1, nil)
	c.discovery(padt, c.session, nil)
	c.customer, c.up, c.refusing = nil, false, true
}

// Accept accepts new sessions again.
func (c *Concentrator) Accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusing = false
}

func (c *Concentrator) fromCustomer() {
	buf := make([]byte, maxFrame)
	for {
		n, err := c.link.Read(buf)
		if err != nil && !isDown(err) {
			return
		}
		if n < pppAt {
			continue
		}
		frame := buf[:n]
		body := frame[pppAt:]
		if size := int(binary.BigEndian.Uint16(frame[pppoeAt+4:])); size <= len(body) {
			body = body[:size] // without padding
		}
		c.mu.Lock()
		switch binary.BigEndian.Uint16(frame[12:]) {
		case typeDiscovery:
			c.discover(frame, body)
		case typeSession:
			if bytes.Equal(frame[6:12], c.customer) && binary.BigEndian.Uint16(frame[pppoeAt+2:]) == c.session && len(body) > 2 {
				c.receive(binary.BigEndian.Uint16(body), body[2:])
			}
		}
		c.mu.Unlock()
	}
}

// toCustomer sends what is routed to the customer.
func (c *Concentrator) toCustomer() {
	buf := make([]byte, maxFrame)
	for {
		n, err := c.tun.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.up && !c.lost(buf[:n]) {
			c.send(protoIPv4, buf[:n])
		}
		c.mu.Unlock()
	}
}

// lost reports whether a packet falls into the black hole, which is beyond the router.
func (c *Concentrator) lost(ip []byte) bool {
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return true
	}
	router := c.line.Router.As4()
	return c.blackHole && !bytes.Equal(ip[12:16], router[:]) && !bytes.Equal(ip[16:20], router[:])
}

// discover answers the customer's search for a server. The tags that it is to have
// back come along.
func (c *Concentrator) discover(frame, tags []byte) {
	code := frame[pppoeAt+1]
	if c.refusing || code != padi && code != padr && code != padt {
		return
	}
	if code == padt {
		c.customer, c.up = nil, false
		return
	}
	back := appendOption6(nil, tagName, []byte("lab"))
	for len(tags) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(tags[2:]))
		if n > len(tags) {
			break
		}
		if kind := binary.BigEndian.Uint16(tags); kind == tagService || kind == tagHost {
			back = append(back, tags[:n]...)
		}
		tags = tags[n:]
	}
	c.customer = bytes.Clone(frame[6:12])
	if code == padi {
		c.discovery(pado, 0, back)
		return
	}
	c.session++
	c.up, c.agreed = false, map[uint16]bool{}
	c.discovery(pads, c.session, back)
}

// receive takes a packet of the session.
func (c *Concentrator) receive(protocol uint16, data []byte) {
	switch {
	case protocol == protoIPv4:
		if c.up && !c.lost(data) {
			_, _ = c.tun.Write(data)
		}
	case protocol != protoLCP && protocol != protoIPCP:
		c.control(protoLCP, protoReject, data[0], append(binary.BigEndian.AppendUint16(nil, protocol), data...))
	case len(data) >= 4 && int(binary.BigEndian.Uint16(data[2:])) <= len(data):
		c.negotiate(protocol, data[0], data[1], data[4:binary.BigEndian.Uint16(data[2:])])
	}
}

// negotiate answers a packet of LCP or IPCP. What we ask for is asked with each
// request of the customer, who repeats his until all is agreed; not after he agreed,
// which would begin it all anew.
func (c *Concentrator) negotiate(protocol uint16, code, id byte, options []byte) {
	switch code {
	case confRequest:
		answer := byte(confAck)
		if protocol == protoIPCP {
			answer, options = c.judge(options)
			if answer == confAck && !c.up {
				c.up = true
				c.sessions++
			}
		}
		c.control(protocol, answer, id, options)
		if !c.agreed[protocol] {
			c.ask(protocol)
		}
	case confAck:
		c.agreed[protocol] = true
	case termRequest:
		c.control(protocol, termAck, id, nil)
		c.customer, c.up = nil, false
	case echoRequest:
		c.control(protoLCP, echoReply, id, binary.BigEndian.AppendUint32(nil, ourMagic))
	}
}

// ask requests our own options: the magic number of LCP, the address of IPCP.
func (c *Concentrator) ask(protocol uint16) {
	options := binary.BigEndian.AppendUint32([]byte{5, 6}, ourMagic)
	if protocol == protoIPCP {
		options = append([]byte{optAddress, 6}, c.line.Router.AsSlice()...)
	}
	c.control(protocol, confRequest, 1, options)
}

// judge answers the options of IPCP: the address has to be the customer's, and there
// are no others.
func (c *Concentrator) judge(options []byte) (code byte, out []byte) {
	var rejected []byte
	right := false
	for rest := options; len(rest) >= 2 && int(rest[1]) >= 2 && int(rest[1]) <= len(rest); rest = rest[rest[1]:] {
		if rest[0] != optAddress {
			rejected = append(rejected, rest[:rest[1]]...)
			continue
		}
		right = bytes.Equal(rest[2:rest[1]], c.line.Customer.AsSlice())
	}
	switch {
	case len(rejected) > 0:
		return confReject, rejected
	case !right:
		return confNak, append([]byte{optAddress, 6}, c.line.Customer.AsSlice()...)
	}
	return confAck, options
}

// control sends a packet of LCP or IPCP.
func (c *Concentrator) control(protocol uint16, code, id byte, data []byte) {
	m := binary.BigEndian.AppendUint16([]byte{code, id}, uint16(4+len(data)))
	c.send(protocol, append(m, data...))
}

func (c *Concentrator) send(protocol uint16, data []byte) {
	c.frame(typeSession, 0, c.session, append(binary.BigEndian.AppendUint16(nil, protocol), data...))
}

func (c *Concentrator) discovery(code byte, session uint16, tags []byte) {
	c.frame(typeDiscovery, code, session, tags)
}

// frame sends a frame to the customer. A link that is down takes nothing.
func (c *Concentrator) frame(typ uint16, code byte, session uint16, payload []byte) {
	if c.customer == nil {
		return
	}
	f := append(bytes.Clone(c.customer), c.mac...)
	f = binary.BigEndian.AppendUint16(f, typ)
	f = binary.BigEndian.AppendUint16(append(f, 0x11, code), session)
	f = append(binary.BigEndian.AppendUint16(f, uint16(len(payload))), payload...)
	_ = c.raw.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), f) })
}
