package config

import (
	"strings"
	"testing"
)

// TestColonsInFlow: an address is one value wherever it stands.
func TestColonsInFlow(t *testing.T) {
	for _, list := range []string{
		"2001:db8::/32", "::1", "::/0", "2001:db8::1", "2001:db8::1, ::2", "192.0.2.0/24, 2001:db8:1:2::/64, 10.0.0.1",
	} {
		c := good(t, minimal+"rules: [{from: ["+list+"], use: default}, {to: [10.0.0.1 , "+list+" ], in: lan, use: default}]\n")
		var got []string
		for _, p := range c.Rules[0].From {
			got = append(got, strings.TrimSuffix(strings.TrimSuffix(p.String(), "/128"), "/32"))
		}
		want := strings.ReplaceAll(list, "/32", "")
		if strings.Join(got, ", ") != want || len(c.Rules[1].To) != len(got)+1 {
			t.Errorf("%s: %v, %v", list, got, c.Rules[1].To)
		}
	}
	c := good(t, "uplinks: [{name: a, interface: 02:00:00:00:00:01, probe: {targets: [tcp://192.0.2.1:443, dns://9.9.9.9:53/a.b, https://192.0.2.1:1]}}]\n")
	equal(t, "interface", c.Uplinks[0].Interface, "02:00:00:00:00:01")
}

// TestColonsThatEndKeys: what is a key in YAML stays one.
func TestColonsThatEndKeys(t *testing.T) {
	for _, text := range []string{
		`{"uplinks":auto}`, `{'uplinks': auto}`, `{uplinks: auto,"log":{"level":info}}`, "{uplinks:\n auto}",
		`{uplinks: [{name: a, interface: b, probe: {targets: [1.1.1.1],"quorum":1}}]}`,
	} {
		good(t, text)
	}
	_, list := Parse("f", []byte("uplinks: auto\nlog: {level:info}\n"))
	want := "f:2: log.\"level:info\": unknown key level:info; one of level or format\n"
	if lines(list) != want {
		t.Errorf("got %s, want %s", lines(list), want)
	}
}
