package config

import (
	"strings"
	"testing"
)

// TestInit: what init prints means the same as auto does now.
func TestInit(t *testing.T) {
	for _, routes := range [][]DefaultRoute{
		nil,
		{{"eth0", 100}},
		{{"wwan0", 700}, {"eth0.100", 100}},
		{{"on", 1}, {"5", 2}, {"null", 3}, {"a#b", 4}, {"0x1", 5}, {"- x", 6}, {`q"\`, 7}, {"y", 8}, {".inf", 9}, {"~", 10}, {"#", 11}},
	} {
		c := good(t, string(Init(routes, nil)))
		want := Default().Auto(routes)
		if len(routes) == 0 {
			equal(t, "without routes", c, Default())
			continue
		}
		for i := range c.Uplinks {
			c.Uplinks[i].Line = 0
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
	c := good(t, string(Init([]DefaultRoute{{"eth0", 1}}, nil))+uncommented())
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
