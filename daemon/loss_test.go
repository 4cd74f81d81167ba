package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/fake"
)

// moving returns the lines about sessions, sorted.
func moving(lines []string) []string {
	var out []string
	for _, text := range []string{"grace", "delete ", "destroy", "poke "} {
		out = append(out, slices.DeleteFunc(fake.With(lines, text), func(l string) bool { return !strings.HasPrefix(l, text) })...)
	}
	slices.Sort(out)
	return out
}

// fiberMoved is the expected work, once, when fiber's sessions move to lte, one
// family after the other.
var fiberMoved = []string{
	"delete ipv4 flows of 1 by 64",
	"delete ipv6 flows of 1 by 64",
	"destroy sockets on 192.0.2.1",
	"destroy sockets on 2001:db8:1::2",
	"grace eth1",
	"grace eth1",
	"poke ipv4 clients of 1 by 64",
	"poke ipv6 clients of 1 by 64",
}

// fiberCut is the same when both families are lost at once.
var fiberCut = []string{
	"delete ipv4 ipv6 flows of 1 by 64",
	"destroy sockets on 192.0.2.1",
	"destroy sockets on 2001:db8:1::2",
	"grace eth1 eth1",
	"poke ipv4 ipv6 clients of 1 by 64",
}

func TestBlackHole(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.Journal.Take()

		r.blackHole("eth0", true, both...)
		r.until("traffic leaves fiber", time.Second, r.isIn("fiber", control.Shunned))
		r.wantLadder(2, 1)
		if did := moving(r.Journal.Take()); len(did) > 0 {
			t.Errorf("sessions were moved by a shunning: %v", did)
		}
		r.until("fiber is down", time.Second, r.isIn("fiber", control.Down))
		r.after(10 * time.Second)
		if did := moving(r.Journal.Take()); !slices.Equal(did, fiberMoved) {
			t.Errorf("sessions were moved thus:\n%s", strings.Join(did, "\n"))
		}
		wantFailover(t, r.take())
		if rules := r.Routes.RuleTexts("from 192.0.2.1 "); len(rules) > 0 {
			t.Errorf("sockets on the lost uplink's address are still led to it: %v", rules)
		}

		r.blackHole("eth0", false, both...)
		r.until("traffic is back", time.Minute, func() bool { return r.status().SwitchesTotal == 4 })
		r.wantLadder(1, 2)
		r.after(time.Minute)
		if did := moving(r.Journal.Take()); len(did) > 0 {
			t.Errorf("sessions were moved by a return: %v", did)
		}
		if got := ofType(r.take(), control.EventSwitch); len(got) != 2 || got[0].Detail.(control.SwitchDetail).Kind != "failback" {
			t.Errorf("the way back: %+v", got)
		}
		if rules := r.Routes.RuleTexts("from 192.0.2.1 "); len(rules) != 1 {
			t.Errorf("sockets on fiber's address: %v", rules)
		}
	})
}

// What leaves a degraded uplink by on_degraded is told as that, and not as the loss of an
// uplink.
func TestMoveOffADegradedUplink(t *testing.T) {
	file := twoUplinks + "sessions: {on_degraded: move}\nhealth: {window: 5s, latency: {degraded: 100ms, clear: 50ms}}\n"
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.start()
		r.after(10 * time.Second)
		r.take()
		r.change("eth0", func(l *line) { l.rtt = 200 * time.Millisecond })
		r.until("traffic leaves fiber", time.Minute, func() bool {
			return r.isIn("fiber", control.Degraded)() && slices.Equal(r.Routes.Ladder(failover.IPv6, 5364), []int{2, 1})
		})
		r.after(5 * time.Second)
		told := map[string]bool{}
		for _, e := range ofType(r.take(), control.EventSessions) {
			d := e.Detail.(control.SessionsDetail)
			if !strings.HasPrefix(d.Reason, whyDegraded) || d.SilentMS != nil {
				t.Errorf("sessions: %+v", d)
			}
			told[d.Action+d.Family] = true
		}
		if len(told) != 4 {
			t.Errorf("told of %v, want moved and settled in each family", told)
		}
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(5 * time.Second)
		if r.loop.enforcer.silences.degraded[path{"fiber", failover.IPv4}] {
			t.Error("an uplink without carrier counts as degraded")
		}
	})
}

