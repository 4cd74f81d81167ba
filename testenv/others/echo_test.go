package others

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"swerve/testenv/netns"
)

// serve answers what is sent to an address in a namespace by the same.
func serve(t *testing.T, ns *netns.NS, at netip.AddrPort) {
	t.Helper()
	streams, err := ns.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	packets, err := ns.ListenPacket("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(func() { streams.Close(); packets.Close(); done.Wait() })
	done.Go(func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.Copy(c, c)
			})
		}
	})
	done.Go(func() {
		var buf [64]byte
		for {
			n, from, err := packets.ReadFrom(buf[:])
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = packets.WriteTo(buf[:n], from)
			}
		}
	})
}

// asks asks a service once.
func asks(ns *netns.NS, network string, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var c net.Conn
	err := ns.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, to.String())
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	var buf [8]byte
	if n, err := c.Read(buf[:]); err != nil || n != 1 {
		return fmt.Errorf("%d bytes: %w", n, err)
	}
	return nil
}
