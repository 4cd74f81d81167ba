package others

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// wg-quick takes all traffic, with WireGuard in user space where the kernel has none: it
// starts and ends beside us, a failover of the uplinks beneath it keeps the tunnel, and its
// end, which deletes a rule of ours with its own, leaves all as it was. Where the kernel
// filters reverse paths strictly the tunnel carries as well, and the status says what its
// rule does to the uplinks.
func TestWGQuick(t *testing.T) {
	for name, filter := range map[string]int{"a full tunnel": 0, "strict rp_filter": 1} {
		needsPrograms(t, name, func(t *testing.T) { playWGQuick(t, filter) })
	}
}

func playWGQuick(t *testing.T, filter int) {
	opts := masqueraded
	opts.RPFilter = filter
	h := newHouse(t, opts, quick)
	h.at(h.Internet, "ip addr add 198.18.0.20/32 dev lo")
	far, v := newView(t, h.Internet), newView(t, h.Gateway)
	v.sh("mkdir -p /etc/wireguard; wg genkey >/etc/wireguard/key; wg pubkey </etc/wireguard/key >/etc/wireguard/pub")
	far.sh("mkdir -p /etc/wireguard; wg genkey >/etc/wireguard/key; wg pubkey </etc/wireguard/key >/etc/wireguard/pub")
	read := func(v *view, file string) string { return strings.TrimSpace(v.sh("cat /etc/wireguard/" + file)) }
	far.start("wireguard", "wireguard-go --foreground wg0")
	wait.For(t, "the far end", func() bool { _, err := far.Run("test -S /var/run/wireguard/wg0.sock"); return err == nil })
	far.sh("wg set wg0 listen-port 51820 private-key /etc/wireguard/key peer " + read(v, "pub") + " allowed-ips 10.9.0.2/32,fd09::2/128; ip addr add 10.9.0.1/24 dev wg0; ip -6 addr add fd09::1/64 dev wg0; ip link set wg0 mtu 1380 up")
	v.write("/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = "+read(v, "key")+"\nAddress = 10.9.0.2/24, fd09::2/64\nMTU = 1380\n"+
		"PostUp = nft 'table inet vpn { chain post { type nat hook postrouting priority srcnat; oifname \"wg0\" masquerade; }; }'\nPostDown = nft delete table inet vpn\n"+
		"[Peer]\nPublicKey = "+read(far, "pub")+"\nEndpoint = 198.18.0.20:51820\nAllowedIPs = 0.0.0.0/0, ::/0\nPersistentKeepalive = 1\n")
	h.Start()
	h.Await("fiber to carry, and all to be up", lab.Settled)
	p := h.clients()
	h.goBy(fiber, p.all()...)
	inside := [2]netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd09::2")}
	byVPN := func() {
		t.Helper()
		for _, f := range failover.Families {
			h.goFrom(inside[f], p.fresh[f])
		}
	}
	const quickly = "export WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go; wg-quick "
	t.Log(v.sh(quickly + "up wg0"))
	byVPN()
	if filter == 1 {
		var told *control.Problem
		h.Until("strict filtering to be told", func() bool { told = h.problem("rp-filter", "wan0, wan1"); return told != nil })
		for range 5 {
			byVPN() // its own packets pass, whatever becomes of the probes
		}
		remedy, _, _ := strings.Cut(told.Remedy, ",")
		h.sh(remedy)
	}
	h.Await("both uplinks to be up beside it", lab.AllUp)
	h.calm("wg-quick", 5*time.Second)
	f := h.Break(fiber, "black-hole")
	h.Await("lte to carry", lab.CarriedBy("lte"))
	byVPN()
	h.Mend(f)
	h.Await("fiber to carry again", lab.Settled)
	byVPN()
	h.Stop()
	byVPN()
	h.Start()
	h.Await("fiber to carry after our start", lab.Settled)
	byVPN()
	before := len(h.repairs())
	v.sh(quickly + "down wg0")
	h.goBy(fiber, p.fresh[:]...)
	h.inPlace("after its end")
	t.Logf("%d repairs by its end", len(h.repairs())-before)
	if n := len(h.repairs()) - before; n > 2 {
		t.Errorf("%d repairs by its end", n)
	}
	h.calm("wg-quick, ended", 3*time.Second)
}

