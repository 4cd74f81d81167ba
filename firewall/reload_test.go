package firewall

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// receiver receives packets and counts the distinct ones.
type receiver struct {
	conn net.PacketConn
	seen map[uint32]bool
	done sync.WaitGroup
	n    atomic.Int64
}

func receive(t *testing.T, conn net.PacketConn) *receiver {
	t.Helper()
	r := &receiver{conn: conn, seen: map[uint32]bool{}}
	r.done.Go(func() {
		buf := make([]byte, 100)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n == 4 {
				r.seen[binary.BigEndian.Uint32(buf)] = true
				r.n.Store(int64(len(r.seen)))
			}
		}
	})
	t.Cleanup(func() { conn.Close(); r.done.Wait() })
	return r
}

// Reloading under traffic loses no packets, neither of an old flow nor of new ones
// that begin meanwhile.
func TestReloadUnderTrafficLosesNothing(t *testing.T) {
	const perSecond, seconds = 2000, 3
	l := newLab(t)
	l.apply()
	conn, err := l.net.ListenPacket("udp", at(plans[0].host, 5000))
	if err != nil {
		t.Fatal(err)
	}
	conn.(*net.UDPConn).SetReadBuffer(1 << 20)
	r := receive(t, conn)
	old := dialUDP(t, l.client, at(plans[0].host, 5000))
	var sent atomic.Uint32
	var sender sync.WaitGroup
	sender.Go(func() {
		began := time.Now()
		for i := uint32(0); i < perSecond*seconds; i++ {
			for time.Since(began) < time.Duration(i)*time.Second/perSecond {
				time.Sleep(200 * time.Microsecond)
			}
			c := old
			if i%100 == 0 {
				fresh, err := l.client.DialUDP(conn.LocalAddr().(*net.UDPAddr).AddrPort())
				if err != nil {
					t.Error(err)
					return
				}
				c = fresh
			}
			if _, err := c.Write(binary.BigEndian.AppendUint32(nil, i)); err != nil {
				t.Errorf("packet %d: %v", i, err)
			}
			if c != old {
				c.Close()
			}
			sent.Add(1)
		}
	})
	goals := []Goal{threePolicies(), twoUplinks(), manyUplinks(20, 5)}
	goals[0].Lost, goals[0].Uplinks[0].SNATExcept = [2][]Pair{}, nil
	applied := 0
	for sent.Load() < perSecond*seconds-100 && !t.Failed() {
		l.goal = goals[applied%len(goals)]
		l.apply()
		applied++
	}
	sender.Wait()
	until(t, "the last packets", func() bool { return r.n.Load() == perSecond*seconds })
	t.Logf("%d reloads, %d packets, none lost", applied, r.n.Load())
}
