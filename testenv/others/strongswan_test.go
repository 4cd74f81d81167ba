package others

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// charon runs strongSwan's daemon in a place, with one connection. ESP is in user space,
// since the kernel may have none, so its routes in table 220 lead to a tunnel device.
func (v *view) charon(own, peer, address, ownNet, peerNet, settings string) *program {
	v.t.Helper()
	v.write("/etc/strongswan.conf", fmt.Sprintf(`charon-systemd {
	load = random nonce gmp aes sha1 sha2 hmac kdf pem x509 pubkey socket-default kernel-libipsec kernel-netlink vici updown
	retransmit_tries = 3
	retransmit_timeout = 0.5
	retransmit_base = 1.2
	retry_initiate_interval = 1
	%s
	filelog {
		out {
			path = /run/charon.log
			flush_line = yes
			default = 1
		}
	}
}
`, settings))
	v.write("/etc/swanctl/conf.d/site.conf", fmt.Sprintf(`connections {
	site {
		version = 2
		%s
		mobike = no
		encap = yes
		proposals = aes128-sha256-modp2048
		dpd_delay = 1s
		keyingtries = 0
		local {
			auth = psk
			id = %s
		}
		remote {
			auth = psk
			id = %s
		}
		children {
			net {
				local_ts = %s
				remote_ts = %s
				esp_proposals = aes128-sha256
				dpd_action = restart
				close_action = start
			}
		}
	}
}
secrets {
	ike-1 {
		secret = "known to both"
	}
}
`, address, own, peer, ownNet, peerNet))
	p := v.start("charon", "charon-systemd")
	v.t.Cleanup(func() {
		if v.t.Failed() {
			out, _ := v.Run("tail -n 60 /run/charon.log; swanctl --list-sas 2>/dev/null; ip route show table 220")
			v.t.Logf("charon of %s:\n%s", own, out)
		}
	})
	wait.For(v.t, "charon", func() bool { _, err := v.Run("timeout 5 swanctl --load-all"); return err == nil })
	return p
}

// strongSwan keeps a tunnel from the LAN to a site in the internet, over a failover too:
// its packets go on by the uplink that carries, with its address, and the peer follows them.
// With MOBIKE the peer would follow only what charon announces; but that is answered by the
// new way, finds nothing changed, and announces nothing. The LAN's addresses stay as they
// are in the tunnel, and what is not for it goes by the uplinks. It is all the same
// whether charon looks at the uplinks' own tables or at the ladder alone.
func TestStrongSwan(t *testing.T) {
	for name, settings := range map[string]string{"as it comes": "", "by the ladder": "ignore_routing_tables = 5301 5302"} {
		needsPrograms(t, name, func(t *testing.T) {
			h := newHouse(t, masqueraded, quick)
			h.at(h.Internet, "ip addr add 198.18.0.20/32 dev lo; ip addr add 10.99.0.1/32 dev lo")
			site := netip.MustParseAddr("10.99.0.1")
			server, err := traffic.Serve(h.Internet, site)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			far, v := newView(t, h.Internet), newView(t, h.Gateway)
			far.charon("far", "near", "local_addrs = 198.18.0.20", "10.99.0.0/24", "192.168.10.0/24", "")
			h.Start()
			h.Await("fiber to carry, and all to be up", lab.Settled)
			p := h.clients()
			h.goBy(fiber, p.all()...)
			c := v.charon("near", "far", "remote_addrs = 198.18.0.20", "192.168.10.0/24", "10.99.0.0/24", settings)
			if out, err := v.Run("timeout 20 swanctl --initiate --child net"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			inner := h.session(h.Client, traffic.UDPSessions, site)
			client := netip.MustParseAddr("192.168.10.10")
			h.goFrom(client, inner)
			h.goBy(fiber, p.all()...)
			h.calm("strongSwan", 5*time.Second)
			f := h.Break(fiber, "black-hole")
			h.goBy(lte, p.fresh[:]...)
			h.goFrom(client, inner)
			sas, _ := v.Run("timeout 5 swanctl --list-sas | grep local")
			t.Logf("%s: the tunnel carries again after %v: %s", name, time.Since(f.Onset).Round(100*time.Millisecond), sas)
			h.Mend(f)
			h.Await("fiber to carry again", lab.Settled)
			h.goFrom(client, inner)
			h.Stop()
			h.Start()
			h.Await("fiber to carry after our start", lab.Settled)
			h.goFrom(client, inner)
			c.stop()
			h.goBy(fiber, p.fresh[:]...)
			h.inPlace("without strongSwan")
			if n := len(h.repairs()); n > 0 {
				t.Errorf("%d repairs: %+v", n, h.repairs()[0].Detail)
			}
		})
	}
}
