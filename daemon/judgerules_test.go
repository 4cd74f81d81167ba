package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// ruleSetup has the uplinks of lanes 1 and 2.
func ruleSetup() setup {
	s := setup{cfg: config.Default(), layout: lane.DefaultLayout, uplinks: []config.Uplink{{Name: "fiber"}, {Name: "lte"}}}
	s.lanes.Uplinks = map[string]lane.Lane{"fiber": 1, "lte": 2}
	s.lanes.Policies = map[string]lane.Lane{"default": lane.DefaultPolicy}
	return s
}

func TestRuleProblems(t *testing.T) {
	marked := func(priority, mark, mask uint32) routing.OtherRule {
		return routing.OtherRule{Priority: priority, Mark: mark, Mask: mask, Table: 100, Suppress: -1}
	}
	all := func(priority uint32, table int) routing.OtherRule {
		return routing.OtherRule{Priority: priority, Table: table, Suppress: -1, All: true}
	}
	vpn := []routing.Route{{Slot: routing.Slot{Family: failover.IPv4, Table: 52, Dst: netip.MustParsePrefix("0.0.0.0/0")}}}
	inverted := marked(100, 0x10000000, 0xf0000000)
	inverted.Inverted = true
	mullvad, spared := marked(20000, 0x6d6f6c65, 0xffffffff), marked(100, 0x01000000, 0xff000000)
	mullvad.Inverted, spared.Inverted = true, true
	suppressed := all(100, routing.MainTable)
	suppressed.Suppress = 0
	past := routing.OtherRule{Priority: 100, Goto: 32766, All: true, Suppress: -1}
	for _, c := range []struct {
		name string
		rule routing.OtherRule
		want string // severity and code of the problem; empty for none
		kept bool
		has  string // in the remedy
	}{
		{"another program's bits", marked(100, 0x10000000, 0xf0000000), "info mark-clash", true, "kernel.mark_mask: 0x0fe00000 and kernel.ct_mask: 0x0fffe000"},
		{"the same after ours", marked(10000, 0x10000000, 0xf0000000), "info mark-clash", true, ""},
		{"Calico's mask with bits of ours", marked(100, 0x03000000, 0xffff0000), "info mark-clash", true, ""},
		{"an uplink's lane, before ours", marked(100, 0x01000000, 0xff000000), "warning mark-clash", false, ""},
		{"an uplink's lane, after ours", marked(10000, 0x01000000, 0xff000000), "warning mark-clash", false, ""},
		{"the default policy's lane", marked(100, 0x40000000, 0x40000000), "warning mark-clash", false, ""},
		{"what has none of them", inverted, "info mark-clash", true, ""},
		{"what has not Mullvad's mark", mullvad, "info mark-clash", true, ""},
		{"what has not an uplink's lane", spared, "warning mark-clash", false, ""},
		{"1 under a full mask", marked(100, 1, 0xffffffff), "", false, ""},
		{"0 under ours", marked(100, 0, 0xff000000), "", false, ""},
		{"bits of connections", marked(100, 0x80000, 0xff0000), "info mark-clash", false, "kernel.mark_mask: 0x0000fe00 and kernel.ct_mask: 0x0000fffe"},
		{"bits of connections, but main", routing.OtherRule{Priority: 5210, Mark: 0x80000, Mask: 0xff0000, Table: routing.MainTable, Suppress: -1}, "", false, ""},
		{"the bit of the established", marked(100, 0x800000, 0x800000), "info mark-clash", false, "kernel.ct_mask"},
		{"bits of nobody's", marked(100, 0x8000, 0xff00), "", false, ""},
		{"main before ours", all(1000, routing.MainTable), "warning foreign-rule", false, "kernel.first_priority to at most 586"},
		{"main between ours", all(5500, routing.MainTable), "warning foreign-rule", false, "above 5713"},
		{"main far before ours", all(100, routing.MainTable), "warning foreign-rule", false, "above 5713"},
		{"main after ours", all(32000, routing.MainTable), "", false, ""},
		{"main's narrower routes", suppressed, "", false, ""},
		{"a table without a default", all(1000, 99), "", false, ""},
		{"a VPN's table", all(1000, 52), "info foreign-rule", false, "nothing, if that is a VPN's"},
		{"past ours", past, "warning foreign-rule", false, ""},
		{"a table of ours", routing.OtherRule{Priority: 40, Table: 5310, Suppress: -1}, "warning table-clash", false, "first_table: 6300"},
	} {
		s := ruleSetup()
		six := c.rule
		six.Family = failover.IPv6
		rules := []routing.OtherRule{c.rule, six}
		var got []string
		for _, p := range s.ruleProblems(rules, append(vpn, routing.Route{Slot: routing.Slot{Family: failover.IPv6, Table: 52, Dst: netip.MustParsePrefix("::/0")}})) {
			got = append(got, string(p.Severity)+" "+p.Code)
			if !strings.Contains(p.Remedy, c.has) || p.Text == "" {
				t.Errorf("%s: %+v", c.name, p)
			}
		}
		want := []string{c.want}
		if c.want == "" {
			want = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: problems %q, want %q", c.name, got, want)
		}
		kept := s.keptMarks(rules)
		if c.kept != slices.Equal(kept, []firewall.Mark{{Value: c.rule.Mark, Mask: c.rule.Mask}}) || !c.kept && len(kept) > 0 {
			t.Errorf("%s: kept %+v", c.name, kept)
		}
	}
}

