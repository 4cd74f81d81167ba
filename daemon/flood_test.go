package daemon

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/netns"
)

// load is what a daemon costs from an instant on.
type load struct {
	p     *process
	began time.Time
	cpu   time.Duration
}

// cpu returns the processor time that the daemon has had.
func (p *process) cpu() time.Duration {
	p.g.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	p.g.must(err)
	_, after, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(after)
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		p.g.must(err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (p *process) load() load { return load{p, time.Now(), p.cpu()} }

// cores returns how many processors the daemon has kept busy.
func (l load) cores() float64 {
	l.p.g.t.Helper()
	return float64(l.p.cpu()-l.cpu) / float64(time.Since(l.began))
}

// churn does something at a rhythm, until the returned function is called, which returns
// how often it did.
func (g *gateway) churn(every time.Duration, do func(i int) error) (end func() int) {
	g.t.Helper()
	done := make(chan struct{})
	var n int
	var failed error
	var work sync.WaitGroup
	work.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for ; failed == nil; n++ {
			select {
			case <-done:
				return
			case <-ticker.C:
				failed = do(n)
			}
		}
	})
	stop := sync.OnceFunc(func() { close(done); work.Wait() })
	g.t.Cleanup(stop)
	return func() int {
		g.t.Helper()
		stop()
		g.must(failed)
		return n
	}
}

// spare makes a device that is no uplink.
func (g *gateway) spare(device string) {
	g.t.Helper()
	g.must(netns.Veth(g.ns, device, g.isp, device))
	g.must(g.isp.SetUp(device))
	g.must(g.ns.SetUp(device))
}

// index returns the number of a device in the gateway.
func (g *gateway) index(device string) int {
	g.t.Helper()
	link, err := g.ns.Netlink().LinkByName(device)
	g.must(err)
	return link.Attrs().Index
}

// leave makes fiber's provider silent, waits until lte carries, and returns how long
// the kernel took to be switched.
func (p *process) leave() (switched, after time.Duration) {
	p.g.t.Helper()
	began := time.Now()
	p.g.hush(true)
	p.await("all has left fiber", func(s *control.Status) bool {
		if p := s.Policies[0]; p.IPv4[0].Uplink != "lte" || p.IPv6[0].Uplink != "lte" || s.LastSwitch == nil || s.LastSwitch.SwitchMS == nil {
			return false
		}
		switched = time.Duration(*s.LastSwitch.SwitchMS * float64(time.Millisecond))
		return true
	})
	return switched, time.Since(began)
}

