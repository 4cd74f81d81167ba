package simulator

import (
	"errors"
	"flag"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/failover"
)

var (
	lives  = flag.Uint64("lives", 4, "how many rough lives to play")
	first  = flag.Uint64("first-life", 0, "the first one's seed")
	script = flag.String("script", "", "a failing script, for TestReplay to play again")
)

var twoUplinks = []string{"fiber", "lte"}

// threeUplinks uses most of the configuration: a shared tier, a second and a
// blocking policy, a metered uplink, an uplink with one family, a quorum.
const threeUplinks = `uplinks:
  - {name: fiber, interface: eth0, probe: {quorum: 2}}
  - {name: cable, interface: eth1, ipv6: false}
  - {name: lte, interface: wwan0, metered: true}
policies:
  - {name: default, tiers: [{fiber: 3, cable: 1}, lte]}
  - {name: guests, tiers: [cable], last_resort: block}
  - {name: office, tiers: [lte]}
failback: {after: 5s}
health: {damping: {half_life: 1m}}
rules:
  - {from: 192.168.20.0/24, use: guests}
  - {from: 192.168.30.0/24, use: office}
`

func roughLife(seed uint64) Life {
	l := Life{
		Config: TwoUplinks, Uplinks: twoUplinks, Seed: seed, Length: time.Hour, Rough: 2000,
		Targets: []string{"1.1.1.1", "8.8.8.8", "2620:fe::fe"}, Whole: true,
	}
	if seed%2 == 1 {
		l.Config, l.Uplinks = threeUplinks, []string{"fiber", "cable", "lte"}
	}
	return l
}

// TestRoughLives checks all rules after every step of lives that are far worse than
// any real network's.
func TestRoughLives(t *testing.T) {
	t.Parallel()
	var sum Stats
	for seed := range *lives {
		sum.Join(MustPlay(t, roughLife(*first+seed).Script(), Options{CheckEach: 20}))
	}
	t.Logf("%v", sum)
	for state := failover.Up; state <= failover.Recovering; state++ {
		if sum.Entered[state] == 0 {
			t.Errorf("no path was ever %s: the lives are not rough", state)
		}
	}
	if sum.Lost == 0 || sum.Leave.N == 0 || sum.Switches[failover.Return] == 0 {
		t.Errorf("the lives are not rough")
	}
	if sum.LostNotDown > 0 {
		t.Errorf("%d times sessions were moved off an uplink that was not down", sum.LostNotDown)
	}
}

// TestReplay plays a script that failed: go test ./testenv/simulator -run
// TestReplay -script FILE.
func TestReplay(t *testing.T) {
	t.Parallel()
	text := roughLife(1).Script().until(10 * time.Minute).String()
	if *script != "" {
		text = readFile(t, *script)
	}
	s, err := ParseScript(text)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", MustPlay(t, s, Options{}))
}

// TestScriptText checks that a script survives being printed and parsed.
func TestScriptText(t *testing.T) {
	want := roughLife(3).Script()
	got, err := ParseScript(want.String())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("a script changed by being printed and read")
	}
	for _, bad := range []string{"no dashes", dashes + "x fiber dead", dashes + "1s", dashes + "seed x", dashes + "-1s fiber dead"} {
		if _, err := ParseScript(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestBadLines checks that a mistake in a script is an error, not a broken rule.
func TestBadLines(t *testing.T) {
	for _, line := range []string{
		"nobody dead", "fiber", "fiber ipv4", "fiber dying", "fiber rtt=x", "fiber loss=x", "fiber stalls often=1s",
		"pause", "pause x", "target 1.1.1.1", "target 192.0.2.1 dead", "fiber report=x",
		"fiber gateway=x", "fiber hold=x", "fiber lost=x", "fiber queue=x", "fiber limited=x", "fiber beacon=x", "fiber promotion=x", "fiber flows=x", "switch", "drain nobody", "resume for=x",
		"restart for=x", "restart kill=x", "restart soon", "configure {", "configure {uplinks: []}", "target 1.1.1.1 dead by",
	} {
		s := Script{Config: TwoUplinks, Lines: []Line{{Text: line}}, End: time.Second}
		_, err := Play(s, Options{})
		var failure *Failure
		if err == nil || errors.As(err, &failure) {
			t.Errorf("%q gives %v", line, err)
		}
	}
	if _, err := Play(Script{Config: "uplinks: []"}, Options{}); err == nil || !strings.Contains(err.Error(), "uplinks") {
		t.Errorf("a bad configuration gives %v", err)
	}
}

// recordsOf plays a script and returns all records.
func recordsOf(t *testing.T, s Script, lean bool) []failover.Record {
	var all []failover.Record
	o := Options{CheckEach: 1000, Lean: lean, Witness: func(_ *failover.Engine, _ failover.Instant, _ failover.Event, out failover.Output) {
		all = append(all, out.Records...)
	}}
	MustPlay(t, s, o)
	return all
}

// TestRunsAreEqual checks that a run depends on nothing but its script, and that
// omitting reports of sendings that are answered in time changes nothing.
func TestRunsAreEqual(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		s := roughLife(seed).Script().until(20 * time.Minute)
		full := recordsOf(t, s, false)
		if len(full) < 100 {
			t.Fatalf("seed %d: %d records only", seed, len(full))
		}
		if again := recordsOf(t, s, false); !reflect.DeepEqual(full, again) {
			t.Errorf("seed %d: two runs of one script differ", seed)
		}
		lean := recordsOf(t, s, true)
		for i := range min(len(full), len(lean)) {
			if !reflect.DeepEqual(full[i], lean[i]) {
				t.Fatalf("seed %d: record %d differs when lean:\n%+v\n%+v", seed, i, full[i], lean[i])
			}
		}
		if len(full) != len(lean) {
			t.Errorf("seed %d: %d records, and %d when lean", seed, len(full), len(lean))
		}
	}
}

// TestQueue compares the order of the queue with sorting.
func TestQueue(t *testing.T) {
	l := newRandom(1, 1)
	var q queue
	var want []failover.Instant
	for range 1000 {
		at := failover.Instant(l.unit() * 100)
		want = append(want, at)
		q.push(occurrence{at: at})
	}
	slices.Sort(want)
	last := occurrence{}
	for i, at := range want {
		o := q.pop()
		if o.at != at || i > 0 && last.at == o.at && last.seq > o.seq {
			t.Fatalf("occurrence %d is of %v, not of %v, or out of turn", i, o.at, at)
		}
		last = o
	}
	if q.next() != forever {
		t.Errorf("an empty queue has something")
	}
}
