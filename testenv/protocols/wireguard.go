package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"

	"swerve/testenv/netns"
)

var tunnelProtocols = []protocol{
	{name: "WireGuard: TCP upload inside", promise: goesOn, start: inTunnel(startUpload)},
	{name: "WireGuard: TCP download inside", promise: goesOn, start: inTunnel(startDownload)},
}

// firstHub is the port of the first hub.
const firstHub = 21000

// inTunnel plays a protocol inside a tunnel of WireGuard in user space, from the client's
// machine to a hub in the internet that is the server's. What counts is the session inside.
func inTunnel(start func(*stage) error) func(*stage) error {
	return func(s *stage) error {
		n := s.at.Port() - firstPort
		// A hub has its port in both families, so each needs one of its own.
		outer := netip.AddrPortFrom(s.at.Addr(), firstHub+2*n+uint16(s.family))
		inside := func(host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 9 + byte(s.family), byte(n), host}) }
		hub, err := newKey()
		if err != nil {
			return err
		}
		own, err := newKey()
		if err != nil {
			return err
		}
		err = s.tunnelEnd(s.server, inside(1), fmt.Sprintf("[Interface]\nPrivateKey = %s\nListenPort = %d\n[Peer]\nPublicKey = %s\nAllowedIPs = %s/32\n",
			encode(hub.Bytes()), outer.Port(), encode(own.PublicKey().Bytes()), inside(2)))
		if err != nil {
			return err
		}
		err = s.tunnelEnd(s.client, inside(2), fmt.Sprintf("[Interface]\nPrivateKey = %s\n[Peer]\nPublicKey = %s\nEndpoint = %s\nAllowedIPs = %s/32\nPersistentKeepalive = %d\n",
			encode(own.Bytes()), encode(hub.PublicKey().Bytes()), outer, inside(1), keepalive))
		if err != nil {
			return err
		}
		s.at = netip.AddrPortFrom(inside(1), s.at.Port())
		return start(s)
	}
}

// keepalive is the interval, in seconds, at which clients of a tunnel say where they are,
// while they have nothing else to say.
const keepalive = 5

// tunnelEnd makes one end of a tunnel: an interface with an address inside it.
func (s *stage) tunnelEnd(ns *netns.NS, inside netip.Addr, config string) error {
	name := fmt.Sprintf("wg%d-%d", s.at.Port(), s.family)
	if err := s.keep(ns, "exec wireguard-go --foreground "+name); err != nil {
		return err
	}
	return s.runIn(ns, fmt.Sprintf(`until wg show %[1]s >/dev/null 2>&1; do sleep 0.02; done
wg setconf %[1]s /dev/stdin <<'END'
%[2]sEND
ip address add %[3]s/24 dev %[1]s; ip link set %[1]s mtu 1380 up`, name, config, inside))
}

func newKey() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

func encode(key []byte) string { return base64.StdEncoding.EncodeToString(key) }
