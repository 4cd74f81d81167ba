package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"swerve/testenv/netns"
)

// Bulk is a one-way UDP stream of numbered packets. The server records the numbers it
// received: see Server.Received.
type Bulk struct {
	stream uint64
	conn   *net.UDPConn
	cancel context.CancelFunc
	task   sync.WaitGroup
	sent   atomic.Uint64
	failed atomic.Uint64
}

// StartBulk sends rate packets a second, at least 1,000, from a namespace to the
// server at Port of an address, until Stop.
func StartBulk(ns *netns.NS, to netip.Addr, rate float64) (*Bulk, error) {
	conn, err := ns.DialUDP(netip.AddrPortFrom(to, Port))
	if err != nil {
		return nil, fmt.Errorf("traffic: start bulk to %s: %w", to, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bulk{stream: rand.Uint64(), conn: conn, cancel: cancel}
	b.task.Go(func() { every(ctx, ns, rate, b.send) })
	return b, nil
}

func (b *Bulk) send(time.Time) {
	var buf [messageLen]byte
	message{kind: kindBulk, stream: b.stream, seq: b.sent.Load()}.put(buf[:])
	// The number is used even if the kernel refuses the packet: that is a loss.
	if _, err := b.conn.Write(buf[:]); err != nil {
		b.failed.Add(1)
	}
	b.sent.Add(1)
}

// Stop stops sending. A second Stop does nothing.
func (b *Bulk) Stop() {
	b.cancel()
	b.task.Wait()
	b.conn.Close()
}

// Stream is the stream's number, for Server.Received.
func (b *Bulk) Stream() uint64 { return b.stream }

// Sent returns how many packets were sent so far: their numbers are 0 to Sent-1.
func (b *Bulk) Sent() uint64 { return b.sent.Load() }

// Refused returns how many of them the client's kernel refused.
func (b *Bulk) Refused() uint64 { return b.failed.Load() }