// By on_down: keep nothing is moved off a silent uplink, and the status says so.
func TestSessionsWaitByOnDown(t *testing.T) {
	inBubble(t, twoUplinks+"sessions: {on_down: keep}\n", func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		const waits = "; its sessions wait for it (on_down: keep)"
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", time.Minute, r.isIn("fiber", control.Down))
		r.after(time.Second)
		if p := r.problem("uplink-down"); p == nil || !strings.HasSuffix(p.Text, waits) {
			t.Errorf("silent: %+v", p)
		}
		if told := ofType(r.take(), control.EventSessions); len(told) > 0 {
			t.Errorf("told of sessions: %+v", told)
		}
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(time.Second)
		if p := r.problem("uplink-down"); p == nil || strings.Contains(p.Text, "wait") {
			t.Errorf("without carrier: %+v", p)
		}
	})
}

// A session is silent while this machine pauses too, which is no evidence.
func TestSilenceCountsPauses(t *testing.T) {
	l := &loop{enforcer: &enforcer{silences: newSilences(), kernel: &kernel{}}}
	l.followSilence([]failover.Record{{At: 10 * time.Second, Health: &failover.HealthChange{
		Uplink: "fiber", From: failover.Suspect, To: failover.Down, Evidence: 500 * time.Millisecond, Paused: 400 * time.Millisecond,
	}}})
	if at, known := l.enforcer.silences.onset("fiber", failover.IPv4); !known || at != 9100*time.Millisecond {
		t.Errorf("the first sign was at %v (%v)", at, known)
	}
}

// wantFailover checks the events of a failover from fiber to lte, in both families.
func wantFailover(t *testing.T, events []control.Event) {
	t.Helper()
	switches := ofType(events, control.EventSwitch)
	if len(switches) != 2 {
		t.Fatalf("%d switches, want one a family: %+v", len(switches), switches)
	}
	for _, e := range switches {
		s := e.Detail.(control.SwitchDetail)
		if s.Policy != "default" || s.Kind != "failover" || !slices.Equal(s.From, []string{"fiber"}) || !slices.Equal(s.To, []string{"lte"}) ||
			s.Reason == "" || s.EvidenceMS == nil || *s.EvidenceMS <= 0 || s.SwitchMS == nil {
			t.Errorf("switch: %+v", s)
		}
	}
	moved := ofType(events, control.EventSessions)
	if len(moved) != 4 {
		t.Fatalf("sessions were moved and counted %d times, want twice of each family: %+v", len(moved), moved)
	}
	told := map[string]bool{}
	for _, e := range moved {
		d := e.Detail.(control.SessionsDetail)
		ok := d.Uplink == "fiber" && d.Policy == "default" && d.SilentMS != nil && *d.SilentMS > 0 && d.TookMS != nil
		switch d.Action {
		case "moved":
			ok = ok && *d.Destroyed == 1 && *d.Poked == 2 && d.Moved == nil
		case "settled":
			ok = ok && *d.Moved == 5 && d.Destroyed == nil && d.Poked == nil && told["moved"+d.Family]
		}
		if told[d.Action+d.Family] || !ok {
			t.Errorf("sessions: %+v", d)
		}
		told[d.Action+d.Family] = true
	}
	if repairs := ofType(events, control.EventRepair); len(repairs) > 0 {
		t.Errorf("own changes were reported as repairs: %+v", repairs)
	}
}

