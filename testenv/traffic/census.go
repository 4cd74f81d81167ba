package traffic

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"swerve/testenv/netns"
)

// Census are UDP flows of clients, each with a socket of its own, of which the server says
// from which address they come.
type Census struct {
	servers []net.PacketConn
	flows   []*net.UDPConn
	tasks   sync.WaitGroup
	asked   byte // counts the questions
}

// OpenCensus opens n flows from addresses of a client's namespace, in turn, to addresses
// of a server's namespace, in which one follows once all of the client's have had the one
// before. Nothing is sent yet.
func OpenCensus(client, server *netns.NS, from, to []netip.Addr, n int) (*Census, error) {
	c := &Census{}
	for _, addr := range to {
		pc, err := server.ListenPacket("udp", netip.AddrPortFrom(addr, 0).String())
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("traffic: open a census: %w", err)
		}
		enlargeBuffer(pc.(*net.UDPConn))
		c.servers = append(c.servers, pc)
		c.tasks.Go(func() { tellSources(pc) })
	}
	for i := range n {
		at := c.servers[i/len(from)%len(c.servers)].LocalAddr().(*net.UDPAddr).AddrPort()
		conn, err := client.DialUDPFrom(netns.Origin{Addr: from[i%len(from)]}, at)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("traffic: open a census: %w", err)
		}
		c.flows = append(c.flows, conn)
	}
	return c, nil
}

// tellSources answers each packet with its one byte, which says which question it is, and
// the address that it came from.
func tellSources(pc net.PacketConn) {
	b := make([]byte, 64)
	for {
		n, from, err := pc.ReadFrom(b)
		switch {
		case err != nil:
			return
		case n > 0:
			text, _ := from.(*net.UDPAddr).AddrPort().Addr().Unmap().MarshalText()
			_, _ = pc.WriteTo(append(b[:1], text...), from) // a lost answer is asked for again
		}
	}
}

// Ask asks from which address each flow's packets come now; the zero address where no
// answer came, to five questions half a second apart.
func (c *Census) Ask() []netip.Addr {
	out := make([]netip.Addr, len(c.flows))
	b := make([]byte, 64)
	c.asked++
	for range 5 {
		missing := false
		for i, conn := range c.flows {
			if out[i].IsValid() {
				continue
			}
			missing = true
			_, _ = conn.Write([]byte{c.asked}) // no answer tells
			if i%4 == 3 {
				time.Sleep(time.Millisecond) // not more at once than the queue of a slow line holds
			}
		}
		if !missing {
			break
		}
		deadline := time.Now().Add(500 * time.Millisecond)
		for i, conn := range c.flows {
			if out[i].IsValid() {
				continue
			}
			// What has come already is read also after the time that others have waited.
			_ = conn.SetReadDeadline(later(deadline, time.Now().Add(time.Millisecond)))
			for !out[i].IsValid() {
				n, err := conn.Read(b)
				if err != nil {
					break // none in time
				}
				if n > 1 && b[0] == c.asked { // else it is to an earlier question
					_ = out[i].UnmarshalText(b[1:n])
				}
			}
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Close ends all flows.
func (c *Census) Close() {
	for _, conn := range c.flows {
		conn.Close()
	}
	for _, pc := range c.servers {
		pc.Close()
	}
	c.tasks.Wait()
}
