package others

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// needsPrograms leaves a test out that runs programs, where there are none: they are
// asked for by a flag.
func needsPrograms(t *testing.T, what string, test func(t *testing.T)) {
	t.Helper()
	if *folder == "" {
		return
	}
	t.Run(what, test)
}

// frr runs daemons of FRR in a place, zebra first, with these configurations.
func (v *view) frr(configs map[string]string) (stop func()) {
	v.t.Helper()
	var all []*program
	for _, name := range []string{"zebra", "staticd", "bgpd"} {
		text, ok := configs[name]
		if !ok {
			continue
		}
		v.write("/etc/frr/"+name+".conf", "hostname gw\n"+text)
		all = append(all, v.start(name, "/usr/lib/frr/"+name+" -u frr -g frr -f /etc/frr/"+name+".conf --log stdout --log-level informational"))
		wait.For(v.t, name, func() bool { _, err := v.Run("test -S /run/frr/" + name + ".vty"); return err == nil })
	}
	return func() {
		for _, p := range all {
			p.stop()
		}
	}
}

func (v *view) vtysh(command string) string {
	v.t.Helper()
	return v.sh("vtysh --vty_socket /run/frr -c '" + command + "'")
}

// FRR takes all routes of main for the kernel's, and prefers these to its own. It keeps
// its default routes beside our mirror, from our start to our end, and announces none of
// ours by `redistribute kernel`; when an uplink dies nobody undoes the other's work.
func TestFRR(t *testing.T) {
	needsPrograms(t, "its own defaults", func(t *testing.T) {
		h := newHouse(t, masqueraded, strings.Replace(quick, "interface: wan1", "interface: wan1, gateway: 198.51.100.1", 1))
		h.sh("ip route del default dev wan0; ip route del default dev wan1")
		v := newView(t, h.Gateway)
		peer := newView(t, h.Client)
		peer.frr(map[string]string{"zebra": "", "bgpd": "router bgp 65002\n no bgp ebgp-requires-policy\n neighbor 192.168.10.1 remote-as 65001\n neighbor 192.168.10.1 timers connect 1\n"})
		stop := v.frr(map[string]string{
			"zebra":   "",
			"staticd": "ip route 0.0.0.0/0 203.0.113.1 wan0\nip route 0.0.0.0/0 198.51.100.1 wan1 10\nip route 10.77.0.0/16 Null0\n",
			"bgpd":    "router bgp 65001\n no bgp ebgp-requires-policy\n neighbor 192.168.10.10 remote-as 65002\n neighbor 192.168.10.10 timers connect 1\n address-family ipv4 unicast\n  redistribute kernel\n  redistribute static route-map OWN\n exit-address-family\nip prefix-list OWN seq 5 permit 10.77.0.0/16\nroute-map OWN permit 10\n match ip address prefix-list OWN\n",
		})
		static := func(when string) {
			t.Helper()
			table := v.vtysh("show ip route 0.0.0.0/0")
			main := h.sh("ip -4 route show default proto static; ip -4 route show default proto 196")
			if !strings.Contains(main, "via 203.0.113.1") {
				t.Errorf("%s: FRR's default is not in main:\n%s\nof:\n%s\n%s", when, main, h.sh("ip -4 route show default"), table)
			}
			if got := peer.vtysh("show ip bgp"); strings.Contains(got, "0.0.0.0/0") || !strings.Contains(got, "10.77.0.0/16") {
				t.Errorf("%s: announced:\n%s\n%s", when, got, table)
			}
		}
		if err := wait.Until(t.Context(), "the session", func() bool { return strings.Contains(peer.vtysh("show ip bgp"), "10.77.0.0/16") }); err != nil {
			t.Fatal(err, peer.vtysh("show ip bgp summary"), v.vtysh("show ip bgp summary"), v.vtysh("show ip bgp"), v.vtysh("show running-config"), v.vtysh("show ip route"))
		}
		static("before our start")
		p := h.clients()
		h.goBy(fiber, p.all()...)
		h.Start()
		h.Await("fiber to carry, and all to be up", lab.Settled)
		h.goBy(fiber, p.all()...)
		time.Sleep(2 * time.Second)
		static("after our start")
		h.calm("FRR", 10*time.Second)
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, p.fresh[:]...)
		time.Sleep(2 * time.Second)
		static("while fiber is down")
		h.calm("FRR, while fiber is down", 10*time.Second)
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		stop()
		time.Sleep(2 * time.Second)
		h.goBy(fiber, p.fresh[:]...)
		t.Log(fmt.Sprint(h.sh("ip -4 route show default")))
	})
}

// FRR fills main with the routes of a BGP neighbour, and takes them out at its end: nothing
// moves meanwhile, and an uplink that dies is left as soon as ever.
func TestFRRWithAFullTable(t *testing.T) {
	needsPrograms(t, "20000 routes", func(t *testing.T) {
		const many = 20000
		h := newHouse(t, masqueraded, quick)
		v, peer := newView(t, h.Gateway), newView(t, h.Client)
		var routes strings.Builder
		for n := range many {
			fmt.Fprintf(&routes, "route add blackhole 10.%d.%d.%d/30 proto static\n", 100+n>>14, n>>6&0xff, n&0x3f<<2)
		}
		peer.write("/run/routes", routes.String())
		peer.sh("ip -batch /run/routes")
		const bgp = "router bgp %d\n no bgp ebgp-requires-policy\n neighbor %s remote-as %d\n neighbor %[2]s timers connect 1\n address-family ipv4 unicast\n  %[4]s\n exit-address-family\n"
		peer.frr(map[string]string{"zebra": "", "bgpd": fmt.Sprintf(bgp, 65002, "192.168.10.1", 65001, "redistribute kernel")})
		h.Start()
		h.Await("fiber to carry, and all to be up", lab.Settled)
		p := h.clients()
		h.goBy(fiber, p.all()...)
		size := func() int {
			return strings.Count(h.sh("ip -4 route show table main proto bgp"), "\n")
		}
		began := time.Now()
		stop := v.frr(map[string]string{"zebra": "", "bgpd": fmt.Sprintf(bgp, 65001, "192.168.10.10", 65002, "redistribute kernel")})
		h.Until("the table to be full", func() bool { return size() >= many })
		h.goBy(fiber, p.all()...)
		h.undisturbed("a table that fills", began, p.all()...)
		h.unmoved("a table that fills")
		h.calm("a full table", 5*time.Second)
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, p.fresh[:]...)
		t.Logf("beside %d routes new sessions go by lte after %v", many, time.Since(f.Onset).Round(10*time.Millisecond))
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		began = time.Now()
		stop()
		h.goBy(fiber, p.fresh[:]...)
		t.Logf("after FRR's end %d routes are left", size())
		h.disturbed("FRR's end", began, 0, p.fresh[:]...)
		h.inPlace("after FRR's end")
	})
}
