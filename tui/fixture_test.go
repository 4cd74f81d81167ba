package tui

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"swerve/control"
	"swerve/failover"
)

// noon is the time of the snapshots.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)

func before(d time.Duration) control.Time { return control.At(noon.Add(-d)) }

func familyUp(gateway string, rtt, loss float64) control.FamilyStatus {
	addr := netip.MustParseAddr(gateway)
	return control.FamilyStatus{State: control.Up, Since: before(3 * time.Hour), Gateway: &addr, Reason: "3 of 3 targets answer",
		Loss: &loss, RTTMS: &rtt, JitterMS: new(0.4), PatienceMS: 500}
}

func uplink(name, iface string, v4, v6 control.FamilyStatus) control.Uplink {
	return control.Uplink{Name: name, Interface: iface, Enabled: true, Carrier: new(true), Admin: control.Auto,
		IPv4: v4, IPv6: v6, Counters: control.Counters{RxBPS: new(uint64(12_345_678)), TxBPS: new(uint64(987_654))}}
}

func shares(names ...string) (out []control.Share) {
	for i, n := range names {
		out = append(out, control.Share{Uplink: n, Weight: len(names) - i})
	}
	return out
}

// allUp is a gateway with nothing to report.
func allUp() *Snapshot {
	lte := uplink("lte", "wwan0", familyUp("10.64.64.64", 48.31, 0.004), control.FamilyStatus{State: control.Absent})
	lte.Metered = true
	lte.RxBPS, lte.TxBPS = new(uint64(0)), nil
	s := &control.Status{
		Now: control.At(noon), Overall: control.OK, Software: "1.0.0",
		Daemon: control.Daemon{PID: 812, Since: before(26 * time.Hour), Config: "/etc/swerve/swerve.yaml", Generation: 7},
		Uplinks: []control.Uplink{
			uplink("fiber", "eth0", familyUp("203.0.113.1", 12.14, 0), familyUp("fe80::1", 11, 0)), lte},
		Policies: []control.Policy{
			{Name: "default", IPv4: shares("fiber"), IPv6: shares("fiber")},
			{Name: "guests", IPv4: shares("lte")}},
	}
	return snapshotOf(s, []control.Event{
		detail(1, 26*time.Hour, control.DaemonDetail{Object: "daemon", Action: "started",
			Reason: "ipv4 by fiber, ipv6 by fiber", Generation: 7}),
		health(2, 3*time.Hour, "fiber", "ipv4", control.Unknown, control.Up, "1 of 3 targets answers", nil),
		health(3, 40*time.Minute, "lte", "ipv4", control.Up, control.Suspect, "1.1.1.1 is late", nil),
		health(4, 40*time.Minute, "lte", "ipv4", control.Suspect, control.Up, "8.8.8.8 answers", nil),
		detail(5, 12*time.Second, control.RepairDetail{Action: "restored", Object: "rule 5301", Reason: "another program took it", TookMS: new(0.8)}),
	})
}

func snapshotOf(s *control.Status, events []control.Event) *Snapshot {
	snap := &Snapshot{Socket: "/run/swerve/swerve.sock", Status: s, Received: noon, events: entriesOf(events...), trends: trends{}}
	for i, u := range s.Uplinks {
		for _, f := range failover.Families {
			snap.trends[track{u.Name, f}] = pastOf(i, u.Family(f))
		}
	}
	return snap
}

// entriesOf returns the entries of a journal with these events.
func entriesOf(events ...control.Event) []entry {
	var j journal
	return j.add(events)
}

// pastOf returns a minute of samples that end with the values of a status.
func pastOf(seed int, s control.FamilyStatus) (out []sample) {
	for i := range 50 {
		v := sample{at: noon.Add(time.Duration(i-49) * time.Second), rtt: measured(nil), loss: measured(nil)}
		switch {
		case s.State == control.Absent, s.State == control.Down && i > 40, s.State == control.Unknown:
		case s.RTTMS != nil:
			v.rtt = float32(*s.RTTMS * (1 + 0.3*math.Abs(math.Sin(float64(i+seed*7)/6))))
			v.loss = float32(*s.Loss * float64(i) / 49)
		default:
			v.rtt, v.loss = float32(12+i%3), 0
		}
		out = append(out, v)
	}
	return out
}

func health(seq uint64, ago time.Duration, uplink, family string, from, to control.State, reason string, evidence *float64) control.Event {
	return control.Event{Time: before(ago), Seq: seq, Detail: control.HealthDetail{
		Uplink: uplink, Family: family, From: from, To: to, Reason: reason, EvidenceMS: evidence}}
}

