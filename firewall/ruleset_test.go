package firewall

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"swerve/failover"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGolden(t *testing.T) {
	for name, g := range map[string]Goal{"two-uplinks": twoUplinks(), "three-policies": threePolicies()} {
		file := filepath.Join("testdata", name+".nft")
		got := Ruleset(g).String()
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sameLines(t, got, string(want))
	}
}

// The order of a goal's lists does not matter.
func TestRulesetIsOrdered(t *testing.T) {
	g := threePolicies()
	want := Ruleset(g)
	slices.Reverse(g.Uplinks)
	slices.Reverse(g.Policies)
	slices.Reverse(g.Uplinks[0].SNATExcept)
	slices.Reverse(g.Lost[failover.IPv4])
	got := Ruleset(g)
	sameLines(t, got.String(), want.String())
	if got.digest != want.digest {
		t.Error("equal tables have different digests")
	}
}

// A part of a goal that cannot be applied does not affect the others.
func TestRulesetOmitsWhatCannotBeApplied(t *testing.T) {
	want := Ruleset(twoUplinks()).String()
	g := twoUplinks()
	g.Uplinks = append(g.Uplinks, Uplink{Lane: 64, Interface: "wan2"}, Uplink{Lane: 1, Interface: "wan3"})
	g.Policies = append(g.Policies, Policy{Lane: 127}, Policy{Lane: 64, Name: "again"}, Policy{Lane: 3})
	g.Lost[failover.IPv6] = []Pair{{3, 64}, {1, 65}, {1, 127}}
	sameLines(t, Ruleset(g).String(), want)

	for _, name := range []string{`a"; drop`, "eth*", `a\b`, "sixteen-letters-", "a b", "é"} {
		g := twoUplinks()
		g.Uplinks[1].Interface = ""
		want := Ruleset(g).String()
		g.Uplinks[1].Interface = name
		sameLines(t, Ruleset(g).String(), want)
	}
	g = twoUplinks()
	g.Uplinks[1].Interface = "wan0"
	for _, m := range Ruleset(g).maps {
		if m.name == arrivals && (len(m.elements) != 1 || m.elements[0].chain != "in_1") {
			t.Errorf("two uplinks on one interface: %v", m.elements)
		}
	}
}

// Both digests cover what they should, and rules have distinct ids.
func TestDigests(t *testing.T) {
	a, b := twoUplinks(), twoUplinks()
	b.Lost[failover.IPv4] = []Pair{{1, 64}}
	x, y := Ruleset(a), Ruleset(b)
	if x.rulesDigest != y.rulesDigest || x.digest == y.digest {
		t.Error("a lost pair should change elements, and nothing else")
	}
	b.Uplinks[1].Interface = "wan9"
	if z := Ruleset(b); z.digest == y.digest {
		t.Error("an interface is renamed, and the digest stays")
	}
	b.Uplinks[1].SNAT = false
	if z := Ruleset(b); z.rulesDigest == y.rulesDigest {
		t.Error("source NAT is off, and the digest of the rules stays")
	}
	ids := map[uint64]string{}
	for _, c := range Ruleset(manyUplinks(63, 63)).chains {
		for _, r := range c.rules {
			if before, taken := ids[r.id]; taken {
				t.Errorf("%s: %s has the id of %s", c.name, r, before)
			}
			ids[r.id] = c.name + ": " + r.String()
		}
	}
}

// A table computed from another one is the same as one computed from nothing, however
// the two goals differ.
func TestTableFromAnother(t *testing.T) {
	goals := map[string]func(*Goal){
		"as it was":         func(*Goal) {},
		"lost":              func(g *Goal) { g.Lost = [2][]Pair{{{2, 66}, {1, 64}, {1, 99}}, {{1, 65}}} },
		"lost otherwise":    func(g *Goal) { g.Lost = [2][]Pair{1: {{2, 64}}} },
		"an address":        func(g *Goal) { g.Uplinks[1].Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.9")} },
		"another interface": func(g *Goal) { g.Uplinks[0].Interface = "lte7"; g.Lost[0] = []Pair{{1, 64}} },
		"a policy less":     func(g *Goal) { g.Policies = g.Policies[:1] },
		"other masks":       func(g *Goal) { g.Layout.MarkMask, g.Layout.CTMask = 0x7f, 0x7fff },
		"nothing":           func(g *Goal) { *g = Goal{} },
	}
	for from, before := range goals {
		for to, after := range goals {
			a, b := threePolicies(), threePolicies()
			before(&a)
			after(&b)
			got, want := Ruleset(a).For(b), Ruleset(b)
			if got.digest != want.digest || got.String() != want.String() {
				t.Errorf("from %q to %q: %s\nwant %s", from, to, got, want)
			}
		}
	}
	if got, want := (Table{}).For(threePolicies()), Ruleset(threePolicies()); got.digest != want.digest {
		t.Error("the table computed from an empty one differs")
	}
}

func TestDistinctPrefixes(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"10.1.2.3/8"}, []string{"10.0.0.0/8"}},
		{[]string{"10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/8", "10.0.0.0/8"}, []string{"10.0.0.0/8", "11.0.0.0/8"}},
		{[]string{"0.0.0.0/0", "255.255.255.255/32"}, []string{"0.0.0.0/0"}},
	} {
		if got := distinct(prefixes(c.in...)); !slices.Equal(got, prefixes(c.want...)) {
			t.Errorf("%v: got %v, want %v", c.in, got, c.want)
		}
	}
}
