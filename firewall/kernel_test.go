package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/lane"
	"swerve/testenv/netns"
)

// Any change to the table by other programs is detected, and undone by Apply.
func TestDriftDetectsEveryChange(t *testing.T) {
	ns := netns.New(t)
	k := newKernel(t)
	table := Ruleset(threePolicies())
	for _, change := range []string{
		"flush ruleset",
		"delete table inet swerve",
		"flush chain inet swerve postrouting",
		"flush table inet swerve",
		"flush map inet swerve restore_ipv4",
		"delete element inet swerve restore_ipv6 { 0x01400000 }",
		"add element inet swerve restore_ipv4 { 0x01400000 : goto lane_2 }",
		"flush map inet swerve departures",
		"add rule inet swerve forward accept",
		"insert rule inet swerve out_1 accept",
		"add chain inet swerve forward { policy drop; }",
		"add chain inet swerve mine",
		"add set inet swerve mine { type ipv4_addr; }",
		"add map inet swerve mine { type ipv4_addr : verdict; flags interval; }",
		"add table inet swerve { flags dormant; }",
		"flush chain inet swerve by_rules; add rule inet swerve by_rules return",
	} {
		inside(t, ns, func() error { return k.Apply(table) })
		if d := drift(t, ns, k, table); d != nil {
			t.Fatalf("before %q: %q", change, d)
		}
		loadText(t, ns, change+"\n")
		if d := drift(t, ns, k, table); len(d) == 0 || len(d) > differencesShown+1 {
			t.Errorf("after %q: %q", change, d)
		}
	}
	inside(t, ns, func() error { return k.Apply(table) })
	if out := listed(t, ns); strings.Contains(out, "mine") || strings.Contains(out, "dormant") {
		t.Errorf("objects of others stay in our table:\n%s", out)
	}
	replaceRule(t, ns)
	if d := drift(t, ns, k, table); len(d) != 1 {
		t.Errorf("after a rule was replaced: %q", d)
	}
}

// replaceRule replaces the last rule of the chain forward.
func replaceRule(t *testing.T, ns *netns.NS) {
	t.Helper()
	handle := ""
	for line := range strings.Lines(run(t, ns, "nft", "-a", "list", "chain", "inet", "swerve", "forward")) {
		if _, after, ok := strings.Cut(line, "@dead_ipv6 # handle "); ok {
			handle = strings.TrimSpace(after)
		}
	}
	run(t, ns, "nft", "replace", "rule", "inet", "swerve", "forward", "handle", handle, "accept")
}

// Tables of other programs are neither drift nor changed.
func TestForeignTablesAreLeftAlone(t *testing.T) {
	ns := netns.New(t)
	loadText(t, ns, "table ip swerve {\nchain forward {\ncounter\n}\n}\ntable inet other {\nset s {\ntype mark\n}\n}\n")
	before := run(t, ns, "nft", "list", "ruleset")
	apply(t, ns, threePolicies())
	if d := drift(t, ns, newKernel(t), Ruleset(threePolicies())); d != nil {
		t.Errorf("%q", d)
	}
	inside(t, ns, func() error { return newKernel(t).Teardown(lane.DefaultLayout) })
	sameLines(t, run(t, ns, "nft", "list", "ruleset"), before)
}

// A table of an earlier version, whose objects cannot be changed into ours, is
// replaced.
func TestApplyReplacesWhatCannotBeChanged(t *testing.T) {
	ns := netns.New(t)
	for _, old := range []string{
		"chain forward {\ntype filter hook forward priority 10; policy drop;\n}\n",
		"chain forward {\ntype filter hook input priority 0;\n}\n",
		"set restore_ipv4 {\ntype mark\n}\n",
		"map restore_ipv4 {\ntype ipv4_addr : verdict\nelements = { 1.1.1.1 : accept }\n}\n",
		"set grace {\ntype ipv4_addr\n}\n",
		"quota up_1 { over 1 bytes }\n",
	} {
		inside(t, ns, newKernel(t).DeleteTable)
		loadText(t, ns, "table inet swerve {\n"+old+"}\n")
		apply(t, ns, twoUplinks())
		if d := drift(t, ns, newKernel(t), Ruleset(twoUplinks())); d != nil {
			t.Errorf("over %q: %q", old, d)
		}
	}
}