func detail(seq uint64, ago time.Duration, d control.Detail) control.Event {
	return control.Event{Time: before(ago), Seq: seq, Detail: d}
}

func lastSwitch(ago time.Duration, family, reason string, from, to []string) *control.Switch {
	return &control.Switch{Time: before(ago), SwitchDetail: control.SwitchDetail{Policy: "default", Family: family,
		Kind: "failover", From: from, To: to, Reason: reason, EvidenceMS: new(0.03), SwitchMS: new(0.914)}}
}

// finish adds what a daemon derives from the rest of its status.
func finish(snap *Snapshot) *Snapshot {
	s := snap.Status
	s.Problems = append(s.Problems, control.HealthProblems(s)...)
	control.SortProblems(s.Problems)
	s.Overall = control.Overall(*s)
	for i, u := range s.Uplinks {
		for _, f := range failover.Families {
			snap.trends[track{u.Name, f}] = pastOf(i, u.Family(f))
		}
	}
	return snap
}

// carrierLost is the situation after a cable was unplugged.
func carrierLost() *Snapshot {
	snap := allUp()
	s := snap.Status
	fiber := &s.Uplinks[0]
	fiber.Carrier, fiber.RxBPS, fiber.TxBPS = new(false), new(uint64(0)), new(uint64(0))
	for _, f := range []*control.FamilyStatus{&fiber.IPv4, &fiber.IPv6} {
		f.State, f.Reason, f.Since = control.Down, "no carrier", before(8*time.Second)
		f.Loss, f.RTTMS, f.JitterMS = nil, nil, nil
	}
	s.Policies[0] = control.Policy{Name: "default", IPv4: shares("lte")}
	s.SwitchesTotal, s.LastSwitch = 2, lastSwitch(8*time.Second, "ipv4", "no carrier", []string{"fiber"}, []string{"lte"})
	snap.events = append(snap.events, entriesOf(
		health(6, 8*time.Second, "fiber", "ipv4", control.Up, control.Down, "no carrier", new(0.03)),
		health(7, 8*time.Second, "fiber", "ipv6", control.Up, control.Down, "no carrier", new(0.03)),
		control.SwitchEvent(*s.LastSwitch),
		detail(9, 8*time.Second, control.SessionsDetail{Uplink: "fiber", Policy: "default", Family: "ipv4",
			Action: "moved", Reason: "the uplink is lost and the policy has another: flows go elsewhere, TCP is reset at its next packet", TookMS: new(4.8)}))...)
	return finish(snap)
}

// degraded is a gateway whose first uplink loses packets, and whose second is
// drained by the operator.
func degraded() *Snapshot {
	snap := allUp()
	s := snap.Status
	s.Daemon.ConfigPending = true
	fiber, lte := &s.Uplinks[0], &s.Uplinks[1]
	fiber.IPv4 = familyUp("203.0.113.1", 412.5, 0.314)
	fiber.IPv4.State, fiber.IPv4.Reason, fiber.IPv4.Since = control.Degraded, "loss 31.4 %, over 20 %", before(95*time.Second)
	fiber.IPv6.State, fiber.IPv6.Reason = control.Suspect, "a probe to 2606:4700:4700::1111 is 43 ms late, no other target answered since"
	fiber.HeldUntil = before(-10 * time.Minute)
	lte.Admin, lte.OverrideUntil = control.Drained, before(-30*time.Minute)
	lte.IPv4.State, lte.IPv4.Reason, lte.IPv4.Since = control.Recovering, "good for 12 s of 30 s", before(12*time.Second)
	s.Policies[1].IPv4 = shares("fiber", "lte")
	s.Problems = append(s.Problems, control.Problem{Code: "socket-group", Severity: control.Info, Since: before(26 * time.Hour),
		Object: "/run/swerve/swerve.sock", Text: "there is no group swerve: only root may use the socket", Remedy: "make it with `groupadd -r swerve`"})
	return finish(snap)
}

// noDaemon is the situation before any daemon has answered.
func noDaemon() *Snapshot {
	return &Snapshot{Socket: "/run/swerve/swerve.sock", trends: trends{}, Outage: &Outage{
		Since: noon.Add(-7 * time.Second), Tries: 4, Next: noon.Add(3200 * time.Millisecond), Err: goneError("there is no such socket")}}
}

