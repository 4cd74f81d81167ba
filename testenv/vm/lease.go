package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
)

// Provider is a DHCP server (RFC 2131) for the one customer on a link: it always offers
// the same address.
type Provider struct {
	conn  net.PacketConn
	done  sync.WaitGroup
	lease Lease
	acks  atomic.Int64
}

// Lease is what a provider offers.
type Lease struct {
	Address, Router netip.Addr
	Bits            int           // of the subnet
	Time            time.Duration // of the lease
	Renew           time.Duration // after which clients renew it
}

// The messages of DHCP, and the options that are used here.
const (
	discover, offer, request, ack = 1, 2, 3, 5

	optMask, optRouter, optDNS  = 1, 3, 6
	optTime, optType, optServer = 51, 53, 54
	optRenew, optRebind         = 58, 59
	optEnd                      = 255

	optionsAt = 240 // the fixed part and the magic number
)

// Provide serves a lease on a link in a namespace.
func Provide(ns *netns.NS, link string, lease Lease) (*Provider, error) {
	conn, err := ns.ListenPacket("udp4", "0.0.0.0:67")
	if err != nil {
		return nil, fmt.Errorf("vm: DHCP: %w", err)
	}
	if err := serveOn(conn.(*net.UDPConn), link); err != nil {
		conn.Close()
		return nil, fmt.Errorf("vm: DHCP on %s: %w", link, err)
	}
	p := &Provider{conn: conn, lease: lease}
	p.done.Go(p.serve)
	return p, nil
}

// serveOn binds a socket to a link. Broadcasts are allowed: Go's UDP sockets are made
// so.
func serveOn(conn *net.UDPConn, link string) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), link) })
	return errors.Join(failed, err)
}

// Close ends the server.
func (p *Provider) Close() {
	p.conn.Close()
	p.done.Wait()
}

// Acks is how many leases were given or renewed.
func (p *Provider) Acks() int64 { return p.acks.Load() }

func (p *Provider) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < optionsAt {
			continue
		}
		reply, kind := p.reply(buf[:n])
		if reply == nil {
			continue
		}
		to := &net.UDPAddr{IP: net.IPv4bcast, Port: 68}
		if ip := from.(*net.UDPAddr).IP; !ip.IsUnspecified() {
			to.IP = ip // a renewal
		}
		if kind == ack {
			p.acks.Add(1)
		}
		_, _ = p.conn.WriteTo(reply, to) // a link that is down answers nobody
	}
}

// reply answers a message; nil if it needs no answer.
func (p *Provider) reply(m []byte) (reply []byte, kind byte) {
	switch messageType(m[optionsAt:]) {
	case discover:
		kind = offer
	case request:
		kind = ack
	default:
		return nil, 0
	}
	r := make([]byte, optionsAt)
	copy(r, m[:optionsAt]) // the transaction, the flags, the client's address and the magic number
	r[0] = 2               // a reply
	address, router := p.lease.Address.As4(), p.lease.Router.As4()
	copy(r[16:20], address[:])
	copy(r[20:24], router[:])
	option := func(code byte, value []byte) { r = append(append(r, code, byte(len(value))), value...) }
	option(optType, []byte{kind})
	option(optServer, router[:])
	seconds := func(d time.Duration) []byte { return binary.BigEndian.AppendUint32(nil, uint32(d/time.Second)) }
	option(optTime, seconds(p.lease.Time))
	option(optRenew, seconds(p.lease.Renew))
	option(optRebind, seconds(p.lease.Time*7/8))
	option(optMask, net.CIDRMask(p.lease.Bits, 32))
	option(optRouter, router[:])
	option(optDNS, router[:])
	r = append(r, optEnd)
	if len(r) < 300 { // some clients want as much
		r = append(r, make([]byte, 300-len(r))...)
	}
	return r, kind
}

// messageType finds the type of a message in its options, 0 if it has none.
func messageType(options []byte) byte {
	for len(options) >= 2 && options[0] != optEnd {
		if options[0] == 0 {
			options = options[1:]
			continue
		}
		n := int(options[1])
		if len(options) < 2+n {
			return 0
		}
		if options[0] == optType && n == 1 {
			return options[2]
		}
		options = options[2+n:]
	}
	return 0
}