// OpenVPN with redirect-gateway, with def1 and in place of the default route: the LAN goes
// by it, as without us, and by the uplinks when it ends. Its host route ties it to the
// uplink of its start, which the status says while that is down; it comes back with it.
func TestOpenVPN(t *testing.T) {
	for name, redirect := range map[string]string{"def1": "redirect-gateway def1", "in place of the default": "redirect-gateway"} {
		needsPrograms(t, name, func(t *testing.T) {
			h := newHouse(t, masqueraded, quick)
			h.at(h.Internet, "ip addr add 198.18.0.20/32 dev lo")
			far, v := newView(t, h.Internet), newView(t, h.Gateway)
			v.sh(`mkdir -p /etc/vpn; cd /etc/vpn; for who in server client; do
				openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=$who -keyout $who.key -out $who.crt
			done`)
			for _, file := range []string{"server.key", "server.crt", "client.crt"} {
				far.write("/etc/vpn/"+file, v.sh("cat /etc/vpn/"+file))
			}
			fingerprint := func(who string) string {
				_, after, _ := strings.Cut(v.sh("openssl x509 -noout -fingerprint -sha256 -in /etc/vpn/"+who+".crt"), "=")
				return strings.TrimSpace(after)
			}
			far.start("server", "openvpn --dev tun0 --proto udp --local 198.18.0.20 --float --ifconfig 10.9.0.1 10.9.0.2 --tls-server --dh none --cert /etc/vpn/server.crt --key /etc/vpn/server.key --peer-fingerprint "+fingerprint("client")+" --keepalive 1 10")
			h.Start()
			h.Await("fiber to carry, and all to be up", lab.Settled)
			p := h.clients()
			h.goBy(fiber, p.all()...)
			h.sh(`nft 'table inet vpn { chain post { type nat hook postrouting priority srcnat; oifname "tun0" masquerade; }; }'`)
			begin := func() *program {
				return v.start("client", "openvpn --dev tun0 --proto udp --remote 198.18.0.20 --nobind --ifconfig 10.9.0.2 10.9.0.1 --tls-client --cert /etc/vpn/client.crt --key /etc/vpn/client.key --peer-fingerprint "+fingerprint("server")+" --keepalive 1 60 --"+redirect)
			}
			c := begin()
			inside := netip.MustParseAddr("10.9.0.2")
			v4 := p.fresh[failover.IPv4]
			h.goFrom(inside, v4)
			h.goBy(fiber, p.fresh[failover.IPv6])
			h.Await("both uplinks to stay up beside it", lab.AllUp)
			h.calm("OpenVPN", 5*time.Second)
			f := h.Break(fiber, "black-hole")
			h.Await("lte to carry", lab.CarriedBy("lte"))
			h.goBy(lte, p.fresh[failover.IPv6])
			h.Until("the VPN's server to be known as bound to fiber", func() bool {
				p := h.problem("pinned-route", "198.18.0.20")
				return p != nil && p.Severity == control.Info
			})
			h.Mend(f)
			h.Await("fiber to carry again", lab.Settled)
			h.goFrom(inside, v4)
			h.Stop()
			h.goFrom(inside, v4)
			h.Start()
			h.Await("all to be up after our start", lab.AllUp)
			h.goFrom(inside, v4)
			c.stop()
			h.goBy(fiber, v4)
			h.inPlace("after its end")
			h.calm("OpenVPN, ended", 3*time.Second)
			if n := len(h.repairs()); n > 0 {
				t.Errorf("%d repairs: %+v", n, h.repairs()[0].Detail)
			}
		})
	}
}