var anyDst = [2]*net.IPNet{{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}

// A better default of another program comes and goes ten times a second: that costs a
// part of a processor, and an uplink that dies meanwhile is left as quickly as ever.
func TestFlappingForeignDefault(t *testing.T) {
	g := newGateway(t)
	g.spare("tun0")
	p := g.run()
	vpn := &netlink.Route{LinkIndex: g.index("tun0"), Dst: anyDst[failover.IPv4], Priority: 50, Protocol: 16}
	begun := p.load()
	end := g.churn(50*time.Millisecond, func(i int) error {
		if i%2 == 0 {
			return g.ns.Netlink().RouteAdd(vpn)
		}
		return g.ns.Netlink().RouteDel(vpn)
	})
	time.Sleep(*floods)
	switched, after := p.leave()
	cores := begun.cores()
	n := end()
	t.Logf("%d changes: %.2f cores; the switch took %v, %v after the loss", n, cores, switched, after)
	p.bounded(cores, after)
}

// floods is how long a flood lasts before its effect is looked at.
var floods = flag.Duration("floods", time.Second, "how long each flood lasts")

// mostCores bounds what a flood costs on a machine of today, also on a busy one.
const mostCores, mostLeaving = 0.6, 5 * time.Second

func (p *process) bounded(cores float64, left time.Duration) {
	p.g.t.Helper()
	if raced {
		cores /= 2 // the race detector's share, at least
	}
	if cores > mostCores {
		p.g.t.Errorf("%.2f cores, want %v at most", cores, mostCores)
	}
	if left > mostLeaving {
		p.g.t.Errorf("the dead uplink was left after %v", left)
	}
}

// IPv6's gateway changes a hundred times a second. It costs few probes, and the family's
// death is seen meanwhile.
func TestGatewayFlood(t *testing.T) {
	g := newGateway(t)
	for _, a := range []string{"2001:db8:77::1/128", "192.0.2.77/32"} {
		g.must(g.isp.AddAddr("lo", netip.MustParsePrefix(a)))
	}
	g.must(g.isp.AddAddr("wan0", netip.MustParsePrefix("2001:db8:1::3/64")))
	g.replaceProbes("[192.0.2.77, \"2001:db8:77::1\"]")
	p := g.run()
	replace := func(i int) error {
		return g.ns.Netlink().RouteReplace(&netlink.Route{LinkIndex: g.index("wan0"), Dst: anyDst[failover.IPv6], Priority: 1024, Protocol: 9,
			Gw: net.ParseIP([]string{"2001:db8:1::3", "2001:db8:1::1"}[i%2])})
	}
	bytes := func() uint64 {
		s, err := p.client.Status(t.Context())
		g.must(err)
		return *s.Uplinks[0].ProbeBytes
	}
	begun, before, at := p.load(), bytes(), time.Now()
	end := g.churn(10*time.Millisecond, replace)
	time.Sleep(*floods)
	spent, lasted := bytes()-before, time.Since(at)
	began := time.Now()
	g.hush(true)
	p.await("IPv6 has left fiber", func(s *control.Status) bool {
		return s.Policies[0].IPv6[0].Uplink == "lte"
	})
	after := time.Since(began)
	cores := begun.cores()
	n := end()
	t.Logf("%d changes: %.2f cores, %.0f bytes of probes a second; left %v after the death", n, cores, float64(spent)/lasted.Seconds(), after)
	p.bounded(cores, after)
	if rate := float64(spent) / lasted.Seconds(); rate > 10_000 {
		t.Errorf("%.0f bytes of probes a second", rate)
	}
}

var dying = flag.Int("uplinks", 8, "how many uplinks TestAllUplinksButOneDie has")

// Of many uplinks all but the last die at once: that one stays up, and carries.
func TestAllUplinksButOneDie(t *testing.T) {
	n := *dying
	last := fmt.Sprintf("up%d", n-1)
	g := newGateway(t)
	g.must(g.isp.AddAddr("lo", netip.MustParsePrefix("192.0.2.77/32")))
	var list, setup strings.Builder
	for i := range n {
		g.must(netns.Veth(g.ns, fmt.Sprintf("up%d", i), g.isp, fmt.Sprintf("up%d", i)))
		fmt.Fprintf(&list, "- {name: up%d, interface: up%d}\n  ", i, i)
		fmt.Fprintf(&setup, "ip addr add 10.77.%d.$1/24 dev up%d; ip link set up%d up\n", i, i, i)
		fmt.Fprintf(&setup, "[ $1 = 1 ] || ip route add default via 10.77.%d.1 dev up%d metric %d\n", i, i, 500+i)
	}
	for i, ns := range []*netns.NS{g.isp, g.ns} {
		_, err := ns.Run("sh", "-ec", fmt.Sprintf("set -- %d\n%s", i+1, &setup))
		g.must(err)
	}
	g.sh("ip route del default dev wan0; ip route del default dev wan1")
	g.uplinks(list.String())
	g.replaceProbes("[192.0.2.77]")
	p := g.start()
	up := func(s *control.Status) (n int) {
		for _, u := range s.Uplinks {
			if u.IPv4.State == control.Up {
				n++
			}
		}
		return n
	}
	p.await("all are up", func(s *control.Status) bool { return up(s) == n })
	begun, began := p.load(), time.Now()
	_, err := g.isp.Run("sh", "-ec", `nft add table inet hush; nft add chain inet hush in '{ type filter hook input priority 0; }'
		nft add rule inet hush in iifname != `+last+` icmp type echo-request drop`)
	g.must(err)
	var bad string
	p.await("the last one carries", func(s *control.Status) bool {
		if state := s.Uplinks[n-1].IPv4.State; state != control.Up && state != control.Suspect {
			bad = string(state)
		}
		return s.Policies[0].IPv4[0].Uplink == last
	})
	after := time.Since(began)
	p.await("all others are down", func(s *control.Status) bool {
		if state := s.Uplinks[n-1].IPv4.State; state != control.Up && state != control.Suspect {
			bad = string(state)
		}
		return up(s) <= 1 && s.Uplinks[0].IPv4.State == control.Down && s.Uplinks[n-2].IPv4.State == control.Down
	})
	t.Logf("the last carries after %v, %.2f cores", after, begun.cores())
	if bad != "" {
		t.Errorf("the healthy one was %s", bad)
	}
	if after > time.Minute/2 {
		t.Errorf("the dead uplinks were left after %v", after)
	}
}

// Interfaces with default routes come and go under `uplinks: auto`, as phones that are
// plugged in: the uplinks stay what they are, and few others are remembered.
func TestShortLivedInterfaces(t *testing.T) {
	g := newGateway(t)
	g.must(g.isp.AddAddr("lo", netip.MustParsePrefix("192.0.2.77/32")))
	text := fmt.Sprintf("uplinks: auto\nprobe: {targets: [192.0.2.77]}\nfailback: {after: 0s, min_interval: 0s}\n"+
		"control: {socket: %s, group: \"\"}\nstate: %s/state\n", g.socket(), g.folder)
	g.must(os.WriteFile(g.config(), []byte(text), 0o600))
	p := g.start()
	p.await("both are up", func(s *control.Status) bool {
		return len(s.Uplinks) == 2 && s.Uplinks[0].IPv4.State == control.Up && s.Uplinks[1].IPv4.State == control.Up
	})
	begun := p.load()
	for i := range *phones {
		name := fmt.Sprintf("usb%d", i)
		g.must(netns.Veth(g.ns, name, g.isp, name))
		g.must(g.isp.AddAddr(name, netip.MustParsePrefix(fmt.Sprintf("10.66.%d.1/24", i))))
		g.must(g.ns.AddAddr(name, netip.MustParsePrefix(fmt.Sprintf("10.66.%d.2/24", i))))
		g.must(g.isp.SetUp(name))
		g.must(g.ns.SetUp(name))
		g.sh(fmt.Sprintf("ip route add default via 10.66.%d.1 dev %s metric 500; sleep 0.3; ip link del %s", i, name, name))
	}
	cores := begun.cores()
	s, err := p.client.Status(t.Context())
	g.must(err)
	warnings := 0
	for _, problem := range s.Problems {
		if problem.Severity != control.Info {
			warnings++
			t.Logf("%+v", problem)
		}
	}
	t.Logf("%d interfaces: %.2f cores, %d uplinks, %d warnings", *phones, cores, len(s.Uplinks), warnings)
	p.bounded(cores/2, 0) // each has everything configured anew twice: when it comes and when it goes
	if len(s.Uplinks) > autoMost || warnings > 2 || s.Policies[0].IPv4[0].Uplink != s.Uplinks[0].Name || s.SwitchesTotal > 0 {
		t.Errorf("%d uplinks, %d warnings, %d switches, %+v", len(s.Uplinks), warnings, s.SwitchesTotal, s.Policies)
	}
	p.leave4()
}

var phones = flag.Int("phones", 12, "how many interfaces TestShortLivedInterfaces has come and go")

// leave4 makes wan0's provider silent, and waits until wan1 carries.
func (p *process) leave4() {
	p.g.t.Helper()
	p.g.hush(true)
	p.await("IPv4 goes by wan1", func(s *control.Status) bool { return s.Policies[0].IPv4[0].Uplink == s.Uplinks[1].Name })
}

// Main has two hundred thousand routes, of which ten change each second: a dead uplink is
// left nearly as quickly as without them.
func TestSwitchBesideAFullTable(t *testing.T) {
	g := newGateway(t)
	g.spare("bgp0")
	var b strings.Builder
	for i := range *routes {
		fmt.Fprintf(&b, "route add 20.%d.%d.%d/32 dev bgp0 proto bird\n", i>>16, i>>8&255, i&255)
	}
	file := t.TempDir() + "/routes"
	g.must(os.WriteFile(file, []byte(b.String()), 0o600))
	g.sh("ip -batch " + file)
	p := g.run()
	_, dst, _ := net.ParseCIDR("21.0.0.0/24")
	extra := &netlink.Route{LinkIndex: g.index("bgp0"), Dst: dst, Protocol: 12}
	begun := p.load()
	end := g.churn(50*time.Millisecond, func(i int) error {
		if i%2 == 0 {
			return g.ns.Netlink().RouteAdd(extra)
		}
		return g.ns.Netlink().RouteDel(extra)
	})
	time.Sleep(*floods)
	switched, after := p.leave()
	cores := begun.cores()
	t.Logf("%d routes, %d changes: %.2f cores; the switch took %v, %v after the loss", *routes, end(), cores, switched, after)
	p.bounded(cores, after)
}

var routes = flag.Int("routes", 20_000, "how many routes TestSwitchBesideAFullTable puts into main")

// replaceProbes writes other targets into the configuration.
func (g *gateway) replaceProbes(targets string) {
	g.t.Helper()
	text, err := os.ReadFile(g.config())
	g.must(err)
	g.must(os.WriteFile(g.config(), []byte(strings.Replace(string(text), "targets: [gateway]", "targets: "+targets, 1)), 0o600))
}

// Where reaching a goal takes long, uplinks that die at once have not each a goal of
// their own: the switch is made at once, and what moves no new flows waits meanwhile.
func TestManyVerdictsBesideASlowKernel(t *testing.T) {
	const n = 20
	var file strings.Builder
	file.WriteString("uplinks:\n")
	for i := range n {
		fmt.Fprintf(&file, "  - {name: up%d, interface: wan%d, ipv6: false}\n", i, i)
	}
	inBubble(t, file.String(), func(t *testing.T, r *rig) {
		for i := range n {
			r.net.addLine(fmt.Sprintf("wan%d", i), 10+i)
			r.Routes.Device(10+i, true)
		}
		r.start()
		r.after(time.Minute)
		r.Routes.Lock()
		r.Routes.Slow = 50 * time.Millisecond
		before := r.Routes.Reads
		r.Routes.Unlock()
		for i := range n - 1 {
			r.blackHole(fmt.Sprintf("wan%d", i), true, failover.IPv4)
		}
		took := r.until("the last one carries", time.Minute, func() bool {
			return r.status().Policies[0].IPv4[0].Uplink == fmt.Sprintf("up%d", n-1)
		})
		r.until("all others are down", time.Minute, func() bool {
			for i := range n - 1 {
				if r.uplink(fmt.Sprintf("up%d", i)).IPv4.State != control.Down {
					return false
				}
			}
			return true
		})
		r.Routes.Lock()
		defer r.Routes.Unlock()
		readings := r.Routes.Reads - before
		t.Logf("left after %v, the kernel was read %d times", took, readings)
		if took > 3*time.Second || readings > 2*n {
			t.Errorf("left after %v, the kernel was read %d times", took, readings)
		}
	})
}
