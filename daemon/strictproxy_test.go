package daemon

import (
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// A transparent proxy runs, beside which the reverse path cannot depend on marks, and the
// kernel filters strictly. An uplink that was down is seen to answer again all the same.
func TestStrictFilterBesideATransparentProxy(t *testing.T) {
	g := newGateway(t)
	_, err := g.isp.Run("sh", "-ec", "ip link set lo up; ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad")
	g.must(err)
	g.sh(`for d in all wan0 wan1; do echo 1 >/proc/sys/net/ipv4/conf/$d/rp_filter; done
ip rule add fwmark 1/1 lookup 99; ip route add local default dev lo table 99`)
	g.configureBeyond("")
	p := g.start()
	p.await("fiber carries", func(s *control.Status) bool { return carried(s, "fiber") })
	g.hushOn("wan0", true)
	p.await("fiber is down, and lte carries", func(s *control.Status) bool {
		return carried(s, "lte") && s.Uplinks[0].IPv4.State == control.Down
	})
	g.hushOn("wan0", false)
	p.await("fiber carries again", func(s *control.Status) bool { return carried(s, "fiber") })
}

// Others' rules filter reverse paths, before and after marks are set. An uplink that was
// down is seen to answer again all the same.
func TestReversePathFiltersOfOthers(t *testing.T) {
	for name, rule := range map[string]string{
		"raw":     "type filter hook prerouting priority raw; fib saddr . iif oif missing drop",
		"by mark": "type filter hook prerouting priority mangle + 10; fib saddr . mark . iif oif 0 drop",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			_, err := g.isp.Run("sh", "-ec", "ip link set lo up; ip addr add 198.18.0.77/32 dev lo; ip addr add 2001:db8:77::1/128 dev lo nodad")
			g.must(err)
			filter := "nft -f - <<'EOF'\ntable inet strict { chain c {\n" + rule + "\n} }\nEOF\n"
			g.configureBeyond("")
			g.sh(strings.ReplaceAll(filter, "} }", "}\n}"))
			p := g.start()
			p.await("fiber carries", func(s *control.Status) bool { return carried(s, "fiber") })
			for range 2 {
				g.hushOn("wan0", true)
				p.await("fiber is down, and lte carries", func(s *control.Status) bool {
					return carried(s, "lte") && s.Uplinks[0].IPv4.State == control.Down
				})
				g.hushOn("wan0", false)
				p.await("fiber carries again", func(s *control.Status) bool { return carried(s, "fiber") })
			}
		})
	}
}

// Somebody makes the kernel filter strictly, so the goal is another one, and takes a rule
// of ours away: that alone is told as a repair.
func TestStricterFilterIsNoRepair(t *testing.T) {
	g := newGateway(t)
	p := g.run()
	p.await("the start to be over", func(s *control.Status) bool {
		up := func(u control.Uplink) bool { return u.IPv4.State == control.Up && u.IPv6.State == control.Up }
		return carried(s, "fiber") && up(s.Uplinks[0]) && up(s.Uplinks[1])
	})
	filter := func(how string) {
		g.sh("for d in all wan0 wan1; do echo " + how + " >/proc/sys/net/ipv4/conf/$d/rp_filter; done")
	}
	strict := func() bool { return strings.Contains(g.sh("ip -4 rule"), "goto 5427") }
	var told []control.RepairDetail
	read := func() {
		for e, err := range p.client.Events(t.Context(), time.Time{}, false) {
			g.must(err)
			if d, ok := e.Detail.(control.RepairDetail); ok {
				told = append(told, d)
			}
		}
	}
	// What is restored by a change of the goal in that very moment, as just after the start,
	// is no repair.
	for range 5 {
		g.sh("for d in all wan0 wan1; do echo 1 >/proc/sys/net/ipv4/conf/$d/rp_filter; done; ip -4 rule del pref 5301")
		g.eventually("the rules for strict filtering", strict)
		for began := time.Now(); len(told) == 0 && time.Since(began) < 5*time.Second; time.Sleep(100 * time.Millisecond) {
			read()
		}
		if len(told) > 0 {
			break
		}
		filter("0")
		g.sh("ip -4 rule add pref 9999 lookup 99; ip -4 rule del pref 9999") // a reason to look
		g.eventually("the rules of before", func() bool { return !strict() })
	}
	if len(told) == 0 {
		t.Fatal("the repair is not told")
	}
	if d := told[0]; d.Count == nil || *d.Count != 1 || !strings.Contains(d.Reason, "5301") || strings.Contains(d.Reason, "5427") {
		t.Errorf("told as repaired: %+v", d)
	}
}
