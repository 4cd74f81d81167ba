package config

import (
	"strconv"
	"strings"
	"testing"
)

// TestInit: what init prints means the same as auto does now.
func TestInit(t *testing.T) {
	for _, routes := range [][]DefaultRoute{
		nil,
		{{Interface: "eth0", Metric: 100}},
		{{Interface: "wwan0", Metric: 700}, {Interface: "eth0.100", Metric: 100}},
		{{Interface: "wan0", Metric: 100, Weight: 3}, {Interface: "wan1", Metric: 100, Weight: 1}, {Interface: "wwan0", Metric: 700}},
		{{Interface: "on", Metric: 1}, {Interface: "5", Metric: 2}, {Interface: "null", Metric: 3}, {Interface: "a#b", Metric: 4}, {Interface: "0x1", Metric: 5}, {Interface: "- x", Metric: 6}, {Interface: `q"\`, Metric: 7}, {Interface: "y", Metric: 8}, {Interface: ".inf", Metric: 9}, {Interface: "~", Metric: 10}, {Interface: "#", Metric: 11}},
	} {
		c := good(t, string(Init(Taken{Routes: routes}, nil)))
		want := Default().Auto(routes)
		if len(routes) == 0 {
			equal(t, "without routes", c, Default())
			continue
		}
		equal(t, "tiers", c.Policies[0].Tiers, Default().Engine(want, nil).Policies[0].Tiers)
		for i := range c.Uplinks {
			c.Uplinks[i].Line, want[i].place = 0, [2]Place{}
			if want[i].IsMetered() {
				want[i].Metered = MeteredYes
			}
		}
		equal(t, "uplinks", c.Uplinks, want)
		equal(t, "probe", c.Probe, defaultProbe())
	}
}

// An interface through which no target has answered is no uplink of the file, but stands
// in a comment, as lines that are good once uncommented.
func TestInitNamesCandidates(t *testing.T) {
	both := []DefaultRoute{{Interface: "eth0", Metric: 100}, {Interface: "wwan0", Metric: 700}}
	candidates := []DefaultRoute{{Interface: "lan0", Metric: 500}}
	text := string(Init(Taken{Routes: both, Candidates: candidates}, nil))
	c := good(t, text)
	if len(c.Uplinks) != 2 || c.Uplinks[0].Name != "eth0" || c.Uplinks[1].Name != "wwan0" {
		t.Errorf("uplinks %+v", c.Uplinks)
	}
	if !strings.Contains(text, "  # lan0: no target has answered through it so far; ") {
		t.Error("no word of lan0")
	}
	c = good(t, strings.NewReplacer("  # - name", "  - name", "  #   interface", "    interface").Replace(text))
	if len(c.Uplinks) != 3 || c.Uplinks[2].Interface != "lan0" {
		t.Errorf("uncommented: %+v", c.Uplinks)
	}
	text = string(Init(Taken{Candidates: candidates}, nil))
	if c = good(t, text); !c.AutoUplinks || !strings.Contains(text, "# lan0: ") {
		t.Errorf("with a candidate alone:\n%s", text)
	}
	text = string(Init(Taken{Routes: both, Assumed: true}, nil))
	if c = good(t, text); len(c.Uplinks) != 2 || !strings.Contains(text, "No target has answered so far") {
		t.Errorf("where nothing is known:\n%s", text)
	}
}

// Each uplink's place in the order has its reason.
func TestInitSaysWhy(t *testing.T) {
	text := string(Init(Taken{Routes: []DefaultRoute{
		{Interface: "eth0", Metric: 100, Family: [2]Place{{Held: true, Metric: 100}, {Held: true, Metric: 1024}}},
		{Interface: "wan0", Metric: 200, Weight: 3, Family: [2]Place{{Held: true, Metric: 200, Weight: 3}}},
		{Interface: "wan1", Metric: 300, Family: [2]Place{{Metric: 300}}},
	}}, nil))
	for _, want := range []string{
		"  # default route: metric 100 in ipv4; metric 1024 in ipv6\n  - name: eth0\n",
		"  # no default route of it is known\n  - name: wan1\n",
		"  # default route: metric 200 in ipv4, shared with weight 3\n  - name: wan0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// An interface that the file may not name is left out, and said to be, whatever else there
// is; the file is good.
func TestInitLeavesOutRefusedNames(t *testing.T) {
	for _, refused := range []string{"wan@1", `wan"1`, "wan*", "wän0"} {
		bad := DefaultRoute{Interface: refused, Metric: 200}
		c := good(t, string(Init(Taken{Routes: []DefaultRoute{{Interface: "eth0", Metric: 100}, bad}}, nil)))
		if len(c.Uplinks) != 1 || c.Uplinks[0].Interface != "eth0" {
			t.Errorf("beside %s: %+v", refused, c.Uplinks)
		}
		for _, taken := range []Taken{{Routes: []DefaultRoute{bad}}, {Candidates: []DefaultRoute{bad}}} {
			text := string(Init(taken, nil))
			if c := good(t, text); !c.AutoUplinks || !strings.Contains(text, strconv.Quote(refused)+" is left out: its name ") || strings.Contains(text, "no default route now") {
				t.Errorf("%s alone:\n%s", refused, text)
			}
		}
	}
}

// TestInitComments: the commented lines are a good file too.
func TestInitComments(t *testing.T) {
	c := good(t, string(Init(Taken{Routes: []DefaultRoute{{Interface: "eth0", Metric: 1}}}, nil))+uncommented())
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
