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
	// wireguard-go on a gateway names the address and the device of the last answer when it
	// sends, and forgets them only when no answer has come for 15 s.
	{name: "WireGuard: TCP upload inside, on the gateway", promise: goesOn, atGateway: true, start: inTunnel(startUpload)},
	{name: "WireGuard: TCP download inside, on the gateway", promise: goesOn, atGateway: true, start: inTunnel(startDownload)},
}

// The hub of all tunnels of a scene.
const (
	hubName = "hub"
	hubPort = 19999
	// keepalive is the interval, in seconds, at which clients tell the hub where they are,
	// while they have nothing else to say.
	keepalive = 5
)

// inTunnel plays a protocol inside a tunnel of WireGuard in user space, from the client's
// machine to the hub, which is the server's. The session inside is what counts; its family
// is that of the packets outside.
func inTunnel(start func(*stage) error) func(*stage) error {
	return func(s *stage) error {
		hub, err := s.hub()
		if err != nil {
			return err
		}
		own, err := newKey()
		if err != nil {
			return err
		}
		// Each tunnel has a network of its own: else the first one would carry all.
		network := netip.AddrFrom4([4]byte{10, 9, byte(s.at.Port() - firstPort), 4 * byte(s.family)})
		far := network.Next()
		near := far.Next()
		err = s.runIn(s.server, fmt.Sprintf("wg set %[1]s peer %[2]s allowed-ips %[3]s/32; ip address add %[4]s/30 dev %[1]s",
			hubName, encode(own.PublicKey().Bytes()), near, far))
		if err != nil {
			return err
		}
		name := fmt.Sprintf("wg%d-%d", s.at.Port(), s.family)
		err = s.tunnelEnd(s.client, name, fmt.Sprintf("[Interface]\nPrivateKey = %s\n"+
			"[Peer]\nPublicKey = %s\nEndpoint = %s\nAllowedIPs = %s/32\nPersistentKeepalive = %d\n",
			encode(own.Bytes()), encode(hub.Bytes()), netip.AddrPortFrom(s.at.Addr(), hubPort), far, keepalive))
		if err != nil {
			return err
		}
		if err := s.runIn(s.client, fmt.Sprintf("ip address add %s/30 dev %s", near, name)); err != nil {
			return err
		}
		s.at = netip.AddrPortFrom(far, s.at.Port())
		return start(s)
	}
}

// hub returns the public key of the scene's hub, which it starts the first time.
func (s *stage) hub() (*ecdh.PublicKey, error) {
	if s.scene.hub != nil {
		return s.scene.hub, nil
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("[Interface]\nPrivateKey = %s\nListenPort = %d\n", encode(key.Bytes()), hubPort)
	if err := s.tunnelEnd(s.server, hubName, config); err != nil {
		return nil, err
	}
	s.scene.hub = key.PublicKey()
	return s.scene.hub, nil
}

// tunnelEnd makes the interface of one end of tunnels.
func (s *stage) tunnelEnd(ns *netns.NS, name, config string) error {
	if err := s.keep(ns, "exec wireguard-go --foreground "+name); err != nil {
		return err
	}
	// wg(8) deletes a socket at which nobody listens yet.
	return s.runIn(ns, fmt.Sprintf(`for i in $(seq 1000); do test ! -S /var/run/wireguard/%[1]s.sock || break; sleep 0.02; done
wg setconf %[1]s /dev/stdin <<'END'
%[2]sEND
ip link set %[1]s mtu 1380 up`, name, config))
}

func newKey() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

func encode(key []byte) string { return base64.StdEncoding.EncodeToString(key) }
