package others

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// An OpenVPN server on the gateway listens at no address in particular, without
// multihome. A client asks it by lte, which a policy of another client uses and fiber
// does not carry: it is answered from there, in either family, while fiber is lost, and
// again when lte is back.
func TestOpenVPNServer(t *testing.T) {
	for family, at := range map[string]func(lab.Uplink) netip.Addr{
		"udp4": func(u lab.Uplink) netip.Addr { return u.Address4 }, "udp6": func(u lab.Uplink) netip.Addr { return u.Address6 },
	} {
		needsPrograms(t, family, func(t *testing.T) {
			opts := masqueraded
			opts.Clients = 2
			h := newHouse(t, opts, guests)
			far, v := newView(t, h.Internet), newView(t, h.Gateway)
			certify(v, far)
			const common = "openvpn --dev tun0 --tls-version-min 1.2 --keepalive 1 10 "
			v.start("server", common+"--proto "+family+" --port 1194 --float --ifconfig 10.9.0.1 10.9.0.2 --tls-server --dh none --cert /etc/vpn/server.crt --key /etc/vpn/server.key --peer-fingerprint "+fingerprint(v, "client"))
			p := h.parted()
			h.Start()
			h.Await("fiber to carry, and all to be up", lab.Settled)
			c := far.start("client", common+fmt.Sprintf("--proto %s --remote %s 1194 --nobind --ifconfig 10.9.0.2 10.9.0.1 --tls-client --cert /etc/vpn/client.crt --key /etc/vpn/client.key --peer-fingerprint %s", family, at(h.Uplinks[lte]), fingerprint(v, "server")))
			site := netip.MustParseAddr("10.9.0.1")
			h.Until("the tunnel", func() bool { return strings.Contains(c.log(), "Initialization Sequence Completed") })
			server, err := traffic.Serve(h.Gateway, site)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			p.staysInside(site, netip.MustParseAddr("10.9.0.2"))
		})
	}
}

// certify makes keys for a server and a client of OpenVPN.
func certify(v, far *view) {
	v.t.Helper()
	v.sh(`mkdir -p /etc/vpn; cd /etc/vpn; for who in server client; do
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=$who -keyout $who.key -out $who.crt
	done`)
	for _, file := range []string{"server.key", "server.crt", "client.key", "client.crt"} {
		far.write("/etc/vpn/"+file, v.sh("cat /etc/vpn/"+file))
	}
}

func fingerprint(v *view, who string) string {
	v.t.Helper()
	_, after, _ := strings.Cut(v.sh("openssl x509 -noout -fingerprint -sha256 -in /etc/vpn/"+who+".crt"), "=")
	return strings.TrimSpace(after)
}

// staysInside checks that what a peer sends through a tunnel of its own to the gateway by
// lte is answered, seen from an address, while the uplinks fail and return.
func (p *parted) staysInside(to, from netip.Addr) {
	p.t.Helper()
	inner := p.session(p.Internet, traffic.UDPSessions, to)
	p.goFrom(from, inner)
	p.goTheirWays(touch{}, fiber, lte)
	began := time.Now()
	f := p.Break(fiber, "black-hole")
	p.goTheirWays(touch{}, lte, lte)
	p.goFrom(from, inner)
	p.Mend(f)
	p.Await("fiber to carry again", lab.Settled)
	p.goFrom(from, inner)
	p.undisturbed("fiber's loss", began, inner)
	f = p.Break(lte, "black-hole")
	p.goTheirWays(touch{}, fiber, fiber)
	p.silent(inner)
	p.Mend(f)
	p.Await("lte to be up again", lab.Settled)
	p.goFrom(from, inner)
	p.Stop()
	p.Start()
	p.Await("fiber to carry after a restart", lab.Settled)
	p.goFrom(from, inner)
	p.goTheirWays(touch{}, fiber, lte)
	if n := len(p.repairs()); n > 0 {
		p.t.Errorf("%d repairs: %+v", n, p.repairs()[0].Detail)
	}
}

// A peer begins a tunnel of IPsec by lte to strongSwan on the gateway, before our start
// and beside us: the LAN answers through it while fiber is lost, and again when lte is
// back.
func TestStrongSwanResponds(t *testing.T) {
	needsPrograms(t, "by lte", func(t *testing.T) {
		opts := masqueraded
		opts.Clients = 2
		h := newHouse(t, opts, guests)
		h.at(h.Internet, "ip addr add 198.18.0.20/32 dev lo; ip addr add 10.99.0.1/32 dev lo")
		server, err := traffic.Serve(h.Client, netip.MustParseAddr("192.168.10.10"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		far, v := newView(t, h.Internet), newView(t, h.Gateway)
		v.charon("near", "far", "remote_addrs = %any", "192.168.10.0/24", "10.99.0.0/24", "")
		far.charon("far", "near", "local_addrs = 198.18.0.20\n\t\tremote_addrs = "+h.Uplinks[lte].Address4.String(), "10.99.0.0/24", "192.168.10.0/24", "")
		p := h.parted()
		h.Start()
		h.Await("fiber to carry, and all to be up", lab.Settled)
		if out, err := far.Run("timeout 20 swanctl --initiate --child net"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		p.staysInside(netip.MustParseAddr("192.168.10.10"), netip.MustParseAddr("10.99.0.1"))
	})
}
