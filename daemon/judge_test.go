package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// twin gives a line the addresses and the gateway of another one.
func twin(l *line, of failover.Link) { l.link.Family[failover.IPv4] = of.Family[failover.IPv4] }

// oneNetwork puts the first two lines into the same network.
func (r *rig) oneNetwork() {
	for name, address := range map[string]string{"eth0": "192.0.2.1/24", "eth1": "192.0.2.2/24"} {
		r.change(name, func(l *line) { l.link.Family[failover.IPv4].Addresses = prefixes(address) })
	}
}

// Uplinks with the same addresses and gateway work, and what cannot be
// distinguished is reported.
func TestTwins(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		if p := r.problem("same-network"); p != nil {
			t.Errorf("in two networks: %+v", p)
		}
		r.oneNetwork()
		if p := r.problem("same-network"); p == nil || p.Object != "lte" || p.Severity != control.Info ||
			strings.Contains(p.Text, "bind") || !strings.Contains(p.Text, "192.0.2.0/24") || !strings.Contains(p.Remedy, "ping -I eth1") {
			t.Fatalf("in one network: %+v", r.status().Problems)
		}
		before := r.net.lines["eth1"].link
		r.change("eth1", func(l *line) { twin(l, r.net.lines["eth0"].link) })
		p := r.problem("same-network")
		if p == nil || !strings.Contains(p.Text, "both have the address 192.0.2.1, and a program that binds to it goes by fiber") {
			t.Errorf("with one address: %+v", r.status().Problems)
		}
		if s := control.Overall(*r.status()); s != control.OK {
			t.Errorf("overall is %s", s)
		}
		r.after(time.Second)
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", 3*time.Second, r.isIn("fiber", control.Down))
		r.wantLadder(2, 1)
		if rules := r.Routes.RuleTexts("from 192.0.2.1 "); len(rules) != 1 || !strings.Contains(rules[0], "lookup 5302") {
			t.Errorf("who binds to the address has %v, want lte's table", rules)
		}
		if again := r.problem("same-network"); again == nil || again.Since != p.Since {
			t.Errorf("stood since %v, and is %+v", p.Since, again)
		}
		r.change("eth1", func(l *line) { l.link = before; l.link.Family[failover.IPv4].Addresses = prefixes("198.51.100.9/24") })
		if p := r.problem("same-network"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

func prefixes(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Strict rp_filter looks up the reverse path in main, which has only one of the
// two.
func TestTwinsUnderStrictRPFilter(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.Sysctls.RPFilter = true
		r.oneNetwork()
		r.start()
		r.after(time.Second)
		p := r.problem("same-network")
		if p == nil || p.Severity != control.Warning || !strings.Contains(p.Text, "rp_filter is strict") ||
			!strings.HasPrefix(p.Remedy, "set rp_filter to 2 on eth0, eth1 and all") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
	})
}

// Two names of one device are detected once the device exists.
func TestTwoUplinksOnOneDevice(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Second)
		if p := r.problem("same-interface"); p != nil {
			t.Fatalf("two devices: %+v", p)
		}
		r.change("eth1", func(l *line) { l.link = r.net.lines["eth0"].link })
		p := r.problem("same-interface")
		if p == nil || p.Object != "lte" || p.Severity != control.Warning || !strings.Contains(p.Text, "are both the interface eth0") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if p := r.problem("same-network"); p != nil {
			t.Errorf("reported twice: %+v", p)
		}
		if p := r.problem("kernel-refused"); p != nil {
			t.Errorf("the kernel does not take it: %+v", p)
		}
		if err := r.reload(twoUplinks[:strings.Index(twoUplinks, "  - {name: lte")]); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if p := r.problem("same-interface"); p != nil {
			t.Errorf("stands on without lte: %+v", p)
		}
	})
}

// An interface whose name nftables cannot hold counts as absent: with routes but
// without masquerading, it would send packets with the LAN's addresses.
func TestMisnamedInterface(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.change("eth0", func(l *line) { l.link.Interface = "wän0" }) // renamed, and configured by its MAC address, for instance
		r.after(3 * time.Second)
		p := r.problem("interface-name")
		if p == nil || p.Object != "wän0" || p.Severity != control.Warning || !strings.Contains(p.Text, `'ä' (U+00E4)`) {
			t.Fatalf("problems: %+v", r.status().Problems)
		}
		for _, route := range r.Routes.Ladder(failover.IPv4, 5364) {
			if route == 1 {
				t.Errorf("traffic goes by it: %v", r.Routes.Ladder(failover.IPv4, 5364))
			}
		}
		r.change("eth0", func(l *line) { l.link.Interface = "eth0" })
		r.after(time.Minute)
		if p := r.problem("interface-name"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
		r.wantLadder(1, 2)
	})
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.net.setDefaults(leads("eth0", 1, 100), leads("eth1", 2, 200), leads("w*n", 3, 300))
		r.start()
		r.after(time.Minute)
		if p := r.problem("interface-name"); p == nil || p.Object != "w*n" {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if n := len(r.status().Uplinks); n != 2 {
			t.Errorf("%d uplinks", n)
		}
	})
}

// Attributes of a learned default route that our routes cannot have are a problem
// that names them.
func TestRouteNotCarried(t *testing.T) {
	inBubble(t, twoUplinks+"policies: [{name: default, tiers: [{fiber: 1, lte: 1}]}]\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		if !untroubled(r.status()) {
			t.Fatalf("problems at the start: %+v", r.status().Problems)
		}
		r.change("eth0", func(l *line) { l.link.Family[failover.IPv4].Uncarried = "it has an encap" })
		r.after(time.Second)
		if p := r.problem("route-not-carried"); p == nil || p.Object != "fiber" || !strings.Contains(p.Text, "it has an encap") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		r.change("eth0", func(l *line) {
			l.link.Family[failover.IPv4].Uncarried = ""
			l.link.Family[failover.IPv4].Shape.Metrics[failover.MetricHopLimit] = 60
			l.link.Family[failover.IPv4].Shape.Metrics[failover.MetricMTU] = 1400
			l.link.Family[failover.IPv4].Shape.Congestion = "bbr"
		})
		r.after(time.Second)
		p := r.problem("route-not-shared")
		if p == nil || p.Object != "default" || !strings.Contains(p.Text, "hoplimit, congctl") && !strings.Contains(p.Text, "congctl, hoplimit") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if r.problem("route-not-carried") != nil {
			t.Error("what is over stands on")
		}
	})
}