// Routes are changed before the packet filter, and sessions are moved last, so that
// each step has what it depends on.
func TestOrderOfAMove(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(time.Second)
		did := r.Journal.Take()
		order := []int{
			firstOf(did, "route replace default table 5364 proto 83 metric 1 via 192.0.2.102"), lastOf(did, "rule del pref 5451"),
			firstOf(did, "nft move"), firstOf(did, "grace"),
			firstOf(did, "route add throw 192.0.0.8"), firstOf(did, "route del throw 192.0.0.8"),
			firstOf(did, "route add throw 100::8"), firstOf(did, "route del throw 100::8"),
			firstOf(did, "destroy"), firstOf(did, "poke"), firstOf(did, "delete"),
		}
		if !slices.IsSorted(order) || order[0] != 0 || len(fake.With(did, "nft")) != 1 || lastOf(did, "route replace") > order[2] {
			t.Errorf("not in the order routes, packet filter, grace, touch, sockets, pokes, flows:\n%s", strings.Join(did, "\n"))
		}
		for _, line := range fake.With(did, "throw") {
			if !strings.Contains(line, "table 5301 ") {
				t.Errorf("touched elsewhere: %s", line)
			}
		}
	})
}

// Each family is judged and moved independently.
func TestBlackHoleOfOneFamily(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.blackHole("eth0", true, failover.IPv6)
		r.until("fiber is down", 3*time.Second, func() bool { return r.uplink("fiber").IPv6.State == control.Down })
		r.after(10 * time.Second)
		want := []string{"delete ipv6 flows of 1 by 64", "destroy sockets on 2001:db8:1::2", "grace eth1", "poke ipv6 clients of 1 by 64"}
		if did := moving(r.Journal.Take()); !slices.Equal(did, want) {
			t.Errorf("sessions were moved thus: %v", did)
		}
		if v4, v6 := r.Routes.Ladder(failover.IPv4, 5364), r.Routes.Ladder(failover.IPv6, 5364); !slices.Equal(v4, []int{1, 2}) || !slices.Equal(v6, []int{2, 1}) {
			t.Errorf("ladders %v and %v", v4, v6)
		}
	})
}

// If no uplink answers, nothing is changed.
func TestAllSilent(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		r.blackHole("eth0", true, both...)
		r.blackHole("eth1", true, both...)
		r.after(time.Minute)
		if did := moving(r.Journal.Take()); len(did) > 0 {
			t.Errorf("sessions were moved although nothing answers: %v", did)
		}
		r.wantLadder(1, 2)
		if r.problem("policy-dead") == nil {
			t.Errorf("problems: %+v", r.status().Problems)
		}
	})
}

func TestCarrierLoss(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.Journal.Take()
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.wantLadder(2, 1) // at once
		r.after(time.Second)
		if did := moving(r.Journal.Take()); !slices.Equal(did, fiberCut) {
			t.Errorf("sessions were moved thus: %v", did)
		}
		switches := ofType(r.take(), control.EventSwitch)
		if len(switches) != 2 || !strings.Contains(switches[0].Detail.(control.SwitchDetail).Reason, "carrier") {
			t.Errorf("switches: %+v", switches)
		}
		if p := r.problem("uplink-down"); p == nil || p.Object != "fiber" || !strings.Contains(p.Text, "no carrier") {
			t.Errorf("problems: %+v", r.status().Problems)
		}
	})
}

// A verdict is carried out before it is reported, since a slow reader must not
// delay a switch. It is still reported before the switch that follows from it.
func TestVerdictIsToldAfterTheSwitch(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.told = func(e control.Event) {
			if e.Type() == control.EventHealth {
				r.wantLadder(2, 1)
			}
		}
		r.change("eth0", func(l *line) { l.link.Carrier = false })
		r.after(time.Millisecond)
		var told []control.EventType
		for _, e := range r.take() {
			told = append(told, e.Type())
		}
		if want := []control.EventType{control.EventHealth, control.EventHealth, control.EventSwitch, control.EventSwitch}; len(told) < 4 || !slices.Equal(told[:4], want) {
			t.Errorf("reported: %v, want first %v", told, want)
		}
	})
}