// A change of lost pairs changes only elements, any other change is a full
// transaction.
func TestMove(t *testing.T) {
	ns := netns.New(t)
	k := newKernel(t)
	at := manyUplinks(10, 10)
	apply(t, ns, at)
	steps := []func(){
		func() { at.Lost[0] = []Pair{{1, 64}} },
		func() { at.Lost[0], at.Lost[1] = []Pair{{2, 65}, {1, 65}}, []Pair{{10, 73}} },
		func() { at.Lost = [2][]Pair{} },
		func() { at.Uplinks[3].Interface = "ppp0" },
		func() { at.Uplinks = at.Uplinks[:5] },
		func() {},
	}
	for i, step := range steps {
		from := Ruleset(at)
		step()
		inside(t, ns, func() error { return k.Move(from, Ruleset(at)) })
		if d := drift(t, ns, newKernel(t), Ruleset(at)); d != nil {
			t.Errorf("after step %d: %q", i, d)
		}
	}
	inside(t, ns, k.DeleteTable)
	from := Ruleset(at)
	at.Lost[0] = []Pair{{1, 64}}
	inside(t, ns, func() error { return k.Move(from, Ruleset(at)) })
	if d := drift(t, ns, newKernel(t), Ruleset(at)); d != nil {
		t.Errorf("moved from a table that was gone: %q", d)
	}
}

// A restart reads back what was lost before.
func TestObserve(t *testing.T) {
	ns := netns.New(t)
	observe := func() (o Observed) {
		inside(t, ns, func() (err error) {
			o, err = newKernel(t).Observe(lane.DefaultLayout)
			return err
		})
		return o
	}
	if o := observe(); !reflect.DeepEqual(o, Observed{}) {
		t.Errorf("without a table: %+v", o)
	}
	g := threePolicies()
	apply(t, ns, g)
	if o := observe(); !o.Exists || !reflect.DeepEqual(o.Lost, g.Lost) {
		t.Errorf("got %+v, want %+v", o, g.Lost)
	}
	g = found()
	apply(t, ns, g)
	o := observe()
	for _, u := range g.Uplinks {
		if got := o.Native[u.Lane]; !slices.Equal(got, u.Found) {
			t.Errorf("native on %s: %v, want %v", u.Name, got, u.Found)
		}
		if got := o.Plain[u.Lane]; !slices.Equal(got, u.Plain) {
			t.Errorf("plain on %s: %v, want %v", u.Name, got, u.Plain)
		}
	}
	apply(t, ns, threePolicies())
	if o := observe(); len(o.Native)+len(o.Plain) > 0 {
		t.Errorf("without what was found: %+v", o)
	}
}

// found is a goal with networks and flows that were found to need no NAT.
func found() Goal {
	g := threePolicies()
	ends := func(from, to string) Ends { return Ends{netip.MustParsePrefix(from), netip.MustParsePrefix(to)} }
	g.Uplinks[0].Found = prefixes("10.7.0.0/16", "192.168.5.0/24", "192.168.6.0/24", "203.0.113.50/32", "2001:db8:1:60::/64", "2001:db8:1:70::7/128")
	g.Uplinks[0].Native4 = prefixes("192.168.5.0/24", "192.168.6.0/24", "10.7.0.0/16", "203.0.113.50/32")
	g.Uplinks[0].Native6 = append(g.Uplinks[0].Native6, prefixes("2001:db8:1:60::/64", "2001:db8:1:70::7/128")...)
	g.Uplinks[0].Plain = []Ends{ends("10.1.0.0/16", "10.50.0.0/16"), ends("10.1.0.0/16", "10.60.0.0/16"), ends("10.2.0.0/24", "10.50.0.0/16"), ends("fd01::/48", "fd02::/56")}
	g.Uplinks[1].Found = prefixes("0.0.0.0/0")
	g.Uplinks[1].Native4 = prefixes("0.0.0.0/0")
	return g
}

