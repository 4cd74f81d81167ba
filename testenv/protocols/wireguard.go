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
	// wireguard-go answers from the address and by the device of the last packet, and forgets
	// them only when no answer has come for 15 s.
	{name: "WireGuard: TCP upload inside, on the gateway", promise: goesOn, atGateway: true, start: inTunnel(startUpload), long: true},
	{name: "WireGuard: TCP download inside, on the gateway", promise: goesOn, atGateway: true, start: inTunnel(startDownload), long: true},
}

// The hub of all tunnels of a scene.
const (
	hubName = "hub"
	hubPort = 19999
	// keepalive is the interval, in seconds, at which clients tell the hub where they are,
	// while they have nothing else to say.
	keepalive = 5
)

var hubInside = netip.MustParseAddr("10.9.0.1")

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
		inside := netip.AddrFrom4([4]byte{10, 9, byte(s.at.Port() - firstPort), 2 + byte(s.family)})
		err = s.runIn(s.server, fmt.Sprintf("wg set %s peer %s allowed-ips %s/32", hubName, encode(own.PublicKey().Bytes()), inside))
		if err != nil {
			return err
		}
		err = s.tunnelEnd(s.client, fmt.Sprintf("wg%d-%d", s.at.Port(), s.family), inside, fmt.Sprintf("[Interface]\nPrivateKey = %s\n"+
			"[Peer]\nPublicKey = %s\nEndpoint = %s\nAllowedIPs = %s/32\nPersistentKeepalive = %d\n",
			encode(own.Bytes()), encode(hub.Bytes()), netip.AddrPortFrom(s.at.Addr(), hubPort), hubInside, keepalive))
		if err != nil {
			return err
		}
		s.at = netip.AddrPortFrom(hubInside, s.at.Port()+uint16(s.family)*familyPorts)
		return start(s)
	}
}

// familyPorts is how far the ports of the families are apart inside tunnels, where both use
// the hub's one address.
const familyPorts = 1000

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
	if err := s.tunnelEnd(s.server, hubName, hubInside, config); err != nil {
		return nil, err
	}
	s.scene.hub = key.PublicKey()
	return s.scene.hub, nil
}

// tunnelEnd makes one end of a tunnel: an interface with an address inside it.
func (s *stage) tunnelEnd(ns *netns.NS, name string, inside netip.Addr, config string) error {
	if err := s.keep(ns, "exec wireguard-go --foreground "+name); err != nil {
		return err
	}
	return s.runIn(ns, fmt.Sprintf(`for i in $(seq 500); do wg show %[1]s >/dev/null 2>&1 && break; sleep 0.02; done
wg setconf %[1]s /dev/stdin <<'END'
%[2]sEND
ip address add %[3]s/16 dev %[1]s; ip link set %[1]s mtu 1380 up`, name, config, inside))
}

func newKey() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

func encode(key []byte) string { return base64.StdEncoding.EncodeToString(key) }
