package vm

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
)

// peer is the far end of the gateway's WireGuard tunnel, in the internet. It runs in user
// space, for machines whose kernel has no WireGuard.
type peer struct {
	ns   *netns.NS
	link string
}

// The tunnel's network, and the peer in it.
var (
	tunnelPeer    = netip.MustParseAddr("10.99.0.1")
	tunnelGateway = netip.MustParseAddr("10.99.0.2")
)

// newPeer starts a peer that knows the gateway and its LAN, and writes files for
// wg-quick(8) in the guest: full, which leads everything into the tunnel, and part.
func (s *site) newPeer() *peer {
	s.t.Helper()
	w := &peer{ns: s.lab.Internet, link: fmt.Sprintf("wg%d", os.Getpid())}
	keys := s.t.TempDir()
	key := func(name string) (private, public string) {
		private = s.host("wg genkey")
		if err := os.WriteFile(filepath.Join(keys, name), []byte(private), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return private, s.host("wg pubkey <" + filepath.Join(keys, name))
	}
	_, peers := key("peer")
	private, gateways := key("gateway")
	daemon := w.ns.Command("wireguard-go", "-f", w.link)
	if err := w.ns.Start(daemon); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	s.await("the peer's link", func() bool {
		_, err := w.ns.Run("wg", "show", w.link)
		return err == nil
	})
	for _, command := range []string{
		fmt.Sprintf("wg set %s listen-port 51820 private-key %s peer %s allowed-ips %s/32,%s,%s", w.link, filepath.Join(keys, "peer"), gateways, tunnelGateway, lab.LAN4, lab.LAN6),
		fmt.Sprintf("ip addr add %s/24 dev %s", tunnelPeer, w.link),
		"ip link set up dev " + w.link,
		fmt.Sprintf("ip route add %s dev %s", lab.LAN4, w.link),
	} {
		if _, err := w.ns.Run("sh", "-c", command); err != nil {
			s.t.Fatal(err)
		}
	}
	server, err := traffic.Serve(w.ns, tunnelPeer)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(server.Close)
	for name, networks := range map[string]string{"full": "0.0.0.0/0, ::/0", "part": "10.99.0.0/24"} {
		s.run(fmt.Sprintf(`umask 077 && mkdir -p /etc/wireguard && cat >/etc/wireguard/%s.conf <<'END'
[Interface]
PrivateKey = %s
Address = %s/24, fd00:99::2/64
[Peer]
PublicKey = %s
Endpoint = %s:51820
AllowedIPs = %s
END`, name, private, tunnelGateway, peers, lab.Server4, networks))
	}
	return w
}

// host runs a shell command on this machine.
func (s *site) host(command string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "sh", "-c", command).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// endpoint is the gateway's address as the peer sees it now.
func (w *peer) endpoint() netip.Addr {
	out, _ := w.ns.Run("wg", "show", w.link, "endpoints")
	if words := strings.Fields(out); len(words) == 2 {
		if at, err := netip.ParseAddrPort(words[1]); err == nil {
			return at.Addr()
		}
	}
	return netip.Addr{}
}

// throughTunnel waits until a request of the LAN's client, sent after an instant, was
// answered through the tunnel, where nothing translates its address.
func (s *site) throughTunnel(c *traffic.Client, since time.Time) {
	s.t.Helper()
	client, _, _ := lab.ClientAddresses(0)
	s.await("the LAN to be answered through the tunnel", func() bool { return answeredBy(c, since, client) })
}

// moves has the tunnel's uplink lost, and waits until the tunnel goes on by the next one.
// It goes on there when the first one is back.
func (s *site) moves(w *peer, c *traffic.Client) {
	s.t.Helper()
	if got, want := w.endpoint(), s.lab.Uplinks[lab.Fiber].Public4; got != want {
		s.t.Errorf("the tunnel comes by %v before the outage, want %v", got, want)
	}
	lte := s.lab.Uplinks[lab.LTE].Public4
	var moved time.Time
	onset, mend := s.breakFiber(func(uplink int) {
		if uplink == lab.LTE {
			s.soon(15*time.Second, "the tunnel to come by the other uplink", func() bool { return w.endpoint() == lte })
			moved = time.Now()
			s.throughTunnel(c, moved)
		}
	})
	s.t.Logf("the tunnel was seen to have moved %v after the onset; LAN: %v; %s", moved.Sub(onset).Round(time.Millisecond), c.Measure(onset, time.Now()), gaps(c, onset))
	mend()
}

// fullTunnel has all traffic of the LAN in the tunnel, by rules that stood before the
// first start: it stays there, over an outage, an end and a start.
func (s *site) fullTunnel(w *peer, c *traffic.Client) {
	client, _, _ := lab.ClientAddresses(0)
	s.throughTunnel(c, time.Now())
	s.moves(w, c)
	begin := time.Now()
	s.run("systemctl stop swerve")
	s.throughTunnel(c, time.Now())
	s.run("swerve teardown")
	s.throughTunnel(c, time.Now())
	s.run("systemctl start swerve")
	s.settled()
	s.throughTunnel(c, time.Now())
	s.t.Logf("over an end and a start: %v; %s", c.Measure(begin, time.Now()), gaps(c, begin))
	for _, r := range c.Log() {
		if r.Via.IsValid() && r.Via != client {
			s.t.Errorf("the LAN was seen as %v, outside of the tunnel", r.Via)
			break
		}
	}
}

// laterTunnel has wg-quick(8) lead everything into the tunnel while Swerve runs, and end
// that.
func (s *site) laterTunnel(w *peer) {
	const ours = "ip rule show proto 83; ip -6 rule show proto 83"
	s.await("the copies of the tunnel's rules to be gone", func() bool { return !strings.Contains(s.try(ours), "goto") })
	before := s.run(ours)
	s.run("wg-quick up full")
	c := s.start(traffic.UDPStream, lab.Server4, 50)
	s.throughTunnel(c, time.Now())
	s.moves(w, c)
	c.Stop()
	s.run("wg-quick down full")
	s.settled()
	if !s.soon(20*time.Second, "our rules to be what they were", func() bool { return s.try(ours) == before }) {
		s.t.Logf("before:\n%s\nafter:\n%s", before, s.try(ours))
	}
}

// tunnel has a tunnel to one network, which other traffic does not use.
func (s *site) tunnel(w *peer) {
	s.run("wg-quick up part")
	defer s.try("wg-quick down part")
	c := s.start(traffic.UDPStream, tunnelPeer, 50)
	s.throughTunnel(c, time.Now())
	s.moves(w, c)
	c.Stop()
}
