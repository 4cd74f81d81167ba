package daemon

import (
	"maps"
	"slices"
	"testing"

	"swerve/config"
	"swerve/failover"
	"swerve/lane"
	"swerve/routing"
)

func configured(pairs ...string) (out []config.Uplink) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, config.Uplink{Name: pairs[i], Interface: pairs[i+1]})
	}
	return out
}

func TestRenamedUplinks(t *testing.T) {
	past := configured("fiber", "wan0", "lte", "02:00:00:00:00:01")
	links := newPicture()
	links.set("fiber", failover.Link{Interface: "wan0", Index: 1, Present: true})
	links.set("lte", failover.Link{Interface: "wan1", Index: 2, Present: true})
	for what, c := range map[string]struct {
		next []config.Uplink
		want map[string]string
	}{
		"the same":           {past, nil},
		"another interface":  {configured("fiber", "wan2", "lte", "wan1"), nil},
		"renamed":            {configured("glass", "wan0"), map[string]string{"glass": "fiber"}},
		"swapped":            {configured("lte", "wan0", "fiber", "wan1"), map[string]string{"lte": "fiber", "fiber": "lte"}},
		"by MAC, as before":  {configured("modem", "02:00:00:00:00:01"), map[string]string{"modem": "lte"}},
		"shifted":            {configured("fiber", "wan1", "lte", "wan2"), map[string]string{"fiber": "lte"}},
		"the name goes on":   {configured("glass", "wan0", "fiber", "wan2"), map[string]string{"glass": "fiber"}},
		"another altogether": {configured("sat", "wan2"), nil},
	} {
		if got := renamedUplinks(past, c.next, links); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	inKernel := map[string]lane.Lane{"wan0": 1, "wan1": 2}
	for what, c := range map[string]struct {
		next []config.Uplink
		want map[string]string
	}{
		"renamed":       {configured("glass", "wan0", "lte", "wan1"), map[string]string{"glass": "fiber"}},
		"swapped":       {configured("lte", "wan0", "fiber", "wan1"), map[string]string{"lte": "fiber", "fiber": "lte"}},
		"not in kernel": {configured("fiber", "wan2"), nil},
	} {
		if got := renamedSince(c.next, inKernel, map[string]lane.Lane{"fiber": 1, "lte": 2}); !maps.Equal(got, c.want) {
			t.Errorf("at a start, %s: %v, want %v", what, got, c.want)
		}
	}
}

func TestStateUnderOtherNames(t *testing.T) {
	s := state{
		Lanes:    lanes{Uplinks: map[string]lane.Lane{"fiber": 1, "lte": 2, "sat": 3}, Policies: map[string]lane.Lane{"default": 64, "guests": 65}},
		Seen:     map[string][]string{"fiber": {"ipv4"}, "lte": {"ipv6"}},
		Patience: map[string]map[string]learnt{"lte": {"ipv4": {MS: 900}}},
		Lapses:   patiences{"lte": {"ipv6": {MS: 700}}},
		Holds:    debts{"lte": {"ipv4": {Owes: true}}},
		Native:   natives{"fiber": nil},
		Plain:    plains{"fiber": nil},
	}
	got := s.renamed(renames{uplinks: map[string]string{"fiber": "lte", "glass": "fiber"}, policies: map[string]string{"visitors": "guests"}})
	if !maps.Equal(got.Lanes.Uplinks, map[string]lane.Lane{"glass": 1, "fiber": 2, "sat": 3}) ||
		!maps.Equal(got.Lanes.Policies, map[string]lane.Lane{"default": 64, "visitors": 65}) {
		t.Errorf("lanes: %+v", got.Lanes)
	}
	if got.Seen["glass"][0] != "ipv4" || got.Seen["fiber"][0] != "ipv6" || got.Seen["lte"] != nil {
		t.Errorf("seen: %v", got.Seen)
	}
	if _, ok := got.Native["glass"]; !ok || len(got.Native) != 1 || got.Patience["fiber"]["ipv4"].MS != 900 {
		t.Errorf("native %v, patience %v", got.Native, got.Patience)
	}
	if _, ok := got.Plain["glass"]; !ok || got.Lapses["fiber"]["ipv6"].MS != 700 || !got.Holds["fiber"]["ipv4"].Owes || len(got.Holds) != 1 {
		t.Errorf("plain %v, lapses %v, holds %v", got.Plain, got.Lapses, got.Holds)
	}
	if s.Lanes.Uplinks["fiber"] != 1 {
		t.Error("the state before was changed")
	}
}

func TestRenamedPolicies(t *testing.T) {
	policy := func(name string, block bool, uplinks ...string) failover.Policy {
		p := failover.Policy{Name: name, Block: block}
		for _, u := range uplinks {
			p.Tiers = append(p.Tiers, []failover.Share{{Uplink: u, Weight: 1}})
		}
		return p
	}
	past := []failover.Policy{policy("guests", false, "lte"), policy("voice", true, "fiber", "lte")}
	for what, c := range map[string]struct {
		next []failover.Policy
		want map[string]string
	}{
		"one":             {[]failover.Policy{policy("visitors", false, "modem"), past[1]}, map[string]string{"visitors": "guests"}},
		"another content": {[]failover.Policy{policy("visitors", true, "modem"), past[1]}, nil},
		"both":            {[]failover.Policy{policy("a", true, "fiber", "modem"), policy("b", false, "modem")}, map[string]string{"a": "voice", "b": "guests"}},
		"one more":        {append(slices.Clone(past), policy("visitors", false, "modem")), nil},
		"two alike":       {[]failover.Policy{policy("a", false, "modem"), policy("b", false, "modem")}, map[string]string{"a": "guests"}},
	} {
		if got := renamedPolicies(past, c.next, map[string]string{"modem": "lte"}); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

func TestStrangers(t *testing.T) {
	s := setup{uplinks: configured("fiber", "ppp0", "lte", "usb0"), foreign: map[string]bool{"eth5": true, "wan0": false, "tun9": false}}
	media := map[Medium][]string{
		Line: {"eth5", "wan0", "usb1", "br-wan"}, OtherMedium: {"ppp1", "dummy0"}, Tunnel: {"tun9", "wg0"}, UnknownMedium: {"gone"},
	}
	kinds := map[int]Medium{}
	var routes []routing.Route
	names := map[int]string{}
	for m, list := range media {
		for _, name := range list {
			index := len(kinds) + 1
			kinds[index], names[index] = m, name
			routes = append(routes, routing.Route{
				Slot: routing.Slot{Table: routing.MainTable, Dst: anyIPv4}, Type: routing.Unicast, Hops: []routing.Hop{{Device: name, Index: index}},
			})
		}
	}
	var got []string
	for _, index := range s.strangers(routes, kinds) {
		got = append(got, names[index])
	}
	slices.Sort(got)
	if want := []string{"br-wan", "ppp1", "usb1", "wan0"}; !slices.Equal(got, want) {
		t.Errorf("strangers: %v, want %v", got, want)
	}
}
