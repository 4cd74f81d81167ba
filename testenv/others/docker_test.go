package others

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// container is a namespace on docker0, as a container has one.
func (h *house) container(bridge, port, address, via string) *netns.NS {
	h.t.Helper()
	ns := netns.New(h.t)
	if err := netns.Veth(h.Gateway, port, ns, "eth0"); err != nil {
		h.t.Fatal(err)
	}
	h.sh(fmt.Sprintf("ip link set %s master %s; ip link set %s up", port, bridge, port))
	h.at(ns, fmt.Sprintf("ip addr add %s/16 dev eth0; ip link set eth0 up; ip route add default via %s", address, via))
	return ns
}

// dockerd starts, makes networks, restarts and ends beside us, with its bridges, its
// policy of dropping in forward, its translation and a published port. Containers and the
// LAN go on by the uplinks, over a failover too, and a port is answered by the uplink by
// which it was asked. Containers are namespaces on its bridge, since there may be no
// cgroups to run any.
func TestDocker(t *testing.T) {
	needsPrograms(t, "with iptables", func(t *testing.T) {
		h := newHouse(t, masqueraded, quick)
		v := newView(t, h.Gateway)
		h.Start()
		h.Await("fiber to carry, and all to be up", lab.Settled)
		p := h.clients()
		h.goBy(fiber, p.all()...)
		dockerd := func() *program {
			d := v.start("dockerd", "dockerd --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs")
			wait.For(t, "dockerd", func() bool { _, err := v.Run("docker network ls"); return err == nil })
			return d
		}
		v.sh("mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/unified; for c in devices memory cpu; do mkdir -p /sys/fs/cgroup/$c; mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c; done || true")
		v.sh("iptables -N DOCKER-USER; iptables -A DOCKER-USER -i lan0 -j ACCEPT; iptables -A DOCKER-USER -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
		began := time.Now()
		d := dockerd()
		h.goBy(fiber, p.all()...)
		h.undisturbed("Docker's start", began, p.of(failover.IPv6)...)
		if rules := v.sh("iptables-save"); !strings.Contains(rules, "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE") {
			t.Errorf("Docker's rules:\n%s", rules)
		}
		// A published port as Docker writes it.
		v.sh(`iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:7000
			iptables -t nat -A DOCKER ! -i docker0 -p udp -m udp --dport 8081 -j DNAT --to-destination 172.17.0.2:7000
			iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 7000 -j ACCEPT
			iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p udp -m udp --dport 7000 -j ACCEPT`)
		c := h.container("docker0", "veth7", "172.17.0.2", "172.17.0.1")
		serve(t, c, netip.MustParseAddrPort("0.0.0.0:7000"))
		inner := h.session(c, traffic.UDPSessions, lab.Server4)
		stream := h.session(c, traffic.TCPStream, lab.Server4)
		h.goBy(fiber, inner, stream)
		h.published()
		h.calm("Docker", 3*time.Second)
		v.sh("docker network create --subnet 172.30.0.0/16 more; docker network rm more")
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, inner, stream, p.fresh[failover.IPv4], p.fresh[failover.IPv6])
		d.stop()
		d = dockerd()
		h.goBy(lte, inner, p.fresh[failover.IPv4])
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		h.goBy(fiber, inner, p.fresh[failover.IPv4])
		d.stop()
		h.goBy(fiber, inner, p.fresh[failover.IPv4])
		h.Stop()
		h.Start()
		h.Await("fiber to carry beside Docker's rules", lab.Settled)
		h.goBy(fiber, inner, p.fresh[failover.IPv4])
		if n := len(h.repairs()); n > 0 {
			t.Errorf("%d repairs beside Docker: %+v", n, h.repairs()[0].Detail)
		}
		h.inPlace("beside Docker")
	})
}

