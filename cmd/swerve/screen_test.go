package main

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"swerve/control"
)

// noon is when the tests' statuses are taken.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)

func before(d time.Duration) control.Time { return control.At(noon.Add(-d)) }

func familyUp(gateway string, rtt float64) control.FamilyStatus {
	addr := netip.MustParseAddr(gateway)
	return control.FamilyStatus{State: control.Up, Since: before(3 * time.Hour), Gateway: &addr,
		Loss: new(0.0), RTTMS: &rtt, JitterMS: new(0.4), PatienceMS: 500}
}

// quietStatus is a gateway with nothing to report.
func quietStatus() *control.Status {
	return &control.Status{
		Now: control.At(noon), Overall: control.OK, Software: "1.0.0",
		Daemon: control.Daemon{PID: 812, Since: before(26 * time.Hour), Config: "/etc/swerve/swerve.yaml", Generation: 7},
		Uplinks: []control.Uplink{
			{Name: "fiber", Interface: "eth0", Enabled: true, Carrier: new(true), Admin: control.Auto,
				IPv4: familyUp("203.0.113.1", 12.14), IPv6: familyUp("fe80::1", 11)},
			{Name: "lte", Interface: "wwan0", Enabled: true, Carrier: new(true), Metered: true, Admin: control.Auto,
				IPv4: familyUp("10.64.64.64", 48.3), IPv6: control.FamilyStatus{State: control.Absent}},
		},
		Policies: []control.Policy{{Name: "default", IPv4: []control.Share{{Uplink: "fiber", Weight: 1}},
			IPv6: []control.Share{{Uplink: "fiber", Weight: 1}}}},
	}
}

// busyStatus is one with much to report, some of it too long for a line.
func busyStatus() *control.Status {
	s := quietStatus()
	s.Overall, s.Daemon.ConfigPending, s.SwitchesTotal = control.Warning, true, 12
	s.Software = "1.2.3-45-g0123456789-dirty"
	lte := &s.Uplinks[1]
	lte.IPv4.State, lte.IPv4.Since, lte.IPv4.Loss = control.Down, before(192*time.Second), new(1.0)
	lte.IPv4.RTTMS, lte.IPv4.Reason = nil, "0 of 3 targets answer for 518 ms: 1.1.1.1, 8.8.8.8 and 9.9.9.9 are all silent"
	lte.Admin, lte.OverrideUntil = control.Switched, before(-30*time.Minute)
	long := familyUp("2001:db8:1234:5678:9abc:def0:1234:5678", 1234.56)
	long.State, long.Loss, long.Reason = control.Degraded, new(0.314), "loss 31.4 %, over 20 %"
	s.Uplinks = append(s.Uplinks,
		control.Uplink{Name: "a-name-that-is-as-long-as-can-be", Interface: "enp0s31f6u1u2i3", Enabled: true,
			Carrier: new(false), Metered: true, Admin: control.Drained, OverrideUntil: before(-20 * time.Hour),
			HeldUntil: before(-time.Hour), IPv4: long, IPv6: control.FamilyStatus{State: control.Unknown}},
		control.Uplink{Name: "spare", Interface: "eth7", Admin: control.Auto,
			IPv4: control.FamilyStatus{State: control.Down, Reason: "no interface eth7\x1b]0;owned\a"},
			IPv6: control.FamilyStatus{State: control.Absent}})
	s.Policies = append(s.Policies, control.Policy{Name: "guests", IPv4: []control.Share{
		{Uplink: "fiber", Weight: 3}, {Uplink: "a-name-that-is-as-long-as-can-be", Weight: 1}}})
	s.Problems = append(control.HealthProblems(s), control.Problem{Code: "socket-group",
		Severity: control.Info, Object: "/run/swerve/swerve.sock", Text: "only its owner may use the socket", Remedy: "groupadd"})
	s.LastSwitch = &control.Switch{Time: before(192 * time.Second), SwitchDetail: control.SwitchDetail{
		Policy: "default", Family: "ipv4", Kind: "failover", From: []string{"lte"}, To: []string{"fiber", "spare"},
		Reason: "0 of 3 targets answer", EvidenceMS: new(120.2), SwitchMS: new(0.9)}}
	return s
}

