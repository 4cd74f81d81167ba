package failover_test

import (
	"testing"
	"time"

	. "swerve/failover"
)

// wantWhy compares what is said of the uplinks fiber, lte and sat; an empty text means
// that it carries.
func (w *world) wantWhy(when, policy string, want ...string) {
	w.t.Helper()
	all := w.Engine.Explain(policy, IPv4)
	if len(all) != len(want) {
		w.t.Fatalf("%s: %+v", when, all)
	}
	for i, s := range all {
		if s.Why != want[i] || s.Carries != (want[i] == "") {
			w.t.Errorf("%s: %s %q (carries %t), want %q", when, s.Uplink, s.Why, s.Carries, want[i])
		}
	}
}

// Each uplink that does not carry says why, with the figure that decided.
func TestExplain(t *testing.T) {
	w := guests(t, "policy office sat")
	w.wantWhy("at rest", "default", "", "is in tier 2 of policy default, after fiber in tier 1", "is in tier 3 of policy default, after fiber in tier 1")
	w.wantWhy("at rest", "guests", "is not among the uplinks of policy guests", "", "is in tier 2 of policy guests, after lte in tier 1")
	w.wantWhy("at rest", "office", "belongs to the default policy, which is used after policy office's own sat",
		"belongs to the default policy, which is used after policy office's own sat", "")
	if s := w.Engine.Explain("guests", IPv4)[1]; !s.Member || !s.Own || s.Tier != 1 || s.Weight != 1 {
		t.Errorf("%+v", s)
	}
	if s := w.Engine.Explain("gone", IPv4); s != nil {
		t.Errorf("of no policy: %+v", s)
	}
	w.step(Operator{Verb: Switch, Uplink: "lte"})
	w.after(time.Second)
	w.wantWhy("switched", "default", "comes after lte, to which the operator has switched policy default", "",
		"comes after lte, to which the operator has switched policy default")
	w.step(Operator{Verb: Resume})
	w.after(time.Second)
	w.step(Operator{Verb: Drain, Uplink: "fiber"})
	w.after(time.Second)
	w.wantWhy("drained", "default", "is drained by the operator", "", "is in tier 3 of policy default, after lte in tier 2")
	w.step(Operator{Verb: Resume})
	w.after(time.Second)
	w.do("fiber loss=1")
	w.after(10 * time.Second)
	if why := w.Engine.Explain("default", IPv4)[0].Why; why != "is down: 0 of 3 targets answer for 500ms" {
		t.Errorf("down: %s", why)
	}
	w.do("fiber loss=0")
	w.after(20 * time.Second)
	if why := w.Engine.Explain("default", IPv4)[0].Why; why != "is recovering: good for 20s, back in 10s; lte is up" {
		t.Errorf("recovering: %s", why)
	}
	w.do("lte carrier=off")
	w.after(time.Second)
	w.do("fiber carrier=off", "sat carrier=off")
	w.after(time.Second)
	if why := w.Engine.Explain("default", IPv4)[1].Why; why != "is down: no carrier" {
		t.Errorf("cut: %s", why)
	}
}

// Under manual failback the way back is named.
func TestExplainManual(t *testing.T) {
	w := guests(t, "manual")
	w.do("fiber carrier=off")
	w.after(5 * time.Second)
	w.do("fiber carrier=on")
	w.after(2 * time.Minute)
	w.wantWhy("back", "default", "is preferred, but failback.mode is manual: `swerve resume fiber` brings it back", "",
		"is in tier 3 of policy default, after lte in tier 2")
}
