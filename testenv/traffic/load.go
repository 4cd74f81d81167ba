package traffic

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
)

// Load is TCP connections that transfer as much as the path allows.
type Load struct {
	listener net.Listener
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	received atomic.Uint64

	mu      sync.Mutex
	conns   []net.Conn
	stopped bool
	err     error
}

// LoadOptions say what a load is.
type LoadOptions struct {
	Download    bool   // the server sends; otherwise the client
	Connections int    // 0: 1
	Congestion  string // the sender's congestion control; empty: the kernel's default
}

// StartLoad connects a client to a server at an address of the server's namespace, on
// a port of its own, and transfers until Stop.
func StartLoad(client, server *netns.NS, to netip.Addr, opts LoadOptions) (*Load, error) {
	listener, err := server.Listen("tcp", netip.AddrPortFrom(to, 0).String())
	if err != nil {
		return nil, fmt.Errorf("traffic: start a load to %s: %w", to, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{listener: listener, cancel: cancel}
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	for range max(1, opts.Connections) {
		if err := l.connect(ctx, client, netip.AddrPortFrom(to, port), opts); err != nil {
			l.Stop()
			return nil, fmt.Errorf("traffic: start a load to %s: %w", to, err)
		}
	}
	return l, nil
}

// connect makes one connection, and starts to transfer.
func (l *Load) connect(ctx context.Context, client *netns.NS, to netip.AddrPort, opts LoadOptions) error {
	dialling, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	sender, err := client.DialTCP(dialling, to)
	if err != nil {
		return err
	}
	accepted, err := l.listener.Accept()
	if err != nil {
		sender.Close()
		return err
	}
	receiver := accepted.(*net.TCPConn)
	l.mu.Lock()
	l.conns = append(l.conns, sender, receiver)
	l.mu.Unlock()
	if opts.Download {
		sender, receiver = receiver, sender
	}
	if err := setCongestion(sender, opts.Congestion); err != nil {
		return err
	}
	l.tasks.Go(func() { l.transfer(sender.Write) })
	l.tasks.Go(func() {
		l.transfer(func(b []byte) (int, error) {
			n, err := receiver.Read(b)
			l.received.Add(uint64(n))
			return n, err
		})
	})
	return nil
}

func setCongestion(c *net.TCPConn, name string) error {
	if name == "" {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) {
		result = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	})
	if err == nil && result != nil {
		err = fmt.Errorf("congestion control %s: %w", name, result)
	}
	return err
}

// transfer repeats an operation until it fails.
func (l *Load) transfer(do func([]byte) (int, error)) {
	b := make([]byte, 16<<10)
	for {
		if _, err := do(b); err != nil {
			l.mu.Lock()
			if !l.stopped && l.err == nil {
				l.err = err
			}
			l.mu.Unlock()
			return
		}
	}
}

// Received returns how many bytes arrived so far.
func (l *Load) Received() uint64 { return l.received.Load() }

// Err returns why the first of the connections ended by itself; nil if none did.
func (l *Load) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Stop ends the connections by resets, so that nothing of them is left in a queue's
// sender. A second Stop does nothing.
func (l *Load) Stop() {
	l.mu.Lock()
	l.stopped = true
	for _, c := range l.conns {
		_ = c.(*net.TCPConn).SetLinger(0) // at worst the rest is sent
		c.Close()
	}
	l.conns = nil
	l.mu.Unlock()
	l.cancel()
	l.listener.Close()
	l.tasks.Wait()
}