func TestStatusScreen(t *testing.T) {
	empty := &control.Status{Now: control.At(noon), Overall: control.Critical}
	for name, s := range map[string]*control.Status{"quiet": quietStatus(), "busy": busyStatus(), "empty": empty} {
		text := statusScreen(s, false)
		golden(t, "status-"+name+".txt", text)
		for _, line := range strings.Split(text, "\n") {
			if columns(line) > screenWidth || strings.TrimRight(line, " ") != line || strings.Contains(line, "\x1b") {
				t.Errorf("%s: %d columns, a space at the end or an escape: %q", name, columns(line), line)
			}
		}
	}
}

// What needs nobody's attention is a note, a family that is not offered is not said to
// go by nothing, and a learnt patience is shown.
func TestStatusScreenOfAQuietMachine(t *testing.T) {
	s := quietStatus()
	for i := range s.Uplinks {
		s.Uplinks[i].IPv6 = control.FamilyStatus{State: control.Absent}
	}
	s.Policies[0].IPv6 = nil
	s.Uplinks[0].IPv4.PatienceMS, s.Uplinks[0].IPv4.PatienceLearnt = 1000, true
	s.Uplinks[0].IPv4.Rescued, s.Uplinks[0].IPv6.Rescued = new(3), new(0)
	s.Problems = []control.Problem{{Code: "one-uplink", Severity: control.Info, Object: "uplinks", Text: "a note"}}
	text := statusScreen(s, false)
	for _, want := range []string{"ok: 1 note\n", "\nNOTES\n", "  default: IPv4 by fiber\n", "after 1s of silence, learnt from this line\n",
		"3 addresses that it does not reach: by the next uplink\n"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not there once in\n%s", want, text)
		}
	}
	if strings.Contains(text, "nothing") {
		t.Errorf("IPv6 is said to go by nothing in\n%s", text)
	}
}

// Colours change nothing but the colour.
func TestStatusScreenInColour(t *testing.T) {
	s := busyStatus()
	coloured := statusScreen(s, true)
	if got := regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(coloured, ""); got != statusScreen(s, false) {
		t.Errorf("without its colours:\n%s", got)
	}
	for _, want := range []string{"\x1b[33mwarning\x1b[0m: 1 problem, 1 note", "\x1b[32mup\x1b[0m", "\x1b[31mdown\x1b[0m", "\x1b[33mdegraded\x1b[0m"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("%q is missing in\n%s", want, coloured)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct{ prefix, text, want string }{
		{"a: ", "", "a:"},
		{"a: ", "b  c\td", "a: b c d"},
		{"a: ", strings.Repeat("x", 76), "a: " + strings.Repeat("x", 76)},
		{"a: ", strings.Repeat("x", 77), "a: " + strings.Repeat("x", 76) + "\n    x"},
		{"a: ", "b " + strings.Repeat("x", 76), "a: b\n    " + strings.Repeat("x", 76)},
		{"a: ", "b " + strings.Repeat("ü", 75), "a: b " + strings.Repeat("ü", 75)},
	} {
		if got := wrap(c.prefix, c.text, 4); got != c.want {
			t.Errorf("%q, %q:\n%s\nwant\n%s", c.prefix, c.text, got, c.want)
		}
	}
}

// An uplink that was resumed before it was up says what it waits for.
func TestStatusScreenOfAResumedUplink(t *testing.T) {
	s := quietStatus()
	s.Uplinks[0].ResumePending = true
	if text := statusScreen(s, false); strings.Count(text, ", resumed once it is up") != 1 {
		t.Errorf("the screen is\n%s", text)
	}
}

// An uplink is said to be held back while another one carries in its place, and not once
// it carries itself.
func TestStatusScreenOfAHeldUplink(t *testing.T) {
	for carrying, want := range map[string]bool{"spare": true, "fiber": false} {
		s := quietStatus()
		s.Uplinks[0].HeldUntil = before(-time.Hour)
		s.Policies = []control.Policy{{Name: "default", IPv4: []control.Share{{Uplink: carrying, Weight: 1}}}}
		if text := statusScreen(s, false); strings.Contains(text, "held back until 14:00:00") != want {
			t.Errorf("%s carries, held is %t:\n%s", carrying, !want, text)
		}
	}
}
