package daemon

import (
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// offline returns the events that tell of policies going offline and coming back.
func offline(all []control.Event) (out []string) {
	for _, e := range all {
		if d, ok := e.Detail.(control.DaemonDetail); ok && (d.Action == "offline" || d.Action == "online") {
			out = append(out, d.Object+" "+d.Family+" "+d.Action+": "+d.Reason)
		}
	}
	return out
}

// All uplinks of a policy are down in a family: no switch tells of it, since traffic
// stays where it is, so an event does, and another one when that is over. A stall is no
// outage, nor is what never answered.
func TestOutageIsAnEvent(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.blackHole("eth0", true, failover.IPv6)
		r.blackHole("eth1", true, failover.IPv6)
		r.start()
		r.after(time.Minute)
		r.blackHole("eth1", true, failover.IPv4)
		r.until("lte is down", 5*time.Second, func() bool { return r.uplink("lte").IPv4.State == control.Down })
		r.blackHole("eth0", true, failover.IPv4)
		r.after(300 * time.Millisecond)
		r.blackHole("eth0", false, failover.IPv4) // a stall
		r.after(time.Minute)
		if got := offline(r.take()); len(got) > 0 {
			t.Fatalf("before the outage: %v", got)
		}
		r.blackHole("eth0", true, failover.IPv4)
		r.until("fiber is down", 5*time.Second, func() bool { return r.uplink("fiber").IPv4.State == control.Down })
		got := offline(r.take())
		if len(got) != 1 || !strings.HasPrefix(got[0], "policy default ipv4 offline: no uplink answers: fiber: 0 of ") || !strings.Contains(got[0], "; lte: 0 of ") {
			t.Fatalf("the outage: %v", got)
		}
		r.after(9 * time.Second)
		r.blackHole("eth1", false, failover.IPv4)
		r.until("lte answers", 5*time.Second, func() bool { return r.uplink("lte").IPv4.State == control.Recovering })
		r.after(time.Minute)
		got = offline(r.take())
		if len(got) != 1 || !strings.HasPrefix(got[0], "policy default ipv4 online: lte answers; none did for ") {
			t.Errorf("its end: %v", got)
		}
	})
}

// A family in which nothing is probed counts as up as long as its link is there. The
// status says so, in which families and of which uplinks.
func TestFamilyWithoutTargetsIsTold(t *testing.T) {
	inBubble(t, twoUplinks+"\nprobe: {targets: [1.1.1.1]}\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Minute)
		p := r.problem("not-probed")
		if p == nil || p.Severity != control.Info || p.Object != "ipv6" || !strings.Contains(p.Text, "fiber and lte") ||
			!strings.Contains(p.Remedy, "probe.targets") {
			t.Fatalf("%+v", r.status().Problems)
		}
		r.change("eth1", func(l *line) { l.link.Family[failover.IPv6] = failover.FamilyLink{} })
		r.change("eth0", func(l *line) { l.link.Family[failover.IPv6] = failover.FamilyLink{} })
		if p := r.problem("not-probed"); p != nil {
			t.Errorf("of a family that is not there: %+v", p)
		}
	})
}

// Traffic that is placed on the second uplink after a start, since the first one is dead,
// is told, though it is no switch; a switch is not told twice.
func TestPlacementIsAnEvent(t *testing.T) {
	placed := func(all []control.Event) (out []string) {
		for _, e := range all {
			if d, ok := e.Detail.(control.DaemonDetail); ok && d.Action == "placed" {
				out = append(out, d.Object+" "+d.Family+": "+d.Reason)
			}
		}
		return out
	}
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.blackHole("eth0", true, failover.IPv4)
		r.start()
		r.until("lte carries", 30*time.Second, func() bool {
			p := r.status().Policies[0].IPv4
			return len(p) == 1 && p[0].Uplink == "lte"
		})
		r.after(time.Minute)
		if got := placed(r.take()); len(got) != 1 || !strings.HasPrefix(got[0], "policy default ipv4: by lte; fiber: ") {
			t.Fatalf("after the start: %q", got)
		}
		r.blackHole("eth1", true, failover.IPv6)
		r.blackHole("eth0", false, failover.IPv4)
		r.after(3 * time.Minute)
		r.blackHole("eth0", true, failover.IPv4)
		r.after(time.Minute)
		if got := placed(r.take()); len(got) != 0 {
			t.Errorf("beside the switches: %q", got)
		}
	})
}
