package firewall

import (
	"strings"
	"testing"

	"swerve/failover"
)

// While routes move to other interfaces, both the new and the former ones masquerade,
// with the same chains; a goal without a new interface needs nothing between.
func TestTransition(t *testing.T) {
	at := func(i int, device string) Goal {
		g := twoUplinks()
		g.Uplinks[i].Interface = device
		return g
	}
	exchanged := twoUplinks()
	exchanged.Uplinks[0].Lane, exchanged.Uplinks[0].Name, exchanged.Uplinks[0].Interface = 3, "sat", "wan2"
	swapped := twoUplinks()
	swapped.Uplinks[0].Interface, swapped.Uplinks[1].Interface = "wan1", "wan0"
	lost := twoUplinks()
	lost.Lost[failover.IPv4] = []Pair{{1, 64}}
	alone := twoUplinks()
	alone.Uplinks = alone.Uplinks[:1]
	taken := twoUplinks() // fiber goes to another interface, and lte to its former one
	taken.Uplinks[0].Interface, taken.Uplinks[1].Interface = "wan2", "wan0"
	unnamed := at(0, "")
	for name, c := range map[string]struct {
		from, to Goal
		needed   bool
		// snat has the elements of the map by which the source NAT of a device is found.
		snat string
	}{
		"another interface":       {twoUplinks(), at(0, "wan2"), true, `"wan2" : goto snat_1, "wan0" : goto snat_1, "wan1" : goto snat_2`},
		"another uplink":          {twoUplinks(), exchanged, true, `"wan0" : goto snat_1, "wan1" : goto snat_2, "wan2" : goto snat_3`},
		"one more":                {alone, twoUplinks(), true, `"wan0" : goto snat_1, "wan1" : goto snat_2`},
		"a former one taken over": {twoUplinks(), taken, true, `"wan2" : goto snat_1, "wan0" : goto snat_2, "wan1" : goto snat_2`},
		"it appears":              {unnamed, twoUplinks(), true, `"wan0" : goto snat_1, "wan1" : goto snat_2`},
		"it disappears":           {twoUplinks(), unnamed, false, ""},
		"one fewer":               {twoUplinks(), alone, false, ""},
		"swapped":                 {twoUplinks(), swapped, false, ""},
		"a verdict":               {twoUplinks(), lost, false, ""},
		"the same":                {twoUplinks(), twoUplinks(), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			between, needed := c.to.Transition(Ruleset(c.from).Goal())
			if needed != c.needed {
				t.Fatalf("needed: %v", needed)
			}
			if !needed {
				sameLines(t, Ruleset(between).String(), Ruleset(c.to).String())
				return
			}
			text := strings.Join(strings.Fields(Ruleset(between).String()), " ")
			_, snat, _ := strings.Cut(text, "map translated {")
			if snat, _, _ = strings.Cut(snat, "}"); !strings.Contains(snat, "{ "+c.snat+", ") {
				t.Errorf("source NAT while the routes move: %s, want %s", snat, c.snat)
			}
			for i, u := range c.to.Uplinks {
				if u.Former != "" {
					t.Errorf("the goal itself was changed: %+v", c.to.Uplinks[i])
				}
			}
		})
	}
}

// A former interface that an uplink of a goal has is that uplink's alone.
func TestFormerInterfaceOfAnother(t *testing.T) {
	g := twoUplinks()
	want := Ruleset(g).String()
	for _, former := range []string{"wan1", "wan0", `a"b`} {
		g.Uplinks[0].Former = former
		sameLines(t, Ruleset(g).String(), want)
	}
	g.Uplinks[0].Former, g.Uplinks[1].Former = "wan2", "wan2"
	if n := strings.Count(Ruleset(g).String(), `"wan2"`); n != 6 {
		t.Errorf("one former interface of two uplinks stands in %d maps and rules, want in 6", n)
	}
}
