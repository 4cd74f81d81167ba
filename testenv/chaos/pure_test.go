package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/traffic"
)

// One seed makes one storm, and a shorter one is its beginning.
func TestScheduleIsOfItsSeed(t *testing.T) {
	text := func(all []fault) (lines []string) {
		for _, f := range all {
			lines = append(lines, fmt.Sprintf("%v #%d %s", f.at, f.number, f))
		}
		return lines
	}
	long := text(schedule(7, time.Minute, 2))
	if again := text(schedule(7, time.Minute, 2)); !reflect.DeepEqual(long, again) {
		t.Errorf("another storm of the same seed:\n%v\n%v", long, again)
	}
	if short := text(schedule(7, 20*time.Second, 2)); len(short) == 0 || !reflect.DeepEqual(long[:len(short)], short) {
		t.Errorf("%v is not the beginning of %v", short, long)
	}
	if other := text(schedule(8, time.Minute, 2)); reflect.DeepEqual(long, other) {
		t.Errorf("two seeds make the same storm")
	}
}

// Every kind of fault comes, within its bounds, and no two share a slot.
func TestScheduleHasEveryKind(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(20) {
		taken := map[string]time.Duration{}
		for _, f := range schedule(seed, 2*time.Minute, 2) {
			seen[f.kind.name]++
			if f.lasts < f.kind.least || f.lasts > f.kind.most || (f.uplink >= 0) != f.kind.uplink {
				t.Errorf("seed %d: #%d %s", seed, f.number, f)
			}
			for _, slot := range f.slotsOf() {
				if f.at < taken[slot] {
					t.Errorf("seed %d: #%d %s at %v: %s is taken until %v", seed, f.number, f, f.at, slot, taken[slot])
				}
				taken[slot] = f.at + f.lasts
			}
		}
	}
	for _, k := range kinds {
		if seen[k.name] == 0 {
			t.Errorf("no %s in %v", k.name, seen)
		}
	}
}

func TestChoose(t *testing.T) {
	all := schedule(7, time.Minute, 2)
	o := options{pick: "2,4-6", without: all[4].kind.name}
	chosen, err := o.choose(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range chosen {
		if n := f.number; n != 2 && n != 4 && n != 6 {
			t.Errorf("#%d was chosen", n)
		}
	}
	if len(chosen) == 0 || len(chosen) > 3 {
		t.Errorf("%d were chosen", len(chosen))
	}
	if _, err := (options{pick: "kill"}).choose(all); err == nil {
		t.Error("-pick takes a word")
	}
}

var zero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return zero.Add(time.Duration(seconds * float64(time.Second)))
}

// past is a fault that was there, by its kind's name.
func past(t *testing.T, name string, uplink int, value string, from, to float64) span {
	for _, k := range kinds {
		if k.name == name {
			return span{fault: fault{kind: k, uplink: uplink, value: value}, from: at(from), begun: at(from), mending: at(to), to: at(to)}
		}
	}
	t.Fatalf("no kind %s", name)
	return span{}
}

// What an uplink owes, by what happened: nothing until it has settled after a fault of
// its own in that family; nothing after a deletion, for a second; nothing while the
// daemon is away, from the moment on that something happens.
func TestWorking(t *testing.T) {
	for _, c := range []struct {
		name string
		h    history
		want string
	}{
		{"nothing", nil, "0-100"},
		{"its fault", history{past(t, "carrier", 0, "", 10, 20)}, "0-10 22-100"},
		{"another's", history{past(t, "carrier", 1, "", 10, 20)}, "0-100"},
		{"this family's", history{past(t, "black-hole", 0, "ipv4", 10, 20)}, "0-10 22-100"},
		{"the other family's", history{past(t, "black-hole", 0, "ipv6", 10, 20)}, "0-100"},
		{"overlapping", history{past(t, "carrier", 0, "", 10, 20), past(t, "loss", 0, "50%", 12, 15), past(t, "stall", 0, "", 21, 22)}, "0-10 24-100"},
		{"mild", history{past(t, "loss", 0, "9%", 10, 20), past(t, "delay", 0, "200ms", 12, 30)}, "0-100"},
		{"to the end", history{past(t, "carrier", 0, "", 10, 99)}, "0-10"},
		{"changed", history{past(t, "gateway-change", 0, "", 10, 20)}, "0-10 12-20 22-100"},
		{"changed while away", history{past(t, "address-change", 1, "", 15, 30), past(t, "kill", -1, "", 10, 20)}, "0-15 22-100"},
		{"no LAN", history{past(t, "lan-down", -1, "", 10, 20)}, "0-10 22-100"},
		{"deleted", history{past(t, "delete-routes", -1, "", 10, 10)}, "0-10 11-100"},
		{"harmless", history{past(t, "foreign-default", -1, "", 10, 20), past(t, "reload", -1, "", 12, 13)}, "0-100"},
		{"renewed", history{past(t, "withdraw", 0, "", 10, 20)}, "0-100"},
		{"renewed while away", history{past(t, "withdraw", 0, "", 10, 20), past(t, "kill", -1, "", 12, 13)}, "0-10 22-100"},
		{"away", history{past(t, "kill", -1, "", 10, 20)}, "0-100"},
		{"away in a fault", history{past(t, "kill", -1, "", 10, 20), past(t, "carrier", 1, "", 15, 30)}, "0-15 22-100"},
		{"away in a mending", history{past(t, "carrier", 1, "", 5, 15), past(t, "kill", -1, "", 10, 20)}, "0-15 22-100"},
		{"away just after", history{past(t, "carrier", 1, "", 9.5, 30), past(t, "kill", -1, "", 10, 20)}, "0-10 22-100"},
	} {
		got := ""
		for i, w := range c.h.working(0, failover.IPv4, interval{at(0), at(100)}) {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprintf("%v-%v", w.from.Sub(zero).Seconds(), w.to.Sub(zero).Seconds())
		}
		if got != c.want {
			t.Errorf("%s: works %s, want %s", c.name, got, c.want)
		}
	}
}

