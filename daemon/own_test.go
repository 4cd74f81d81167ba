package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

// targets returns an uplink's IPv4 targets, as listed in the status.
func (r *rig) targets(uplink string) (all []string) {
	for _, t := range r.uplink(uplink).IPv4.Targets {
		all = append(all, t.Target)
	}
	return all
}

// A target that is an address of this machine would answer through a dead uplink.
// It is left out while it is one, and reported.
func TestTargetThatIsOurOwn(t *testing.T) {
	inBubble(t, twoUplinks+"probe: {targets: [1.1.1.1, 9.9.9.9], quorum: 2}\n", func(t *testing.T, r *rig) {
		r.net.setOwn("192.0.2.1", "192.168.1.1")
		r.start()
		r.after(3 * time.Second)
		if p := r.problem("own-target"); p != nil {
			t.Fatalf("no target is one: %+v", p)
		}
		generation := r.status().Daemon.Generation
		r.net.setOwn("192.0.2.1", "192.168.1.1", "192.168.1.2")
		r.after(time.Second)
		if r.status().Daemon.Generation != generation {
			t.Error("an address that is no target makes a new generation")
		}
		r.net.setOwn("9.9.9.9", "192.0.2.1")
		r.after(3 * time.Second)
		p := r.problem("own-target")
		if p == nil || p.Severity != control.Warning || !strings.HasSuffix(p.Text, ": 9.9.9.9") || p.Remedy == "" {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if got := r.targets("fiber"); !slices.Equal(got, []string{"1.1.1.1"}) {
			t.Errorf("asked are %v", got)
		}
		if got := r.uplink("fiber").IPv4.State; got != control.Up {
			t.Errorf("fiber is %s, with a quorum of what is left", got)
		}
		r.net.setOwn()
		r.after(3 * time.Second)
		if got := r.targets("fiber"); r.problem("own-target") != nil || len(got) != 2 {
			t.Errorf("asked are %v; problems: %+v", got, r.status().Problems)
		}
		if switches := ofType(r.take(), control.EventSwitch); len(switches) > 0 {
			t.Errorf("traffic moved: %+v", switches)
		}
	})
}

// If that is known at the start, the target is never probed.
func TestOwnTargetAtTheStart(t *testing.T) {
	inBubble(t, twoUplinks+"probe: {targets: [9.9.9.9]}\n", func(t *testing.T, r *rig) {
		r.net.setOwn("9.9.9.9")
		r.start()
		r.after(3 * time.Second)
		if got := r.targets("fiber"); len(got) > 0 || r.problem("own-target") == nil || r.net.asked["fiber"] > 0 {
			t.Errorf("asked are %v, %d times; problems: %+v", got, r.net.asked["fiber"], r.status().Problems)
		}
	})
}

func TestGatewayThatIsOurOwn(t *testing.T) {
	file := strings.Replace(twoUplinks, "eth1", "eth1, gateway: 192.168.1.1", 1)
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Second)
		if p := r.problem("own-gateway"); p != nil {
			t.Fatalf("it is not: %+v", p)
		}
		r.net.setOwn("192.168.1.1")
		r.after(time.Second)
		if p := r.problem("own-gateway"); p == nil || p.Object != "lte" || !strings.Contains(p.Text, "192.168.1.1") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		r.net.setOwn()
		r.after(time.Second)
		if p := r.problem("own-gateway"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

// An uplink whose interface is put into a VRF is told, and used no more, until it is out
// of it.
func TestUplinkInAVRF(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		var before [2]failover.FamilyLink
		r.change("eth0", func(l *line) {
			before = l.link.Family
			l.link.VRF, l.link.Family = "blue", [2]failover.FamilyLink{}
		})
		if got := r.uplink("fiber").IPv4.State; got != control.Down {
			t.Errorf("fiber is %s; want it down at once, as this is no renewal", got)
		}
		r.after(3 * time.Second)
		p := r.problem("uplink-in-vrf")
		if p == nil || p.Severity != control.Warning || p.Object != "fiber" || !strings.Contains(p.Text, "the interface eth0 belongs to the VRF blue") ||
			!strings.Contains(p.Remedy, "ip link set dev eth0 nomaster") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if got := r.uplink("fiber").IPv4; got.State != control.Down || got.Reason != "interface eth0 is in the VRF blue" {
			t.Errorf("fiber is %s: %s", got.State, got.Reason)
		}
		if down := r.problem("uplink-down"); down == nil || !strings.Contains(down.Remedy, "nomaster") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		r.change("eth0", func(l *line) { l.link.VRF, l.link.Family = "", before })
		r.after(time.Second)
		if p := r.problem("uplink-in-vrf"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}
