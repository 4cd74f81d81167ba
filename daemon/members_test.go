package daemon

import (
	"slices"
	"testing"

	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// While all uplinks of a policy that blocks are down, its new flows are refused, and the
// flows of those by which nothing can leave.
func TestRefusedPairs(t *testing.T) {
	s, p := goalSetup(t)
	intent := goalIntent()
	g := goal{s, p, intent}.firewall(func(string) bool { return false })
	if len(g.Refused[failover.IPv4])+len(g.Refused[failover.IPv6]) > 0 {
		t.Errorf("refused although nothing is down: %v", g.Refused)
	}
	intent.Policies[1].Family[failover.IPv4].Blocked = true
	g = goal{s, p, intent}.firewall(func(string) bool { return false })
	if want := []firewall.Pair{{Policy: 65}, {Uplink: 9, Policy: 65}}; !slices.Equal(g.Refused[failover.IPv4], want) || len(g.Refused[failover.IPv6]) > 0 {
		t.Errorf("refused: %v, want %v in IPv4", g.Refused, want)
	}
}

// Rules of others after ours have their turn before the default policy's members, in
// their family.
func TestMembersYieldToRules(t *testing.T) {
	both := []firewall.Member{{Uplink: 1, Weight: 3}, {Uplink: 2, Weight: 1}}
	g := firewall.Goal{Policies: []firewall.Policy{
		{Lane: lane.DefaultPolicy, Spread: firewall.Pairs, Members: [2][]firewall.Member{both, both}},
		{Lane: 65, Spread: firewall.Pairs, Members: [2][]firewall.Member{both, both}},
	}}
	g = yieldToRules(g, []routing.ForeignRule{{Family: failover.IPv6, Priority: 20000, Table: 99}})
	if m := g.Policies[0].Members; len(m[failover.IPv4]) != 2 || len(m[failover.IPv6]) != 0 {
		t.Errorf("the default policy's members: %v", m)
	}
	if m := g.Policies[1].Members; len(m[failover.IPv4]) != 2 || len(m[failover.IPv6]) != 2 {
		t.Errorf("another policy's members: %v", m)
	}
}
