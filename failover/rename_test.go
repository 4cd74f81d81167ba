package failover_test

import (
	"slices"
	"strings"
	"testing"

	. "swerve/failover"
)

// Under another name an uplink goes on as it was: its state, what it carries, and what
// the operator wants of it.
func TestRenamedUplinkGoesOn(t *testing.T) {
	named := func(names string) Config {
		c := DefaultConfig()
		if err := configure(&c, strings.Fields("uplinks "+names)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	w := started(t)
	w.step(Operator{Verb: Drain, Uplink: "lte"})
	before := w.Engine.View()
	cfg := named("lte fiber")
	out := w.step(Configure{Config: cfg, Renamed: map[string]string{"lte": "fiber", "fiber": "lte"}})
	if slices.ContainsFunc(out.Records, func(r Record) bool { return r.Health != nil || r.Switch != nil }) {
		t.Errorf("records: %+v", out.Records)
	}
	after := w.Engine.View()
	for i, name := range []string{"lte", "fiber"} {
		was, is := before.Uplinks[i], after.Uplinks[i]
		if is.Name != name || is.Family[IPv4].State != Up || is.Family[IPv4].Since != was.Family[IPv4].Since || is.Admin != was.Admin {
			t.Errorf("uplink %d: %+v, want what it was as %s: %+v", i, is, name, was)
		}
	}
	if got := out.Intent.Policies[0].Family[IPv4].Rungs[0].Shares[0].Uplink; got != "lte" {
		t.Errorf("%s is first", got)
	}
	// The third name takes one away: what had it is gone.
	out = w.step(Configure{Config: named("fiber"), Renamed: map[string]string{"fiber": "lte"}})
	if got := w.Engine.View().Uplinks; len(got) != 1 || got[0].Family[IPv4].State != Up || got[0].Admin != before.Uplinks[0].Admin {
		t.Errorf("left: %+v, records %+v", got, out.Records)
	}
}