// Counters and the grace set survive a change of the rules. The counters of an uplink
// are removed with it.
func TestCountersSurviveApply(t *testing.T) {
	l := newLab(t)
	l.apply()
	serveUDP(t, l.net, at(plans[0].host, 5000))
	askUDP(t, dialUDP(t, l.client, at(plans[0].host, 5000)))
	inside(t, l.gw, func() error { return l.kernel.Grace([]string{"wan1"}) })
	before := l.counters()
	if before.Sent[1].Packets == 0 || before.Flows[1].Packets == 0 {
		t.Fatalf("nothing was counted: %+v", before)
	}
	l.goal.Uplinks[1].SNATExcept = prefixes("10.0.0.0/8")
	l.goal.Policies = append(l.goal.Policies, Policy{Lane: 65, Name: "guests"})
	l.apply()
	after := l.counters()
	for n, c := range before.Sent { // the kernel itself sends packets now and then
		if after.Sent[n].Packets < c.Packets || after.Flows[n] != before.Flows[n] {
			t.Errorf("counters of lane %d went from %+v to %+v", n, before, after)
		}
	}
	if out := run(t, l.gw, "nft", "list", "set", "inet", "swerve", "grace"); !strings.Contains(out, "wan1") {
		t.Errorf("grace is forgotten: %s", out)
	}
	l.goal.Uplinks = l.goal.Uplinks[1:]
	l.apply()
	if after = l.counters(); len(after.Sent) != 1 || len(after.Flows) != 1 {
		t.Errorf("counters of an uplink that is gone: %+v", after)
	}
}

// Without a table, counters are empty and nothing is an error.
func TestNoTable(t *testing.T) {
	ns := netns.New(t)
	k := newKernel(t)
	inside(t, ns, func() error {
		c, err := k.Counters()
		if len(c.Sent) != 0 {
			t.Errorf("counters of nothing: %+v", c)
		}
		return err
	})
	inside(t, ns, func() error { return k.Teardown(lane.DefaultLayout) })
	inside(t, ns, func() error {
		if k.Grace([]string{"wan0"}) == nil {
			t.Error("grace without a table succeeded")
		}
		return nil
	})
}

// The watcher reports changes to our table by any program, and no others.
func TestWatch(t *testing.T) {
	ns := netns.New(t)
	var w *Watcher
	inside(t, ns, func() (err error) {
		w, err = Watch()
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	hinted := func(wait time.Duration) bool {
		select {
		case <-w.Hints():
			return true
		case <-time.After(wait):
			return false
		}
	}
	for _, change := range []string{
		"add table inet swerve", "add chain inet swerve c", "add rule inet swerve c accept",
		"add set inet swerve s { type mark; }", "add element inet swerve s { 1 }", "flush chain inet swerve c",
		"flush ruleset",
	} {
		loadText(t, ns, change+"\n")
		if !hinted(20 * time.Second) {
			t.Errorf("no hint of %q", change)
		}
		for hinted(50 * time.Millisecond) { // what else this change caused
		}
		select {
		case <-w.Gone():
			if change != "flush ruleset" {
				t.Errorf("%q is taken for the end of the table", change)
			}
		default:
			if change == "flush ruleset" {
				t.Error("the end of the table is not told")
			}
		}
	}
	loadText(t, ns, "table inet other {\nchain swerve {\naccept\n}\n}\ntable ip swerve {\n}\n")
	if hinted(100 * time.Millisecond) {
		t.Error("a hint of others' tables")
	}
	storm := "add table inet swerve\n" + strings.Repeat("add chain inet swerve c\nadd rule inet swerve c accept\n", 20000)
	loadText(t, ns, storm)
	if !hinted(20 * time.Second) {
		t.Error("no hint after a storm")
	}
	for hinted(100 * time.Millisecond) {
	}
	loadText(t, ns, fmt.Sprintf("flush table inet %s\n", tableName))
	if !hinted(20 * time.Second) {
		t.Error("no hint after the storm's end")
	}
}
