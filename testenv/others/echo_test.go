package others

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/traffic"
)

// serve answers what is sent to an address in a namespace by the same.
func serve(t *testing.T, ns *netns.NS, at netip.AddrPort) {
	t.Helper()
	e, err := traffic.ServeEcho(ns, at.Port(), at.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
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
