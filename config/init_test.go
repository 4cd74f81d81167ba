package config

import (
	"strings"
	"testing"
)

// TestInit: what init prints means the same as auto does now.
func TestInit(t *testing.T) {
	for _, routes := range [][]DefaultRoute{
		nil,
		{{"eth0", 100, 0}},
		{{"wwan0", 700, 0}, {"eth0.100", 100, 0}},
		{{"wan0", 100, 3}, {"wan1", 100, 1}, {"wwan0", 700, 0}},
		{{"on", 1, 0}, {"5", 2, 0}, {"null", 3, 0}, {"a#b", 4, 0}, {"0x1", 5, 0}, {"- x", 6, 0}, {`q"\`, 7, 0}, {"y", 8, 0}, {".inf", 9, 0}, {"~", 10, 0}, {"#", 11, 0}},
	} {
		c := good(t, string(Init(routes)))
		want := Default().Auto(routes)
		if len(routes) == 0 {
			equal(t, "without routes", c, Default())
			continue
		}
		equal(t, "tiers", c.Policies[0].Tiers, Default().Engine(want, nil).Policies[0].Tiers)
		for i := range c.Uplinks {
			c.Uplinks[i].Line, want[i].shared = 0, shared{}
			if want[i].IsMetered() {
				want[i].Metered = MeteredYes
			}
		}
		equal(t, "uplinks", c.Uplinks, want)
		equal(t, "probe", c.Probe, defaultProbe())
	}
}

// TestInitComments: the commented lines are a good file too.
func TestInitComments(t *testing.T) {
	c := good(t, string(Init([]DefaultRoute{{"eth0", 1, 0}}))+uncommented())
	equal(t, "health", c.Health, defaultHealth())
	equal(t, "probe", c.Probe, defaultProbe())
}

// uncommented is initTail with its keys uncommented.
func uncommented() string {
	var b strings.Builder
	for line := range strings.Lines(initTail) {
		if s, ok := strings.CutPrefix(line, "# "); ok && !strings.HasPrefix(s, "What") {
			b.WriteString(s)
		}
	}
	return b.String()
}
