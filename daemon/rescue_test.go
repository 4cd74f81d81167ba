package daemon

import (
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// filterGoal is what the packet filter is to hold.
func (r *rig) filterGoal() (g firewall.Goal) {
	r.t.Helper()
	if err := r.loop.ask(r.t.Context(), func() { g = r.loop.enforcer.kernel.table.Goal() }); err != nil {
		r.t.Fatal(err)
	}
	return g
}

// detourOf is what the packet filter has for the default policy.
func (r *rig) detourOf(f failover.Family) firewall.Detour {
	for _, p := range r.filterGoal().Policies {
		if p.Lane == lane.DefaultPolicy {
			return p.Detour[f]
		}
	}
	return firewall.Detour{}
}

// The packet filter is given the pair of uplinks for as long as the next one may carry. A
// restart keeps it.
func TestDetour(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		both := firewall.Detour{From: 1, To: 2}
		want := func(when string, d firewall.Detour) {
			t.Helper()
			if got := r.detourOf(failover.IPv4); got != d {
				t.Errorf("%s: %+v, want %+v", when, got, d)
			}
		}
		want("before any answer", both)
		r.after(3 * time.Second)
		want("up", both)
		r.restart()
		want("after a restart", both)
		r.after(3 * time.Second)
		want("a while after a restart", both)
		r.change("eth1", func(l *line) { l.link.Carrier = false })
		r.after(time.Second)
		want("the next one is down", firewall.Detour{})
		r.change("eth1", func(l *line) { l.link.Carrier = true })
		r.after(time.Minute)
		want("it is back", both)
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(time.Second)
		want("the first one is down", firewall.Detour{})
	})
}

// A metered next uplink rescues only where that is asked for, and none where rescues are off.
func TestDetourByConfiguration(t *testing.T) {
	const metered = `
uplinks:
  - {name: fiber, interface: eth0}
  - {name: lte, interface: eth1, metered: true}
`
	for what, c := range map[string]struct {
		file string
		want firewall.Detour
		size uint32
	}{
		"metered":           {metered, firewall.Detour{}, 1024},
		"metered, asked":    {metered + "rescue: {metered: true, addresses: 7}\n", firewall.Detour{From: 1, To: 2}, 7},
		"off":               {twoUplinks + "rescue: {enabled: false}\n", firewall.Detour{}, 0},
		"shared":            {twoUplinks + "policies: [{name: default, tiers: [{fiber: 1, lte: 1}]}]\n", firewall.Detour{}, 1024},
		"the second before": {twoUplinks + "policies: [{name: default, tiers: [lte, fiber]}]\n", firewall.Detour{From: 2, To: 1}, 1024},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, c.file, func(t *testing.T, r *rig) {
				r.start()
				r.after(time.Minute)
				if got := r.detourOf(failover.IPv6); got != c.want {
					t.Errorf("%+v, want %+v", got, c.want)
				}
				if got := r.filterGoal().Rescue.Addresses; got != c.size {
					t.Errorf("%d addresses, want %d", got, c.size)
				}
				if got := r.uplink("fiber").IPv4.Rescued; got != nil {
					t.Errorf("%d are rescued where nothing is read", *got)
				}
			})
		})
	}
}

// The status has what the packet filter counts, events tell of it at most once a minute, and
// explain says why an address goes elsewhere.
func TestRescuedInStatus(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		var n atomic.Int64
		r.rescued = func(policies []lane.Lane) (map[lane.Lane][2]int, error) {
			if n.Load() < 0 {
				return nil, errors.New("no room")
			}
			return map[lane.Lane][2]int{lane.DefaultPolicy: {int(n.Load()), -1}}, nil
		}
		r.sessions = func() SessionCounts {
			return SessionCounts{Lanes: map[lane.Lane]SessionCount{1: {}}, Handshakes: map[lane.Lane][2]control.Handshakes{1: {{Begun: 5, Again: 2, Finished: 4}, {}}}}
		}
		r.start()
		r.after(10 * time.Second)
		r.take()
		told := func(when string, want ...string) {
			t.Helper()
			var got []string
			for _, e := range ofType(r.take(), control.EventSessions) {
				d := e.Detail.(control.SessionsDetail)
				got = append(got, strings.Join([]string{d.Action, d.Uplink, d.Policy, d.Family}, " "))
			}
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("%s: events %q, want %q", when, got, want)
			}
		}
		counts := func(when string, want int) {
			t.Helper()
			fiber, lte := r.uplink("fiber"), r.uplink("lte")
			if got := fiber.IPv4.Rescued; got == nil || *got != want || *fiber.IPv6.Rescued != 0 || *lte.IPv4.Rescued != 0 {
				t.Errorf("%s: %v, want %d", when, got, want)
			}
		}
		counts("none", 0)
		told("none")
		if h := r.uplink("fiber").IPv4.Handshakes; h == nil || *h != (control.Handshakes{Begun: 5, Again: 2, Finished: 4}) || r.uplink("lte").IPv4.Handshakes != nil {
			t.Errorf("handshakes: %+v", h)
		}
		n.Store(3)
		r.after(6 * time.Second)
		counts("three", 3)
		told("three", "rescued fiber default ipv4")
		n.Store(5)
		r.after(20 * time.Second)
		counts("five", 5)
		told("within the minute")
		r.after(time.Minute)
		told("after it", "rescued fiber default ipv4")
		n.Store(0)
		r.after(2 * time.Minute)
		counts("none any more", 0)
		told("none any more", "returned fiber default ipv4")
		n.Store(-1)
		r.after(6 * time.Second)
		if got := r.uplink("fiber").IPv4.Rescued; got != nil {
			t.Errorf("%d where it cannot be read", *got)
		}
	})
}

func TestExplainRescued(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		everywhere := netip.MustParsePrefix("0.0.0.0/0")
		r.loop.finder = oracle{in: map[string]bool{"198.51.100.7": true}, way: map[string]routing.Way{
			"198.51.100.7": {Device: 2, To: everywhere, Table: 5302}, "198.51.100.8": {Device: 1, To: everywhere, Table: 5364}}}
		for _, src := range []string{"192.168.1.2", ""} {
			q := control.Question{Dst: netip.MustParseAddr("198.51.100.7"), Proto: 6, Port: 443}
			if src != "" {
				q.Src, q.In = netip.MustParseAddr(src), "lan0"
			}
			if src == "" {
				q.Src = netip.MustParseAddr("203.0.113.2")
				r.net.mu.Lock()
				r.net.own = []netip.Addr{q.Src}
				r.net.mu.Unlock()
			}
			e, err := r.api().Explain(t.Context(), q)
			if err != nil || e.Uplink == nil || *e.Uplink != "lte" || !strings.Contains(e.Why, "this address is rescued: it left SYNs by fiber unanswered and answers by lte") {
				t.Errorf("from %q: %+v, %v", src, e, err)
			}
			if len(e.Others) != 1 || e.Others[0].Reason != "has left this address unanswered, and lte reaches it" {
				t.Errorf("from %q: %+v", src, e.Others)
			}
		}
		e, err := r.api().Explain(t.Context(), control.Question{Src: netip.MustParseAddr("192.168.1.2"), Dst: netip.MustParseAddr("198.51.100.8"), Proto: 6, Port: 443, In: "lan0"})
		if err != nil || *e.Uplink != "fiber" || strings.Contains(e.Why, "rescued") {
			t.Errorf("another address: %+v, %v", e, err)
		}
	})
}
