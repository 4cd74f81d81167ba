package failover_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	. "swerve/failover"
)

// guests is a world with fiber, lte and sat, and a policy of lte and sat, a minute old.
func guests(t *testing.T, settings ...string) *world {
	t.Helper()
	w := newWorld(t, guestsConfig(t, settings...), 1)
	w.do("all report=0s")
	w.until(time.Minute)
	return w
}

func guestsConfig(t *testing.T, settings ...string) Config {
	t.Helper()
	cfg := DefaultConfig()
	for _, line := range append([]string{"uplinks fiber lte sat", "policy guests lte sat", "block guests"}, settings...) {
		if err := configure(&cfg, strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// carry is what carries the policies in IPv4, as "default=fiber guests=lte".
func (w *world) carry() string {
	var all []string
	for _, p := range w.Engine.View().Policies {
		var names []string
		for _, share := range p.Family[IPv4] {
			names = append(names, share.Uplink)
		}
		all = append(all, p.Name+"="+strings.Join(names, "+"))
	}
	return strings.Join(all, " ")
}

func (w *world) wantCarry(when, want string) {
	w.t.Helper()
	if got := w.carry(); got != want {
		w.t.Errorf("%s: %s, want %s", when, got, want)
	}
}

// A switch is of the policies that have the uplink, follows it while it answers, and is
// in the view with its end; what is commanded for all is so for a policy that comes later.
func TestSwitchFollowsItsUplink(t *testing.T) {
	w := guests(t)
	w.step(Operator{Verb: Switch, Uplink: "sat"})
	w.after(2 * time.Second)
	w.wantCarry("switched", "default=sat guests=sat")
	w.do("sat loss=1")
	w.after(5 * time.Second)
	w.wantCarry("sat is dead", "default=fiber guests=lte")
	if got := w.Engine.View().Uplinks[2].Admin; got != "switched" {
		t.Errorf("a dead uplink stays %s", got)
	}
	w.do("sat loss=0")
	w.after(time.Minute)
	w.wantCarry("sat is back", "default=sat guests=sat")

	w.step(Operator{Verb: Switch, Uplink: "fiber", Until: w.Now() + 10*time.Second})
	w.after(2 * time.Second)
	w.wantCarry("guests have no fiber", "default=fiber guests=lte")
	v := w.Engine.View()
	if got := []string{v.Policies[0].Switched, v.Policies[1].Switched}; got[0] != "fiber" || got[1] != "" {
		t.Errorf("told as switched: %q", got)
	}
	more := guestsConfig(t, "policy office sat fiber")
	w.step(Configure{Config: more})
	w.after(2 * time.Second)
	w.wantCarry("a policy more", "default=fiber guests=lte office=fiber")
	w.after(10 * time.Second)
	w.wantCarry("at the end", "default=fiber guests=lte office=sat")
	if got := w.Engine.View().Commands; got != nil {
		t.Errorf("left: %+v", got)
	}
}

// What a view says of the commands brings them back in another engine, in which they
// end when they would have ended.
func TestRecall(t *testing.T) {
	w := guests(t, "manual")
	w.step(Operator{Verb: Switch, Uplink: "sat", Until: w.Now() + time.Minute})
	w.step(Operator{Verb: Switch, Uplink: "lte", Policy: "guests"})
	w.step(Operator{Verb: Drain, Uplink: "fiber", Until: w.Now() + time.Hour})
	w.after(2 * time.Second)
	kept := w.Engine.View().Commands

	again := newWorld(t, guestsConfig(t, "manual"), 2)
	again.step(Recall{Commands: kept})
	again.do("all report=0s")
	again.until(w.Now())
	again.wantCarry("recalled", "default=sat guests=lte")
	if got := again.Engine.View().Commands; !reflect.DeepEqual(got, kept) {
		t.Errorf("recalled %+v, want %+v", got, kept)
	}
	again.after(time.Minute)
	again.wantCarry("the switch is over", "default=lte guests=lte")
	again.after(time.Hour)
	again.wantCarry("the drain is over", "default=fiber guests=lte")
	again.step(Recall{})
	again.step(Recall{Commands: []Command{{Verb: Drain, Uplink: "gone"}, {Verb: Switch, Uplink: "lte", Policy: "gone"}}})
	if got := again.Engine.View().Commands; got != nil {
		t.Errorf("of what is not configured: %+v", got)
	}
}
