package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"swerve/testenv/netns"
	"swerve/testenv/wait"
	"swerve/testenv/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryUplinkReachesEveryTarget(t *testing.T) {
	lab := NewTest(t, Options{Uplinks: 3})
	var all sync.WaitGroup
	for i, up := range lab.Uplinks {
		others := []netip.Addr{up.Router4, up.Router6, Server4, Server6}
		for _, to := range append(others, Targets...) {
			all.Go(func() {
				if out, err := lab.Gateway.Run("ping", "-c1", "-W5", "-I", up.Interface, to.String()); err != nil {
					t.Errorf("by uplink %d to %s: %v\n%s", i, to, err, out)
				}
			})
		}
	}
	all.Wait()
	for i, w := range lab.Wire {
		if n := w.Counters(wire.ToISP).Foreign; n != 0 {
			t.Errorf("%d packets left by uplink %d with a source that is not its own", n, i)
		}
	}
}

func TestRoundTripTime(t *testing.T) {
	lab := NewTest(t, Options{})
	out := run(t, lab.Gateway, "ping -c 10 -i 0.05 -I wan1 8.8.8.8")
	var least, mean float64
	_, stats, _ := strings.Cut(out, "mdev = ")
	if _, err := fmt.Sscanf(stats, "%f/%f/", &least, &mean); err != nil || least < 20 || least > 40 {
		t.Errorf("least round trip %v ms (%v), want 20:\n%s", least, err, out)
	}
}