// dockerNFT are the rules that Docker 29 writes with its backend for nftables, as far as
// packets of others meet them: a table of its own in each family.
const dockerNFT = `table ip docker-bridges {
	map filter-forward-in-jumps { type ifname : verdict; elements = { "docker0" : jump filter-forward-in__docker0 }; }
	map filter-forward-out-jumps { type ifname : verdict; elements = { "docker0" : jump filter-forward-out__docker0 }; }
	map nat-postrouting-out-jumps { type ifname : verdict; }
	map nat-postrouting-in-jumps { type ifname : verdict; elements = { "docker0" : jump nat-postrouting-in__docker0 }; }
	chain filter-FORWARD { type filter hook forward priority filter; policy accept
		oifname vmap @filter-forward-in-jumps
		iifname vmap @filter-forward-out-jumps
	}
	chain filter-forward-in__docker0 {
		ct state established,related counter accept
		iifname "docker0" counter accept
		ip daddr 172.17.0.2 meta l4proto { tcp, udp } th dport 7000 counter accept
		counter drop
	}
	chain filter-forward-out__docker0 {
		ct state established,related counter accept
		counter accept
	}
	chain raw-PREROUTING { type filter hook prerouting priority raw; policy accept
		ip daddr 172.17.0.2 iifname != "docker0" counter drop
	}
	chain nat-OUTPUT { type nat hook output priority -100; policy accept
		ip daddr != 127.0.0.0/8 fib daddr type local counter jump nat-prerouting-and-output
	}
	chain nat-PREROUTING { type nat hook prerouting priority dstnat; policy accept
		fib daddr type local counter jump nat-prerouting-and-output
	}
	chain nat-prerouting-and-output {
		meta l4proto { tcp, udp } th dport 8081 counter dnat to 172.17.0.2:7000
	}
	chain nat-POSTROUTING { type nat hook postrouting priority srcnat; policy accept
		iifname vmap @nat-postrouting-in-jumps
		oifname vmap @nat-postrouting-out-jumps
	}
	chain nat-postrouting-in__docker0 {
		oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade
	}
}
`

// The rules of Docker 29 with its backend for nftables, which drops its table and makes it
// anew with each start: containers and published ports go on by the uplinks.
func TestDockerWithNFTables(t *testing.T) {
	t.Parallel()
	h := newHouse(t, masqueraded, quick)
	h.sh("ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up")
	c := h.container("docker0", "veth7", "172.17.0.2", "172.17.0.1")
	serve(t, c, netip.MustParseAddrPort("0.0.0.0:7000"))
	h.Start()
	h.Await("fiber to carry, and all to be up", lab.Settled)
	p := h.clients()
	load := func() {
		cmd := h.Gateway.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader("table ip docker-bridges\ndelete table ip docker-bridges\n" + dockerNFT)
		if err := h.Gateway.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	load()
	inner, stream := h.session(c, traffic.UDPSessions, lab.Server4), h.session(c, traffic.TCPStream, lab.Server4)
	all := append(p.all(), inner, stream)
	h.goBy(fiber, all...)
	began := time.Now()
	for range 3 {
		load()
		time.Sleep(300 * time.Millisecond)
	}
	h.goBy(fiber, all...)
	h.undisturbed("three starts of Docker", began, all...)
	h.published()
	f := h.Break(fiber, "black-hole")
	h.goBy(lte, inner, stream, p.fresh[failover.IPv4])
	load()
	h.goBy(lte, inner)
	h.Mend(f)
	h.Await("fiber to carry again", lab.Settled)
	h.inPlace("beside Docker")
	if n := len(h.repairs()); n > 0 {
		t.Errorf("%d repairs", n)
	}
}

// published checks that the container's published port answers by each uplink.
func (h *house) published() {
	h.t.Helper()
	for i, up := range h.Uplinks {
		for _, network := range []string{"tcp", "udp"} {
			if err := wait.Until(h.t.Context(), "the port", func() bool {
				return asks(h.Internet, network, netip.AddrPortFrom(up.Address4, 8081)) == nil
			}); err != nil {
				h.t.Errorf("the published port by uplink %d, %s: %v", i, network, err)
			}
		}
	}
}