// A VPN that was there before us has its rule after ours for marks, and before our last one:
// what has no lane goes by it, which is told.
func TestRuleOfAVPNFromBefore(t *testing.T) {
	vpn := []routing.Route{{Slot: routing.Slot{Family: failover.IPv4, Table: 52, Dst: netip.MustParsePrefix("0.0.0.0/0")}}}
	for name, c := range map[string]struct {
		priority uint32
		table    int
		told     int
	}{
		"before our last rule": {32765, 52, 1},
		"after it":             {32766, 52, 0},
		"without a default":    {32765, 99, 0},
	} {
		found := ruleSetup().ruleProblems([]routing.OtherRule{{Priority: c.priority, Table: c.table, Suppress: -1, All: true}}, vpn)
		if len(found) != c.told || c.told > 0 && (found[0].Code != "foreign-rule" || found[0].Severity != control.Info || !strings.Contains(found[0].Remedy, "if that is a VPN's")) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// A VPN's rule for all but its own packets comes before ours, and the kernel filters reverse
// paths strictly: the VPN's own mark stays whole, and what else comes in is said to be
// dropped.
func TestStrictFilterBesideAVPN(t *testing.T) {
	vpn := []routing.Route{{Slot: routing.Slot{Family: failover.IPv4, Table: 51820, Dst: netip.MustParsePrefix("0.0.0.0/0")}}}
	rule := routing.OtherRule{Priority: 5298, Mark: 0xca6c, Mask: 0xffffffff, Inverted: true, All: true, Table: 51820, Suppress: -1}
	s := ruleSetup()
	if got, want := exemptMarks(s, []routing.OtherRule{rule, rule}), []firewall.Mark{{Value: 0xca6c, Mask: 0xffffffff}}; !slices.Equal(got, want) {
		t.Errorf("exempt marks %+v, want %+v", got, want)
	}
	for name, change := range map[string]func(*routing.OtherRule){
		"after ours":            func(r *routing.OtherRule) { r.Priority = 32765 },
		"for its own mark":      func(r *routing.OtherRule) { r.Inverted = false },
		"without a bit of ours": func(r *routing.OtherRule) { r.Mask = 0xffff },
		"with a bit of ours":    func(r *routing.OtherRule) { r.Mark = 0x6d6f6c65 },
	} {
		other := rule
		change(&other)
		if got := exemptMarks(s, []routing.OtherRule{other}); len(got) > 0 {
			t.Errorf("%s: exempt marks %+v", name, got)
		}
	}
	both := []routing.Interface{{Name: "wan0", Index: 2}, {Name: "wan1", Index: 3}}
	found := reversePathProblems(s, []routing.OtherRule{rule}, vpn, both)
	if len(found) != 1 || found[0].Code != "rp-filter" || found[0].Severity != control.Warning ||
		!strings.Contains(found[0].Remedy, "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.wan0.rp_filter=2 net.ipv4.conf.wan1.rp_filter=2") {
		t.Errorf("problems: %+v", found)
	}
	late := rule
	late.Priority = 32765
	if found := reversePathProblems(s, []routing.OtherRule{late}, vpn, both); len(found) > 0 {
		t.Errorf("after our lanes: %+v", found)
	}
	by := func(index int) []routing.Route {
		r := vpn[0]
		r.Hops = []routing.Hop{{Index: index}}
		return []routing.Route{r}
	}
	if found := reversePathProblems(s, []routing.OtherRule{rule}, by(2), both); len(found) != 1 || found[0].Object != "wan1" {
		t.Errorf("what it leads to itself: %+v", found)
	}
	if found := reversePathProblems(s, []routing.OtherRule{rule}, by(2), both[:1]); len(found) > 0 {
		t.Errorf("where nothing is dropped: %+v", found)
	}
	if found := reversePathProblems(s, []routing.OtherRule{rule}, vpn, nil); len(found) > 0 {
		t.Errorf("not strict: %+v", found)
	}
}

// Their number is bounded, and the last one counts the rest. Marks that are not kept
// for their number are not said to be.
func TestManyRuleProblems(t *testing.T) {
	marked := func(priority, mark, mask uint32) routing.OtherRule {
		return routing.OtherRule{Priority: priority, Mark: mark, Mask: mask, Table: 100, Suppress: -1}
	}
	var many []routing.OtherRule
	for n := range uint32(100) {
		many = append(many, marked(n, 0x10000000|n, 0xffffffff))
	}
	s := ruleSetup()
	found := s.ruleProblems(many, nil)
	if n, m := len(found), len(s.keptMarks(many)); n != mostIntruders+1 || m != mostKept {
		t.Fatalf("%d problems, %d marks", n, m)
	}
	if rest := found[mostIntruders]; !strings.Contains(rest.Text, "have 92 more rules") || rest.Severity != control.Info {
		t.Errorf("the rest: %+v", rest)
	}
	for i, r := range many {
		want := i < mostKept
		if p := markClash(s, r, many, s.keptMarks(many)); strings.Contains(p.Text, "left alone") != want || (p.Severity == control.Info) != want {
			t.Errorf("mark %d of 100: %+v", i+1, p)
		}
	}
}
