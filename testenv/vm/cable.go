package vm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/packet"
)

// maxFrame is longer than any frame of an MTU of 1500.
const maxFrame = 2048

// cable carries frames between a link in a namespace and a network card of QEMU's, which
// writes each frame to a stream after its length in four bytes. With a VLAN the card is
// on a switch's port that has that VLAN alone, tagged; the link is not tagged.
type cable struct {
	name   string
	vlan   uint16 // 0: none
	listen net.Listener
	link   *os.File // a packet socket
	raw    syscall.RawConn
	tasks  sync.WaitGroup

	mu   sync.Mutex
	card net.Conn // nil: none connected
}

// newCable begins to carry the frames of a link. QEMU connects to the socket in the
// folder.
func newCable(ns *netns.NS, card Card, folder string) (*cable, error) {
	link := card.Link
	fd, err := packet.Open(ns, packet.Options{Link: link, Incoming: true})
	if err != nil {
		return nil, fmt.Errorf("vm: cable to %s: %w", link, err)
	}
	c := &cable{name: link, vlan: card.VLAN, link: os.NewFile(uintptr(fd), link)}
	if c.raw, err = c.link.SyscallConn(); err == nil {
		c.listen, err = net.Listen("unix", filepath.Join(folder, link))
	}
	if err != nil {
		c.link.Close()
		return nil, fmt.Errorf("vm: cable to %s: %w", link, err)
	}
	c.tasks.Go(c.toCard)
	c.tasks.Go(c.fromCards)
	return c, nil
}

func (c *cable) close() {
	c.listen.Close()
	c.link.Close()
	c.plug(nil)
	c.tasks.Wait()
}

// plug replaces the card, and disconnects the one before it.
func (c *cable) plug(card net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.card != nil {
		c.card.Close()
	}
	c.card = card
}

func (c *cable) plugged() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.card
}

// toCard gives the card what arrives on the link. Without a card frames are lost.
func (c *cable) toCard() {
	buf := make([]byte, 4+maxFrame)
	at := 4 // of the frame
	if c.vlan != 0 {
		at += tagLen
	}
	for {
		n, err := c.link.Read(buf[at:])
		switch {
		case err == nil:
		case isDown(err):
			continue
		default:
			return
		}
		if at > 4 {
			n = tag(buf[4:at+n], c.vlan)
		}
		binary.BigEndian.PutUint32(buf, uint32(n))
		if card := c.plugged(); card != nil {
			_, _ = card.Write(buf[:4+n]) // a card that has gone needs nothing
		}
	}
}

// isDown reports that a packet socket tells of a link that went down; it lives on.
func isDown(err error) bool {
	return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENOBUFS)
}

// fromCards accepts cards, one after the other, and gives the link what they send.
func (c *cable) fromCards() {
	for {
		card, err := c.listen.Accept()
		if err != nil {
			return
		}
		c.plug(card)
		c.tasks.Go(func() { c.fromCard(card) })
	}
}

func (c *cable) fromCard(card net.Conn) {
	from := bufio.NewReaderSize(card, 64<<10)
	buf := make([]byte, 64<<10)
	var header [4]byte
	for {
		if _, err := io.ReadFull(from, header[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(header[:])
		if int(n) > len(buf) {
			return
		}
		if _, err := io.ReadFull(from, buf[:n]); err != nil {
			return
		}
		frame := buf[:n]
		if c.vlan != 0 {
			if frame = untag(frame, c.vlan); frame == nil {
				continue
			}
		}
		// A link that is down takes nothing, as a cable that is not plugged in.
		_ = c.raw.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), frame) })
	}
}

// A tag (IEEE 802.1Q) is between the addresses and the type of a frame.
const (
	macsLen = 12
	tagLen  = 4
	typeTag = 0x8100
)

// tag gives a frame, which begins tagLen into the buffer, a tag. It returns the length
// of what is in the buffer then.
func tag(buf []byte, vlan uint16) int {
	copy(buf, buf[tagLen:tagLen+macsLen])
	binary.BigEndian.PutUint16(buf[macsLen:], typeTag)
	binary.BigEndian.PutUint16(buf[macsLen+2:], vlan)
	return len(buf)
}

// untag returns a frame without its tag, in the same memory, or nil if it has none of
// this VLAN.
func untag(frame []byte, vlan uint16) []byte {
	if len(frame) < macsLen+tagLen || binary.BigEndian.Uint16(frame[macsLen:]) != typeTag ||
		binary.BigEndian.Uint16(frame[macsLen+2:])&0xfff != vlan {
		return nil
	}
	copy(frame[tagLen:], frame[:macsLen])
	return frame[tagLen:]
}