// A gap is what lies between answers, and what is owed of it is the longest part in
// which one and the same uplink worked.
func TestGaps(t *testing.T) {
	var log []traffic.Request
	for i := range 100 {
		r := traffic.Request{Seq: uint64(i), Due: at(float64(i) / 10), Sent: at(float64(i) / 10), Err: "no answer"}
		if i < 20 || i > 60 && i != 80 {
			r.Err, r.Answered = "", r.Sent.Add(20*ms)
		}
		log = append(log, r)
	}
	gaps := gapsOf(log, interval{at(1), at(9)})
	if len(gaps) != 2 || gaps[0] != (gap{at(2), at(6), 41}) || gaps[1] != (gap{at(8), at(8), 1}) {
		t.Fatalf("gaps %+v", gaps)
	}
	working := [][]interval{{{at(0), at(3.5)}, {at(5), at(9)}}, {{at(3.2), at(5.1)}}}
	if got, want := gaps[0].owed(working), (interval{at(3.2), at(5.1)}); got != want {
		t.Errorf("owed %v, want %v", got, want)
	}
	if got := share(interval{at(0), at(10)}, working); got < 0.89 || got > 0.91 {
		t.Errorf("%v of the time, want 0.9", got)
	}
}

// Where the daemon can be killed it is, in the middle of switches.
func TestScheduleKillsInSwitches(t *testing.T) {
	shadowed := 0
	for seed := range uint64(20) {
		all := schedule(seed, 2*time.Minute, 2)
		for i, f := range all {
			if f.number != i+1 || i > 0 && f.at < all[i-1].at {
				t.Fatalf("seed %d: #%d at %v is number %d", seed, f.number, f.at, i)
			}
			if f.kind.name != "kill" || f.lasts != f.kind.least {
				continue
			}
			for _, other := range all {
				if other.kind.harm == cuts && other.at <= f.at && f.at-other.at < shadowAfter {
					shadowed++
				}
			}
		}
	}
	if shadowed < 20 {
		t.Errorf("%d kills in a switch", shadowed)
	}
}

// The clock of this Go can be made one that is set by the run, and what that needs is
// written where go build finds it.
func TestOverlay(t *testing.T) {
	t.Chdir("../..") // the module's
	folder := t.TempDir()
	if err := writeOverlay(folder); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(folder + "/overlay.json")
	if err != nil || !strings.Contains(string(text), "src/time/time.go") || !strings.Contains(string(text), "cmd/swerve/instrument.go") {
		t.Errorf("%s, %v", text, err)
	}
	clock, err := os.ReadFile(folder + "/clock")
	if err != nil || strings.Count(string(clock), "sec += *Jump") != 1 {
		t.Errorf("the clock: %v", err)
	}
	for name, source := range map[string]string{"time.go": string(clock), "instrument.go": instrumentSource} {
		if _, err := parser.ParseFile(token.NewFileSet(), name, source, 0); err != nil {
			t.Error(err)
		}
	}
	if _, err := jumpingClock("package time\n"); err == nil {
		t.Error("a clock that is not read was taken")
	}
}

// A soak leaves the daemon alone.
func TestSoaking(t *testing.T) {
	for _, k := range soaking() {
		if k.harm == absents || slices.Contains(k.slots, "daemon") || slices.Contains(k.slots, "config") {
			t.Errorf("%s is in a soak", k.name)
		}
	}
	if n := len(soaking()); n < 20 {
		t.Errorf("%d kinds are in a soak", n)
	}
}

// What grows from the second quarter to the last is told, and what is over its bound;
// what varies is not.
func TestGrownFigures(t *testing.T) {
	index := func(name string) int {
		for i, f := range figures {
			if f.name == name {
				return i
			}
		}
		t.Fatalf("no figure %s", name)
		return 0
	}
	var all []sample
	for i := range 100 {
		var one sample
		one.values[index("memory KiB")] = 20_000 + float64(i%7)*300
		one.values[index("goroutines")] = 40 + float64(i)/2
		one.values[index("rules")] = 30
		one.values[index("state KiB")] = float64(i) * 50
		all = append(all, one)
	}
	said := grownFigures(all)
	if len(said) != 2 || !strings.HasPrefix(said[0], "goroutines has grown") || !strings.HasPrefix(said[1], "state KiB: ") {
		t.Errorf("said %q", said)
	}
}