func goneError(why string) error {
	return &control.Error{Action: "read the status from", Object: "/run/swerve/swerve.sock",
		Cause:  fmt.Errorf("%w: %s", control.ErrNoDaemon, why),
		Remedy: "start it with `systemctl start swerve` (if it does not stay, swerve check says why), or name its socket with --socket"}
}

// stale is what is known after the daemon has stopped.
func stale() *Snapshot {
	snap := carrierLost()
	snap.Received = noon.Add(-75 * time.Second)
	for _, past := range snap.trends {
		for i := range past {
			past[i].at = past[i].at.Add(-75 * time.Second)
		}
	}
	snap.Outage = &Outage{Since: noon.Add(-74 * time.Second), Tries: 17, Next: noon.Add(1700 * time.Millisecond), Err: goneError("connection refused")}
	return snap
}

// crowd is twelve uplinks in all states, many policies and many events.
func crowd() *Snapshot {
	snap := allUp()
	s := snap.Status
	states := []control.State{control.Up, control.Up, control.Degraded, control.Suspect, control.Shunned, control.Down,
		control.Recovering, control.Unknown, control.Up, control.Up, control.Up, control.Up}
	s.Uplinks = nil
	for i, state := range states {
		v4 := familyUp(fmt.Sprintf("203.0.%d.1", 100+i), 10+float64(i*i), float64(i)/200)
		v4.State, v4.Reason = state, "as the test wants it"
		if state == control.Down || state == control.Unknown {
			v4.RTTMS, v4.Loss, v4.JitterMS = nil, nil, nil
		}
		v6 := familyUp(fmt.Sprintf("fe80::%x", i+1), 9+float64(i*i), 0)
		if i%3 == 2 {
			v6 = control.FamilyStatus{State: control.Absent}
		}
		s.Uplinks = append(s.Uplinks, uplink(fmt.Sprintf("provider-%02d", i+1), fmt.Sprintf("eth%d", i), v4, v6))
	}
	s.Policies = nil
	for _, name := range []string{"default", "guests", "voice", "backup", "cameras"} {
		s.Policies = append(s.Policies, control.Policy{Name: name, IPv4: shares("provider-01", "provider-02"), IPv6: shares("provider-02")})
	}
	s.SwitchesTotal, s.LastSwitch = 41, lastSwitch(20*time.Minute, "ipv6", "0 of 3 targets answer", []string{"provider-05"}, []string{"provider-01", "provider-02"})
	for i := range 60 {
		snap.events = append(snap.events, entriesOf(health(uint64(6+i), time.Duration(60-i)*time.Second,
			fmt.Sprintf("provider-%02d", 1+i%12), "ipv4", control.Shunned, control.Up, fmt.Sprintf("answer %d", i), nil))...)
	}
	return finish(snap)
}

// longNames has very long and wide names, and texts with control sequences.
func longNames() *Snapshot {
	snap := allUp()
	s := snap.Status
	s.Software, s.Daemon.Config = "1.2.3-45-g0123456789-dirty", "/srv/設定/とても長い名前の設定ファイル.yaml"
	s.Uplinks[0].Name, s.Uplinks[0].Interface = "a-name-that-is-as-long-as-can-be", "光ファイバー回線\x1b[2J"
	s.Uplinks[0].IPv6 = familyUp("2001:db8:1234:5678:9abc:def0:1234:5678", 12345.6, 1)
	s.Uplinks[0].IPv4.State = control.Shunned
	s.Uplinks[0].IPv4.Reason = "0 of 3 targets answer: 衛星回線 \x1b]0;owned\a\u202e\u200b and tcp://some.host.with.a.very.long.name.example.org:65535 answers with e\u0301"
	s.Uplinks[0].RxBPS, s.Uplinks[0].TxBPS = new(uint64(1<<64-1)), new(uint64(999_499))
	s.Policies[0] = control.Policy{Name: "方針-with-a-long-name-behind-it-indeed", IPv4: shares(s.Uplinks[0].Name, "lte"), IPv6: shares(s.Uplinks[0].Name)}
	s.LastSwitch = lastSwitch(400*24*time.Hour, "ipv4", s.Uplinks[0].IPv4.Reason, []string{s.Uplinks[0].Name}, nil)
	snap.events = append(snap.events, entriesOf(detail(6, 0, control.OtherDetail{Type: "novelty\n\x1b[31m", Object: "x\ny", Action: "became", Reason: "line one\r\nline two\tand a tab"}))...)
	return finish(snap)
}
