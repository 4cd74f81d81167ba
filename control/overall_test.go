package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// sketch is a status in short: two uplinks' states, both carrying nothing.
func sketch(fiber4, fiber6, lte4, lte6 State) Status {
	return Status{
		Uplinks: []Uplink{
			{Name: "fiber", Enabled: true, Admin: Auto, IPv4: FamilyStatus{State: fiber4}, IPv6: FamilyStatus{State: fiber6}},
			{Name: "lte", Enabled: true, Admin: Auto, IPv4: FamilyStatus{State: lte4}, IPv6: FamilyStatus{State: lte6}},
		},
	}
}

func carried(s Status, v4, v6 string) Status {
	p := Policy{Name: "default"}
	if v4 != "" {
		p.IPv4 = []Share{{v4, 1}}
	}
	if v6 != "" {
		p.IPv6 = []Share{{v6, 1}}
	}
	s.Policies = append(s.Policies, p)
	return s
}

func TestOverall(t *testing.T) {
	problem := func(sev Severity) Status {
		s := carried(sketch(Up, Absent, Up, Absent), "fiber", "")
		s.Problems = []Problem{{Code: "x", Severity: sev}}
		return s
	}
	without := func(change func(*Uplink)) Status {
		s := carried(sketch(Up, Absent, Down, Absent), "fiber", "")
		change(&s.Uplinks[1])
		return s
	}
	shared := carried(sketch(Down, Absent, Up, Absent), "fiber", "")
	shared.Policies[0].IPv4 = append(shared.Policies[0].IPv4, Share{"lte", 1})
	second := carried(carried(sketch(Up, Absent, Down, Absent), "fiber", ""), "lte", "")

	for _, c := range []struct {
		what string
		s    Status
		want Severity
	}{
		{"all up", carried(sketch(Up, Up, Up, Up), "fiber", "fiber"), OK},
		{"absent family", carried(sketch(Up, Absent, Up, Absent), "fiber", ""), OK},
		{"suspect still answers", carried(sketch(Suspect, Absent, Up, Absent), "fiber", ""), OK},
		{"recovering carries", carried(sketch(Recovering, Absent, Up, Absent), "fiber", ""), OK},
		{"standby unknown", carried(sketch(Up, Absent, Unknown, Absent), "fiber", ""), OK},
		{"degraded", carried(sketch(Degraded, Absent, Up, Absent), "fiber", ""), Warning},
		{"standby down", carried(sketch(Up, Absent, Down, Absent), "fiber", ""), Warning},
		{"standby shunned", carried(sketch(Up, Absent, Shunned, Absent), "fiber", ""), Warning},
		{"one family down", carried(sketch(Up, Down, Up, Up), "fiber", "lte"), Warning},
		{"drained and down", without(func(u *Uplink) { u.Admin = Drained }), OK},
		{"disabled and down", without(func(u *Uplink) { u.Enabled = false }), OK},
		{"switched and down", without(func(u *Uplink) { u.Admin = Switched }), Warning},
		{"all down", carried(sketch(Down, Absent, Down, Absent), "fiber", ""), Critical},
		{"all shunned", carried(sketch(Shunned, Shunned, Shunned, Shunned), "fiber", "fiber"), Critical},
		{"not yet proven", carried(sketch(Unknown, Absent, Unknown, Absent), "fiber", ""), Critical},
		{"only IPv6 answers", carried(sketch(Down, Up, Down, Up), "fiber", "fiber"), Warning},
		{"nobody carries", carried(sketch(Up, Absent, Up, Absent), "", ""), Critical},
		{"carried by a stranger", carried(sketch(Up, Absent, Up, Absent), "cable", ""), Critical},
		{"one of a tier answers", shared, Warning},
		{"a second policy is dead", second, Critical},
		{"info", problem(Info), OK},
		{"warning", problem(Warning), Warning},
		{"critical", problem(Critical), Critical},
		{"nothing at all", Status{}, OK},
	} {
		if got := Overall(c.s); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// While the daemon is new, an uplink that had answered is not awaited as one that has not.
func TestStartingProblem(t *testing.T) {
	s := carried(sketch(Down, Absent, Down, Absent), "fiber", "")
	s.Now, s.Daemon.Since = At(time.Unix(1800000020, 0)), At(time.Unix(1800000000, 0))
	text := func() string {
		found := HealthProblems(&s)
		i := slices.IndexFunc(found, func(p Problem) bool { return p.Code == "starting" })
		if i < 0 {
			t.Fatalf("there is no such problem: %+v", found)
		}
		return found[i].Text + "; " + found[i].Remedy
	}
	if got := text(); !strings.Contains(got, "yet") || !strings.Contains(got, "DHCP") {
		t.Errorf("before any answer: %s", got)
	}
	s.Uplinks[1].LastProven = At(time.Unix(1800000010, 0)) // it carries nothing
	if got := text(); !strings.Contains(got, "yet") {
		t.Errorf("after an answer of one that does not carry: %s", got)
	}
	s.Uplinks[0].LastProven = At(time.Unix(1800000010, 0))
	if got := text(); strings.Contains(got, "yet") || strings.Contains(got, "DHCP") || !strings.Contains(got, "any more") {
		t.Errorf("after an answer: %s", got)
	}
}

func TestHealthProblems(t *testing.T) {
	s := fullStatus()
	down := missingUplink()
	down.Name, down.Carrier, down.IPv6 = "cable", new(false), down.IPv4
	down.IPv6.Since = before(time.Hour)
	drained := missingUplink()
	drained.Name, drained.Admin = "spare", Drained
	bad := fullUplink()
	bad.Name, bad.IPv4.State, bad.IPv4.Reason = "dsl", Degraded, "loss 31 %, over 20 %"
	s.Uplinks = append(s.Uplinks, down, drained, bad)
	s.Policies = append(s.Policies, Policy{Name: "voice", IPv4: []Share{{"cable", 1}}}, Policy{Name: "empty"},
		Policy{Name: "guests", IPv4: []Share{{"cable", 1}}, Blocked: ByFamily{IPv4: true, IPv6: true}})
	golden(t, "problems.json", indented(t, HealthProblems(s)))
}

// An uplink without its interface is named by itself beside many that are dead, and many
// of those are one problem of their own.
func TestMissingInterfacesAreNoDeadUplinks(t *testing.T) {
	down := func(name, reason string) Uplink {
		u := Uplink{Name: name, Interface: name, Enabled: true}
		u.IPv4 = FamilyStatus{State: Down, Reason: reason}
		u.IPv6 = FamilyStatus{State: Absent}
		return u
	}
	s := &Status{}
	for i := range 4 {
		s.Uplinks = append(s.Uplinks, down(fmt.Sprintf("dead%d", i), "0 of 3 targets answer"))
	}
	s.Uplinks = append(s.Uplinks, down("usb0", "interface usb0 is missing"))
	found := HealthProblems(s)
	if len(found) != 2 || found[0].Object != "uplinks" || !strings.HasPrefix(found[0].Text, "4 uplinks are down in ipv4: dead0") || found[1].Object != "usb0" {
		t.Errorf("%+v", found)
	}
	for _, p := range found {
		if strings.Contains(p.Remedy, "see swerve status") {
			t.Errorf("it is read there: %s", p.Remedy)
		}
	}
	for i := range 4 {
		s.Uplinks[i].IPv4.Reason = "interface x is missing"
	}
	if found = HealthProblems(s); len(found) != 1 || !strings.HasPrefix(found[0].Text, "the interfaces of 5 uplinks are missing: dead0, dead1, dead2 and 2 more") {
		t.Errorf("all are missing: %+v", found)
	}
}

// Many uplinks with one trouble are one problem.
func TestProblemsOfManyAreGrouped(t *testing.T) {
	var uplinks []Uplink
	for i := range 60 {
		u := Uplink{Name: fmt.Sprintf("wan%d", i+1), Enabled: true, Admin: Auto, IPv4: FamilyStatus{State: Down, Reason: "no carrier"}, IPv6: FamilyStatus{State: Absent}}
		uplinks = append(uplinks, u)
	}
	problems := HealthProblems(&Status{Uplinks: uplinks})
	if len(problems) != 1 || problems[0].Code != "uplink-down" || problems[0].Text != "60 uplinks are down in ipv4: wan1, wan2, wan3 and 57 more" {
		t.Errorf("problems: %+v", problems)
	}
	uplinks[7].IPv4.State, uplinks[7].IPv6.State = Up, Down
	if problems := HealthProblems(&Status{Uplinks: uplinks}); problems[0].Text != "60 uplinks are down: wan1, wan2, wan3 and 57 more" {
		t.Errorf("not all in one family: %+v", problems)
	}
	if few := HealthProblems(&Status{Uplinks: uplinks[:3]}); len(few) != 3 || few[2].Object != "wan3" {
		t.Errorf("problems of three: %+v", few)
	}
}

// blocked is a status whose policy refuses new IPv4 flows.
func blocked(s Status) Status {
	s.Policies[0].Blocked.IPv4 = true
	return s
}

// What blocks is carried by nothing, in the family in which it does.
func TestBlockedIsNotCarried(t *testing.T) {
	s := Status{Policies: []Policy{{Name: "guests", IPv4: []Share{{"lte", 1}}, IPv6: []Share{{"lte", 1}}, Blocked: ByFamily{IPv4: true}}}}
	if !s.Carries("lte") {
		t.Error("in IPv6 it carries")
	}
	s.Policies[0].Blocked.IPv6 = true
	if s.Carries("lte") {
		t.Error("it carries what is refused")
	}
}

// A family in which nothing answers is told although the other one works, and only then;
// one that was never offered, or has not answered yet, is no outage.
func TestDeadFamily(t *testing.T) {
	for _, c := range []struct {
		what string
		s    Status
		want string
	}{
		{"both work", carried(sketch(Up, Up, Up, Up), "fiber", "fiber"), ""},
		{"IPv4 is dead", carried(sketch(Down, Up, Down, Up), "fiber", "fiber"), "no uplink of policy default answers in ipv4, so whoever has only ipv4 is offline"},
		{"IPv6 is dead", carried(sketch(Up, Shunned, Up, Down), "fiber", "lte"), "no uplink of policy default answers in ipv6, so whoever has only ipv6 is offline"},
		{"the spare is down", carried(sketch(Up, Up, Down, Down), "fiber", "fiber"), ""},
		{"IPv6 is absent", carried(sketch(Up, Absent, Up, Absent), "fiber", ""), ""},
		{"IPv6 has not answered yet", carried(sketch(Up, Unknown, Up, Unknown), "fiber", "fiber"), ""},
		{"IPv4 is blocked", blocked(carried(sketch(Down, Up, Down, Up), "fiber", "fiber")), "no uplink of policy default answers, so its new flows are refused in ipv4 (last_resort: block)"},
		{"all is dead", carried(sketch(Down, Down, Down, Down), "fiber", "fiber"), ""},
	} {
		var got string
		for _, p := range HealthProblems(&c.s) {
			if p.Code == "family-dead" {
				got = p.Text
				if p.Severity != Warning || p.Object != "default" || p.Remedy == "" {
					t.Errorf("%s: %+v", c.what, p)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
