package system

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/testenv/netns"
	"swerve/testenv/packet"
)

// way is how a flow's packets leave the gateway: by an uplink, with a source address.
type way struct {
	uplink int
	source netip.Addr
}

func (w way) String() string { return uplinkNames[w.uplink] + " as " + w.source.String() }

// departure is a packet that left the gateway.
type departure struct {
	way
	family failover.Family
	proto  uint8
	port   uint16 // of its flow; 0: of none
}

// capture records what leaves the gateway by its uplinks, as it is on the wire.
type capture struct {
	files []*os.File
	tasks sync.WaitGroup

	mu   sync.Mutex
	left []departure
}

func startCapture(gateway *netns.NS, links ...string) (*capture, error) {
	c := new(capture)
	for uplink, link := range links {
		fd, err := packet.Open(gateway, packet.Options{Link: link, Cooked: true})
		if err != nil {
			c.close()
			return nil, err
		}
		file := os.NewFile(uintptr(fd), "capture")
		c.files = append(c.files, file)
		conn, err := file.SyscallConn()
		if err != nil {
			c.close()
			return nil, err
		}
		c.tasks.Go(func() { c.run(conn, uplink) })
	}
	return c, nil
}

func (c *capture) close() {
	for _, f := range c.files {
		f.Close()
	}
	c.tasks.Wait()
}

func (c *capture) run(conn syscall.RawConn, uplink int) {
	var buf [256]byte
	for {
		var n int
		var from unix.Sockaddr
		var err error
		closed := conn.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buf[:], 0)
			return err != unix.EAGAIN
		})
		if closed != nil {
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || link.Pkttype != unix.PACKET_OUTGOING {
			continue
		}
		if d, ok := departed(buf[:n]); ok {
			d.uplink = uplink
			c.mu.Lock()
			c.left = append(c.left, d)
			c.mu.Unlock()
		}
	}
}

// departed reads a packet from its network header on. Those of flows have no options.
func departed(b []byte) (d departure, ok bool) {
	var transport []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		d.source, _ = netip.AddrFromSlice(b[12:16])
		d.proto, transport = b[9], b[20:]
	case len(b) >= 40 && b[0]>>4 == 6:
		d.source, _ = netip.AddrFromSlice(b[8:24])
		d.family, d.proto, transport = failover.IPv6, b[6], b[40:]
	default:
		return d, false
	}
	if d.proto != unix.IPPROTO_TCP && d.proto != unix.IPPROTO_UDP || len(transport) < 4 {
		return d, true
	}
	for at := range 2 {
		if p := binary.BigEndian.Uint16(transport[2*at:]); p >= firstFlowPort && p <= lastFlowPort {
			d.port = p
		}
	}
	return d, true
}

// position is how many packets have left so far.
func (c *capture) position() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.left)
}

// from returns the packets after a position.
func (c *capture) from(position int) []departure {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.left[position:])
}

// waysOf returns the ways of a flow's packets, in their order, repetitions left out.
func waysOf(f *flow, left []departure) (ways []way) {
	for _, d := range left {
		if d.port == f.port {
			ways = append(ways, d.way)
		}
	}
	return slices.Compact(ways)
}
