package config

import (
	"fmt"
	"strings"
	"testing"
)

// Interfaces that share a default route share a tier by the same weights and in the route's order; others of the
// same metric stand alone.
func TestAutoSharesATier(t *testing.T) {
	c := Default()
	uplinks := c.Auto([]DefaultRoute{
		{Interface: "wan1", Metric: 100, Weight: 1}, {Interface: "lone", Metric: 100},
		{Interface: "wan0", Metric: 100, Weight: 3}, {Interface: "lte", Metric: 200},
		{Interface: "wan1", Metric: 1024, Weight: 9},
	})
	got := fmt.Sprint(c.Engine(uplinks, nil).Policies[0].Tiers)
	if want := "[[{lone 1}] [{wan1 1} {wan0 3}] [{lte 1}]]"; got != want {
		t.Errorf("tiers %s, want %s", got, want)
	}
}

// Each family has the order of its own default routes: by metric, then by the router's
// preference. Uplinks without one come last, in the order of the list.
func TestAutoOrdersEachFamily(t *testing.T) {
	at := func(metric, preference, weight int) Place {
		return Place{Held: true, Metric: metric, Preference: preference, Weight: weight}
	}
	for _, tc := range []struct {
		name         string
		routes       []DefaultRoute
		ipv4, ipv6   string // ipv6 is empty where it is that of IPv4
		text, noText string
	}{
		{"one order", []DefaultRoute{
			{Interface: "a", Metric: 100, Family: [2]Place{at(100, 0, 0), at(1024, 0, 0)}},
			{Interface: "b", Metric: 200, Family: [2]Place{at(200, 0, 0), at(1124, 0, 0)}},
		}, "[[{a 1}] [{b 1}]]", "", "order of preference: a, then b", "in IPv6"},
		{"crossed", []DefaultRoute{
			{Interface: "a", Metric: 100, Family: [2]Place{at(100, 0, 0), at(2048, 0, 0)}},
			{Interface: "b", Metric: 200, Family: [2]Place{at(200, 0, 0), at(1224, 0, 0)}},
		}, "[[{a 1}] [{b 1}]]", "[[{b 1}] [{a 1}]]", "order of preference in IPv6: b, then a\norder of preference in IPv4: a, then b", "\norder of preference:"},
		{"by the router's preference", []DefaultRoute{
			{Interface: "a", Metric: 100, Family: [2]Place{at(100, 0, 0), at(1024, 0, 0)}},
			{Interface: "b", Metric: 200, Family: [2]Place{at(200, 0, 0), at(1024, -1, 0)}},
			{Interface: "c", Metric: 300, Family: [2]Place{at(300, 0, 0), at(1024, 1, 0)}},
		}, "[[{a 1}] [{b 1}] [{c 1}]]", "[[{b 1}] [{a 1}] [{c 1}]]", "IPv6: b, then a, then c", ""},
		{"shared in one family", []DefaultRoute{
			{Interface: "a", Metric: 100, Family: [2]Place{at(100, 0, 0), at(1024, 0, 3)}},
			{Interface: "b", Metric: 200, Family: [2]Place{at(200, 0, 0), at(1024, 0, 1)}},
		}, "[[{a 1}] [{b 1}]]", "[[{a 3} {b 1}]]", "IPv6: a + b (3:1)", ""},
		{"nobody has IPv6", []DefaultRoute{
			{Interface: "a", Metric: 100, Weight: 3, Family: [2]Place{at(100, 0, 3), {}}},
			{Interface: "b", Metric: 100, Weight: 1, Family: [2]Place{at(100, 0, 1), {}}},
		}, "[[{a 3} {b 1}]]", "", "order of preference: a + b (3:1)", "in IPv6"},
		{"one has IPv6", []DefaultRoute{
			{Interface: "a", Metric: 100, Family: [2]Place{at(100, 0, 0), {}}},
			{Interface: "b", Metric: 200, Family: [2]Place{at(200, 0, 0), at(1024, 0, 0)}},
		}, "[[{a 1}] [{b 1}]]", "[[{b 1}] [{a 1}]]", "", ""},
	} {
		c := Default()
		uplinks := c.Auto(tc.routes)
		p := c.Engine(uplinks, nil).Policies[0]
		ipv6 := fmt.Sprint(p.Tiers6)
		if p.Tiers6 == nil {
			ipv6 = ""
		}
		if got := fmt.Sprint(p.Tiers); got != tc.ipv4 || ipv6 != tc.ipv6 {
			t.Errorf("%s: tiers %s and %s, want %s and %s", tc.name, got, ipv6, tc.ipv4, tc.ipv6)
		}
		var b strings.Builder
		if err := c.Summary(&b, uplinks, nil, noneFound); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), tc.text) || tc.noText != "" && strings.Contains(b.String(), tc.noText) {
			t.Errorf("%s: summary\n%s", tc.name, b.String())
		}
	}
}