func TestRoutesAreAsClientsLeaveThem(t *testing.T) {
	lab := NewTest(t, Options{Uplinks: 3, IPv4Only: []int{2}})
	out := run(t, lab.Gateway, "ip -4 route show default")
	for _, want := range []string{
		"default via 203.0.113.1 dev wan0 proto dhcp src 203.0.113.2 metric 100",
		"default via 198.51.100.1 dev wan1 proto dhcp src 198.51.100.2 metric 200",
		"default via 192.0.2.1 dev wan2 proto dhcp src 192.0.2.2 metric 300",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out = run(t, lab.Gateway, "ip -6 route show default")
	for _, want := range []string{
		"default via fe80::1 dev wan0 proto ra metric 1024 expires ",
		"default via fe80::1 dev wan1 proto ra metric 1124 expires ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "wan2") || strings.Contains(run(t, lab.Gateway, "ip -6 addr show dev wan2 scope global"), "inet6") {
		t.Errorf("an uplink without IPv6 has it:\n%s", out)
	}
}

func TestOptions(t *testing.T) {
	t.Run("nothing announced", func(t *testing.T) {
		lab := NewTest(t, Options{Announce: AnnounceNone, Firewall: FirewallNone, RPFilter: 2})
		for _, c := range []string{"ip -4 route show default", "ip -6 route show default", "nft list ruleset"} {
			if out := run(t, lab.Gateway, c); out != "" {
				t.Errorf("%s: %q, want nothing", c, out)
			}
		}
		if v, err := lab.Gateway.Sysctl("net/ipv4/conf/wan0/rp_filter"); v != "2" {
			t.Errorf("rp_filter of wan0 is %q, %v; want 2", v, err)
		}
	})
	t.Run("no IPv6", func(t *testing.T) {
		lab := NewTest(t, Options{Uplinks: 1, NoIPv6: true, Delay: -1})
		for _, ns := range []*netns.NS{lab.Gateway, lab.Client} {
			if out := run(t, ns, "ip -6 addr"); strings.Contains(out, "scope global") || strings.Contains(out, "scope link") {
				t.Errorf("somebody has IPv6:\n%s", out)
			}
		}
		run(t, lab.Gateway, "ping -c1 -W5 1.1.1.1")
	})
	t.Run("out of range", func(t *testing.T) {
		for _, o := range []Options{{Uplinks: 4}, {Uplinks: -1}, {Clients: 201}} {
			if lab, err := New(o); err == nil {
				lab.Close()
				t.Errorf("%+v is accepted", o)
			}
		}
	})
}

func TestClientsReachTheInternet(t *testing.T) {
	lab := NewTest(t, Options{Clients: 2, Delegate: true, Firewall: FirewallMasquerade})
	for n, client := range lab.Clients {
		v4, local6, native6 := ClientAddresses(n)
		for _, pair := range [][2]netip.Addr{
			{v4, Server4},
			{native6, Server6},
			{local6, Server6}, // the gateway has to masquerade
		} {
			run(t, client, fmt.Sprintf("ping -c1 -W5 -I %s %s", pair[0], pair[1]))
		}
		run(t, lab.Internet, "ping -c1 -W5 "+native6.String())
	}
	v4, _, _ := ClientAddresses(1)
	run(t, lab.Clients[0], "ping -c1 -W5 "+v4.String())
}

// An ISP accepts packets from its own prefixes only; otherwise a router that sends with
// a wrong address would go unnoticed.
func TestISPsDropForeignSources(t *testing.T) {
	lab := NewTest(t, Options{})
	for _, from := range []string{"203.0.113.2", "2001:db8:1::2"} {
		to, hop := Server4, lab.Uplinks[1].Router4
		if strings.Contains(from, ":") {
			to, hop = Server6, lab.Uplinks[1].Router6
		}
		before := lab.Wire[1].Counters(wire.ToISP).Foreign
		run(t, lab.Gateway, fmt.Sprintf("ip route replace %s via %s dev wan1", to, hop))
		if _, err := lab.Gateway.Run("ping", "-c1", "-W1", "-I", from, to.String()); err == nil {
			t.Errorf("a ping from %s by wan1 is answered", from)
		}
		wait.For(t, "a packet counted as foreign", func() bool {
			_, _ = lab.Gateway.Run("ping", "-c1", "-W1", "-I", from, to.String())
			return lab.Wire[1].Counters(wire.ToISP).Foreign > before
		})
	}
}

func TestLabsStandSideBySideAndLeaveNothing(t *testing.T) {
	before := traces(t)
	labs := make([]*Lab, 2)
	for i := range labs {
		var err error
		if labs[i], err = New(Options{Uplinks: 3, Clients: 2}); err != nil {
			t.Fatal(err)
		}
		defer labs[i].Close()
		if _, err := startDaemon(labs[i], "sleep", "1000"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := labs[0].Fault(0, "black-hole"); err != nil {
		t.Fatal(err)
	}
	if err := pings(labs[1].Gateway, "wan0", Targets[0]); err != nil {
		t.Errorf("a fault of one lab affects the other: %v", err)
	}
	if err := pings(labs[0].Gateway, "wan0", Targets[0]); err == nil {
		t.Error("the fault has no effect in its own lab")
	}
	for _, lab := range labs {
		lab.Close()
		lab.Close() // harmless
	}
	before.await(t)
}

// A trace is what a lab might leave behind.
type trace struct {
	machine []string // links, routes, rules, the ruleset, mounts
	files   int      // open in this process
	spaces  int      // network namespaces of its threads
}

func traces(t *testing.T) (now trace) {
	t.Helper()
	for _, c := range []string{
		"ip -d -br link", "ip route show table all", "ip rule", "ip netns", "nft list ruleset", "cat /proc/self/mounts",
	} {
		out, err := hostCommand(strings.Fields(c)...)
		// A user who cannot list the machine's ruleset cannot change it either.
		if err != nil && (machinesRoot() || !strings.HasPrefix(c, "nft")) {
			t.Fatalf("%s: %v", c, err)
		}
		now.machine = append(now.machine, out)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	spaces := map[string]bool{}
	for _, path := range threads {
		if name, err := os.Readlink(path); err == nil {
			spaces[name] = true
		}
	}
	now.files, now.spaces = len(fds), len(spaces)
	return now
}

// await waits until the machine is as it was before.
func (before trace) await(t *testing.T) {
	t.Helper()
	wait.For(t, "the machine to be as before", func() bool {
		now := traces(t)
		return slices.Equal(now.machine, before.machine) && now.files <= before.files && now.spaces <= before.spaces
	})
}

func run(t *testing.T, ns *netns.NS, command string) string {
	t.Helper()
	args := strings.Fields(command)
	out, err := ns.Run(args[0], args[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pings sends one echo request by a link and expects the answer.
func pings(ns *netns.NS, link string, to netip.Addr) error {
	_, err := ns.Run("ping", "-c1", "-W1", "-I", link, to.String())
	return err
}
