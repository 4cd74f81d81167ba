package daemon

import (
	"slices"
	"testing"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/linkmon"
)

// auto is what the packages install.
const auto = "uplinks: auto\n"

// leads is a default route of a DHCP client by a device.
func leads(device string, index int, metric uint32) linkmon.Default {
	return linkmon.Default{Interface: device, Index: index, Family: failover.IPv4, Metric: metric, Source: "dhcp"}
}

func TestAutoTouchesNothingForOneUplink(t *testing.T) {
	for name, defaults := range map[string][]linkmon.Default{
		"none": nil,
		"one":  {leads("eth0", 1, 100)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, auto, func(t *testing.T, r *rig) {
				r.net.setDefaults(defaults...)
				r.start()
				r.after(time.Minute)
				r.blackHole("eth0", true, both...)
				r.after(time.Minute)
				r.change("eth0", func(l *line) { l.link.Carrier = false })
				r.after(time.Minute)
				r.Routes.Lose(noRule, noRoute)
				r.after(time.Minute)
				r.wantQuiet("with less than two uplinks")
				if p := r.problem("one-uplink"); p == nil || p.Severity != control.Warning {
					t.Errorf("problems: %+v", r.status().Problems)
				}
				if got := r.status(); len(got.Uplinks) != len(defaults) || got.SwitchesTotal != 0 || got.LastSwitch != nil {
					t.Errorf("status: %+v", got)
				}
				if n := len(ofType(r.take(), control.EventDaemon)); n != 1 {
					t.Errorf("told %d times that it started", n)
				}
			})
		})
	}
}

func TestAutoTakesUplinksAsTheyCome(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.start()
		r.after(time.Second)
		r.net.setDefaults(leads("eth1", 2, 200))
		r.after(time.Second)
		r.wantQuiet("with one uplink")
		r.net.setDefaults(leads("eth0", 1, 100), leads("eth1", 2, 200))
		r.after(time.Minute)
		r.wantLadder(1, 2)
		if r.problem("one-uplink") != nil {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if got := r.status().Uplinks; len(got) != 2 || got[0].Name != "eth0" || got[1].Name != "eth1" {
			t.Errorf("uplinks: %+v", got)
		}
		held, _ := r.Routes.Read()
		if got := held.Lanes(r.loop.setup.layout); got["eth1"] != 1 || got["eth0"] != 2 {
			t.Errorf("lanes: %v, want them in the order of coming", got)
		}

		// The loss that matters takes the default route away as well.
		r.Journal.Take()
		r.net.setDefaults(leads("eth1", 2, 200))
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(time.Minute)
		r.wantLadder(2, 1)
		if got := r.status().Uplinks; len(got) != 2 || got[0].IPv4.State != control.Down {
			t.Errorf("uplinks: %+v", got)
		}
		if len(moving(r.Journal.Take())) == 0 {
			t.Error("no session was moved")
		}
	})
}

// A restart knows the uplinks again whose default routes the loss has taken away.
func TestAutoRestartDuringALoss(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.net.setDefaults(leads("eth0", 1, 100), leads("eth1", 2, 200))
		r.start()
		r.after(time.Minute)
		r.net.setDefaults(leads("eth1", 2, 200))
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(time.Minute)

		r.restart()
		r.after(time.Minute)
		r.wantQuiet("by a restart")
		if got := r.status().Uplinks; len(got) != 2 || !r.isIn("eth0", control.Down)() {
			t.Errorf("uplinks: %+v", got)
		}
		r.net.setDefaults(leads("eth0", 1, 100), leads("eth1", 2, 200))
		r.change("eth0", func(l *line) { l.link.Carrier = true })
		r.after(time.Minute)
		r.wantLadder(1, 2)
	})
}

func TestDefaultRoutes(t *testing.T) {
	huge := ^uint32(0)
	got := defaultRoutes(
		[]config.DefaultRoute{{Interface: "gone", Metric: 50}, {Interface: "eth0", Metric: 700}},
		[]linkmon.Default{leads("eth1", 2, 100), leads("eth0", 1, 300), leads("eth0", 1, 200), leads("odd", 4, huge)},
	)
	var order []string
	for _, d := range got {
		order = append(order, d.Interface)
		if d.Metric < 0 || d.Interface == "eth0" && d.Metric != 200 {
			t.Errorf("%s has metric %d", d.Interface, d.Metric)
		}
	}
	if !slices.Equal(order, []string{"gone", "eth1", "eth0", "odd"}) {
		t.Errorf("order %v", order)
	}
}