// The name and addresses that an uplink has lost are needed to handle the flows
// that used it.
func TestInterfaceVanishesAndComesBack(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Journal.Take()
		fiber := newLine("eth0", 1).link
		r.change("eth0", func(l *line) { l.link = failover.Link{} })
		r.wantLadder(2)
		r.after(time.Second)
		if did := moving(r.Journal.Take()); !slices.Equal(did, fiberCut) {
			t.Errorf("sessions were moved thus: %v", did)
		}
		if got := r.uplink("fiber"); got.Interface != "eth0" || got.Carrier != nil || !strings.Contains(got.IPv4.Reason, "eth0") {
			t.Errorf("the status of a missing interface: %+v", got)
		}
		if rules := r.Routes.RuleTexts("oif eth0"); len(rules) != 4 {
			t.Errorf("rules by the lost device: %v", rules)
		}
		if !strings.Contains(r.Packets.Text(), "192.0.2.1") {
			t.Error("the packet filter forgot the address whose flows are strays now")
		}

		// It comes back with a new index and a new name, as a modem does.
		fiber.Index, fiber.Interface = 12, "wwan7"
		r.change("eth0", func(l *line) { l.link = fiber })
		r.wantLadder(2, 12)
		if old, now := r.Routes.RuleTexts("oif eth0"), r.Routes.RuleTexts("oif wwan7"); len(old) != 0 || len(now) != 4 {
			t.Errorf("rules by the old name: %v, by the new: %v", old, now)
		}
		// Its own name it may have again, when nobody runs.
		if text := r.Packets.Text(); !strings.Contains(text, `"eth0" : goto out_1`) || !strings.Contains(text, `"wwan7" : goto out_1`) {
			t.Errorf("the packet filter goes by one of its names alone:\n%s", text)
		}
		r.until("traffic is back", time.Minute, func() bool { return slices.Equal(r.Routes.Ladder(failover.IPv4, 5364), []int{12, 2}) })
		if got := r.uplink("fiber").Interface; got != "wwan7" {
			t.Errorf("its interface is %s", got)
		}
		if len(fake.With(r.Journal.Take(), "sysctl wwan7")) != 1 {
			t.Error("the sysctls of the new interface were not set once")
		}

		r.change("eth0", func(l *line) { l.link = failover.Link{} })
		if old, last := r.Routes.RuleTexts("oif eth0"), r.Routes.RuleTexts("oif wwan7"); len(old) != 0 || len(last) != 4 {
			t.Errorf("gone again; rules by the configured name: %v, by the last: %v", old, last)
		}
	})
}

// Routes that are removed with their device are not reported as deleted by another
// program, even if the kernel reports the device late.
func TestRoutesGoBeforeTheirLink(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.Routes.Device(1, false)
		r.after(100 * time.Millisecond) // the daemon tries to put them back
		r.net.change("eth0", func(l *line) { l.link.Present, l.link.AdminUp, l.link.Carrier = false, false, false })
		r.after(time.Second)
		r.wantLadder(2)
		if r.problem("kernel-refused") != nil {
			t.Errorf("problems: %+v", r.status().Problems)
		}
		if repairs := ofType(r.take(), control.EventRepair); len(repairs) > 0 {
			t.Errorf("reported as a repair: %+v", repairs[0].Detail)
		}
	})
}

func TestAddressChange(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.change("eth0", func(l *line) {
			l.link.Family[failover.IPv4].Addresses = []netip.Prefix{netip.MustParsePrefix("198.51.100.9/24")}
			l.link.Family[failover.IPv4].Gateway = netip.MustParseAddr("198.51.100.1")
		})
		if old, now := r.Routes.RuleTexts("from 192.0.2.1 "), r.Routes.RuleTexts("from 198.51.100.9 "); len(old) != 0 || len(now) != 1 {
			t.Errorf("rules by the old address: %v, by the new: %v", old, now)
		}
		if text := r.Packets.Text(); strings.Contains(text, "192.0.2.1,") || !strings.Contains(text, "198.51.100.9") {
			t.Error("the packet filter has the old address")
		}
		if got := r.uplink("fiber").IPv4.Gateway; got == nil || got.String() != "198.51.100.1" {
			t.Errorf("gateway %v", got)
		}
		r.wantLadder(1, 2)
		held, _ := r.Routes.Read()
		for _, route := range held.Routes {
			if strings.Contains(route.String(), "192.0.2.101") {
				t.Errorf("a route by the old gateway: %s", route)
			}
		}
	})
}
