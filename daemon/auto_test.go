package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/linkmon"
)

// auto is the configuration file that the packages install.
const auto = "uplinks: auto\n"

// leads returns a DHCP client's default route by a device.
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
				if p := r.problem("one-uplink"); p == nil || p.Severity != control.Info {
					t.Errorf("problems: %+v", r.status().Problems)
				}
				if got := r.status(); len(got.Uplinks) != len(defaults) || got.SwitchesTotal != 0 || got.LastSwitch != nil {
					t.Errorf("status: %+v", got)
				}
				if told := ofType(r.take(), control.EventDaemon); len(told) == 0 || told[0].Detail.(control.DaemonDetail).Action != "started" {
					t.Errorf("reported of itself: %v", told)
				} else if n := len(offline(told)); n != len(told)-1 { // the rest is of the outages
					t.Errorf("reported of itself: %v", told)
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

		// The outage also removes the default route.
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

// A restart still knows the uplinks whose default routes the outage removed.
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
		r.wantLeftovers()
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
		[]linkmon.Default{leads("eth1", 2, 100), leads("eth0", 1, 300), leads("eth0", 1, 200), leads("odd", 4, huge)},
	)
	var order []string
	for _, d := range got {
		order = append(order, d.Interface)
		if d.Metric < 0 || d.Interface == "eth0" && d.Metric != 200 {
			t.Errorf("%s has metric %d", d.Interface, d.Metric)
		}
	}
	if !slices.Equal(order, []string{"eth1", "eth0", "odd"}) {
		t.Errorf("order %v", order)
	}
}

// A LAN that holds a default route by mistake, and in which no target answers, is
// not an uplink: nothing of ours affects it, and a problem gives the reason.
func TestAutoLeavesALANAlone(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.net.lines["eth2"].black = [2]bool{true, true}
		r.net.setDefaults(leads("eth2", 3, 10), leads("eth0", 1, 100), leads("eth1", 2, 200))
		r.start()
		r.after(time.Minute)
		r.wantLadder(1, 2)
		for what, text := range map[string]string{"rules": strings.Join(r.Routes.RuleTexts("eth2"), "; "), "packet filter": r.Packets.Text()} {
			if strings.Contains(text, "eth2") {
				t.Errorf("the %s name the LAN: %s", what, text)
			}
		}
		if got := r.status().Uplinks; len(got) != 2 {
			t.Errorf("uplinks: %+v", got)
		}
		for _, e := range ofType(r.take(), control.EventHealth) {
			if e.Detail.(control.HealthDetail).Uplink == "eth2" {
				t.Errorf("an event about the LAN: %+v", e)
			}
		}
		if p := r.problem("not-an-uplink"); p == nil || p.Object != "eth2" || p.Severity != control.Info {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		// Once a target answers there, it becomes an uplink.
		r.blackHole("eth2", false, both...)
		r.after(time.Minute)
		r.wantLadder(3, 1, 2)
		if p := r.problem("not-an-uplink"); p != nil {
			t.Errorf("stands on: %+v", p)
		}
	})
}

// A boot with one of two known uplinks unplugged: the other one is set up as if
// both were present, so that it can be used when it is most needed.
func TestAutoBootWithOneOfTwo(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.net.setDefaults(leads("eth0", 1, 100), leads("eth1", 2, 200))
		r.start()
		r.after(time.Minute)
		r.stop()
		r.Reboot()
		r.net.setDefaults(leads("eth1", 2, 200))
		r.change("eth0", func(l *line) { l.link = failover.Link{} })
		r.start()
		r.after(time.Minute)
		r.wantLadder(2)
		if !strings.Contains(r.Packets.Text(), "eth1") {
			t.Error("the packet filter knows nothing of the uplink that is there")
		}
		if p := r.problem("one-uplink"); p != nil {
			t.Errorf("stands: %+v", p)
		}
	})
}

// Phones with a new interface name each time they are plugged in do not accumulate.
func TestAutoIsBounded(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.net.setDefaults(leads("eth0", 1, 100))
		r.start()
		r.after(time.Minute)
		for n := range 20 {
			name := fmt.Sprintf("usb%d", n)
			r.net.addLine(name, 10+n)
			r.Routes.Device(10+n, true)
			r.net.setDefaults(leads("eth0", 1, 100), leads(name, 10+n, 200))
			r.after(10 * time.Second)
			if got := r.uplink(name).IPv4.State; got != control.Up {
				t.Fatalf("%s is %s", name, got)
			}
			r.Routes.Device(10+n, false)
			r.net.setDefaults(leads("eth0", 1, 100))
			r.change(name, func(l *line) { l.link = failover.Link{} })
			r.set.Add(int64(26 * time.Hour))
			r.after(time.Second)
		}
		check := func(when string) {
			got := r.status().Uplinks
			var names []string
			for _, u := range got {
				names = append(names, u.Name)
			}
			if len(got) != autoMost || !slices.Contains(names, "eth0") || !slices.Contains(names, "usb19") {
				t.Errorf("%s: uplinks %v", when, names)
			}
		}
		check("at the end")
		r.restart()
		r.after(time.Minute)
		check("after a restart")
		// A clock that is set makes nothing old, whatever it was before.
		for _, by := range []time.Duration{-50 * 365 * 24 * time.Hour, 49 * 365 * 24 * time.Hour, 2 * autoAge, 365*24*time.Hour - 2*autoAge} {
			r.set.Add(int64(by))
			r.net.setDefaults(leads("eth0", 1, uint32(100+by/time.Hour%5)))
			r.after(time.Minute)
			check(fmt.Sprintf("with a clock set by %v", by))
		}
		// Interfaces that have not been seen for long are forgotten.
		r.stop()
		r.set.Add(int64(autoAge))
		r.start()
		r.after(time.Minute)
		if got := r.status().Uplinks; len(got) != 1 || got[0].Name != "eth0" {
			t.Errorf("after %v: %+v", autoAge, got)
		}
	})
}

