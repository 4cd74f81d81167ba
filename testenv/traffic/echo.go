package traffic

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"swerve/testenv/netns"
)

// Echo answers what is sent to it by the same, over UDP and TCP.
type Echo struct {
	tasks sync.WaitGroup
	mu    sync.Mutex
	open  []io.Closer // nil: closed
}

// ServeEcho answers at addresses of a namespace.
func ServeEcho(ns *netns.NS, port uint16, addrs ...netip.Addr) (*Echo, error) {
	e := &Echo{open: []io.Closer{}}
	for _, a := range addrs {
		if err := e.serve(ns, netip.AddrPortFrom(a, port).String()); err != nil {
			e.Close()
			return nil, fmt.Errorf("traffic: echo: %w", err)
		}
	}
	return e, nil
}

func (e *Echo) serve(ns *netns.NS, at string) error {
	streams, err := ns.Listen("tcp", at)
	if err != nil {
		return err
	}
	e.keep(streams)
	e.tasks.Go(func() { e.accept(streams) })
	packets, err := ns.ListenPacket("udp", at)
	if err != nil {
		return err
	}
	e.keep(packets)
	e.tasks.Go(func() {
		var buf [64]byte
		for {
			n, from, err := packets.ReadFrom(buf[:])
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = packets.WriteTo(buf[:n], from) // a lost answer is a lost answer
			}
		}
	})
	return nil
}

// keep has Close close something; it reports false if that is over.
func (e *Echo) keep(c io.Closer) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == nil {
		c.Close()
		return false
	}
	e.open = append(e.open, c)
	return true
}

func (e *Echo) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil || !e.keep(c) {
			return
		}
		e.tasks.Go(func() { _, _ = io.Copy(c, c) })
	}
}

// Close ends all sessions, too.
func (e *Echo) Close() {
	e.mu.Lock()
	for _, c := range e.open {
		c.Close()
	}
	e.open = nil
	e.mu.Unlock()
	e.tasks.Wait()
}
