package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// flowPause is the interval at which each of many flows sends, and answerWithin how long
// its packets wait for their answers.
const (
	flowPause    = 250 * time.Millisecond
	answerWithin = time.Second
)

// echoPort is where the flows' echo listens.
const echoPort = 7

// flows are many UDP flows of the client, each with a socket of its own, that send in
// turn.
type flows struct {
	conns  []*net.UDPConn
	echo   net.PacketConn
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu sync.Mutex
	// sent has the times of sending by flow and number, answered whether an answer came.
	sent     [][]time.Time
	answered [][]bool
}

// startFlows opens n flows and begins to send.
func startFlows(ctx context.Context, g *lab.Swerve, n int) (*flows, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &flows{cancel: cancel, sent: make([][]time.Time, n), answered: make([][]bool, n)}
	to := netip.AddrPortFrom(lab.Server4, echoPort)
	var err error
	if f.echo, err = g.Internet.ListenPacket("udp4", to.String()); err != nil {
		cancel()
		return nil, err
	}
	f.tasks.Go(f.answer)
	for i := range n {
		conn, err := g.Client.DialUDP(to)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.conns = append(f.conns, conn)
		f.tasks.Go(func() { f.read(i, conn) })
	}
	f.tasks.Go(func() { f.send(ctx) })
	return f, nil
}

// stop ends the flows.
func (f *flows) stop() {
	f.cancel()
	f.echo.Close()
	for _, c := range f.conns {
		c.Close()
	}
	f.tasks.Wait()
}

// answer returns every packet to its sender, until its socket is closed.
func (f *flows) answer() {
	buf := make([]byte, 64)
	for {
		n, from, err := f.echo.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = f.echo.WriteTo(buf[:n], from) // lost answers are counted
	}
}

// send makes the flows send one after the other, evenly over flowPause.
func (f *flows) send(ctx context.Context) {
	begin := time.Now()
	for n := 0; ; n++ {
		due := begin.Add(flowPause * time.Duration(n) / time.Duration(len(f.conns)))
		if wait.Sleep(ctx, time.Until(due)) != nil {
			return
		}
		f.sendOne(n % len(f.conns))
	}
}

func (f *flows) sendOne(i int) {
	f.mu.Lock()
	number := len(f.sent[i])
	f.sent[i] = append(f.sent[i], time.Now())
	f.answered[i] = append(f.answered[i], false)
	f.mu.Unlock()
	_, _ = f.conns[i].Write(binary.BigEndian.AppendUint32(nil, uint32(number))) // lost requests are counted as well
}

// read records the answers of a flow until its socket is closed.
func (f *flows) read(i int, conn *net.UDPConn) {
	buf := make([]byte, 64)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != 4 {
			continue // for example an ICMP error: that packet has no answer
		}
		f.mu.Lock()
		if number := int(binary.BigEndian.Uint32(buf)); number < len(f.answered[i]) {
			f.answered[i][number] = true
		}
		f.mu.Unlock()
	}
}

// allAnswered reports whether each flow has had an answer.
func (f *flows) allAnswered() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, all := range f.answered {
		if len(all) == 0 || !all[0] {
			return false
		}
	}
	return true
}

// mostUnanswered returns how many packets at most one flow sent between two instants that
// had no answer.
func (f *flows) mostUnanswered(after, before time.Time) (most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, all := range f.sent {
		n := 0
		for k, at := range all {
			if !f.answered[i][k] && at.After(after) && at.Before(before) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