// Nine interfaces with a working default route are one too many, and that is
// reported.
func TestAutoIsFull(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		var all []linkmon.Default
		for n := range autoMost + 1 {
			name := fmt.Sprintf("wan%d", n)
			r.net.addLine(name, 10+n)
			r.Routes.Device(10+n, true)
			all = append(all, leads(name, 10+n, uint32(100+n)))
		}
		r.net.setDefaults(all...)
		r.start()
		r.after(time.Minute)
		if p := r.problem("auto-full"); p == nil || p.Severity != control.Warning || len(r.status().Uplinks) != autoMost {
			t.Errorf("problems: %+v", r.status().Problems)
		}
	})
}

// An interface whose default route encapsulates packets is left alone, and
// reported.
func TestAutoLeavesAnEncapsulatingDefault(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		tunnel := linkmon.Default{Interface: "eth2", Index: 3, Family: failover.IPv4, Encapsulates: true}
		r.net.setDefaults(leads("eth0", 1, 100), leads("eth1", 2, 200), tunnel)
		r.start()
		r.after(10 * time.Second)
		p := r.problem("route-not-carried")
		if p == nil || p.Object != "eth2" || p.Severity != control.Info {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if n := len(r.status().Uplinks); n != 2 {
			t.Errorf("%d uplinks, want two", n)
		}
	})
}

// While no rule keeps them on their interface, IPv6 probes could leave by another
// one: candidates send none, except an interface with the only IPv6 default route.
func TestAutoSendsNoUnboundIPv6(t *testing.T) {
	six := leads("eth1", 2, 200)
	six.Family = failover.IPv6
	for what, c := range map[string]struct {
		defaults []linkmon.Default
		want     string
	}{
		"none":            {[]linkmon.Default{leads("eth0", 1, 100)}, ""},
		"one":             {[]linkmon.Default{leads("eth0", 1, 100), six, six}, "eth1"},
		"two, and a half": {[]linkmon.Default{six, {Interface: "eth0", Family: failover.IPv6}, six}, ""},
	} {
		if got := defaultsOf(c.defaults).alone6; got != c.want {
			t.Errorf("%s: alone is %q, want %q", what, got, c.want)
		}
	}
	inBubble(t, auto, func(t *testing.T, r *rig) {
		r.net.lines["eth2"].black = [2]bool{true, true}
		r.net.setDefaults(leads("eth2", 3, 10), leads("eth0", 1, 100), six)
		r.start()
		r.after(time.Minute)
		r.net.mu.Lock()
		defer r.net.mu.Unlock()
		if n := r.net.asked6["eth2"]; n > 0 {
			t.Errorf("%d IPv6 probes of a candidate", n)
		}
		if r.net.asked6["eth1"] == 0 || r.net.asked["eth2"] == 0 {
			t.Errorf("probes: %v, in IPv6 %v", r.net.asked, r.net.asked6)
		}
	})
}

// What main prefers in each family carries in each, also after its IPv4 default was gone
// for a moment, and after a restart.
func TestAutoOrdersEachFamily(t *testing.T) {
	inBubble(t, auto, func(t *testing.T, r *rig) {
		leads6 := func(device string, index int, metric uint32) linkmon.Default {
			return linkmon.Default{Interface: device, Index: index, Family: failover.IPv6, Metric: metric, Source: "ra"}
		}
		first := leads("eth0", 1, 100)
		others := []linkmon.Default{leads("eth1", 2, 200), leads6("eth1", 2, 1224), leads6("eth0", 1, 2048)}
		want := func(when string) {
			t.Helper()
			r.after(time.Minute)
			for f, devices := range [2][]int{{1, 2}, {2, 1}} {
				if got := r.Routes.Ladder(failover.Family(f), 5364); !slices.Equal(got, devices) {
					t.Errorf("%s, %s: devices %v, want %v", when, failover.Family(f), got, devices)
				}
			}
		}
		r.net.setDefaults(append([]linkmon.Default{first}, others...)...)
		r.start()
		want("at the start")
		if p := r.problem("order-by-family"); p == nil || !strings.Contains(p.Text, "in ipv4 eth0, then eth1; in ipv6 eth1, then eth0") {
			t.Errorf("the problem: %+v", p)
		}
		if n := r.status().SwitchesTotal; n != 0 {
			t.Errorf("%d switches", n)
		}
		r.net.setDefaults(others...)
		want("without the first default")
		r.net.setDefaults(append([]linkmon.Default{first}, others...)...)
		want("with it again")
		r.restart()
		want("after a restart")
		r.net.setDefaults(first, leads("eth1", 2, 200), leads6("eth0", 1, 1024), leads6("eth1", 2, 1224))
		r.after(time.Minute)
		r.wantLadder(1, 2)
		if p := r.problem("order-by-family"); p != nil {
			t.Errorf("one order, and the problem %+v", p)
		}
	})
}
