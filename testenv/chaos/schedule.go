package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"swerve/failover"
)

// harm is what a fault takes from the network.
type harm int

const (
	// none: new sessions go on as if nothing had happened.
	none harm = iota
	// cuts: the uplink does not work.
	cuts
	// weakens: the uplink answers, but badly, so that nothing is promised of it.
	weakens
	// changes: the uplink works with something else, once that has come about.
	changes
	// withdraws: the uplink works for a daemon that knows it, and for no other.
	withdraws
	// takes: something of ours is deleted, and repaired.
	takes
	// leaks: the same, and until it is repaired no address is translated, or packets
	// for the LAN may leave by an uplink.
	leaks
	// isolates: no uplink is of use to the LAN.
	isolates
	// absents: the daemon does not run, or cannot do its work.
	absents
)

// kind is a kind of fault.
type kind struct {
	name string
	harm harm
	// weight is how often it happens, compared with the others.
	weight int
	// uplink: it happens to one uplink.
	uplink bool
	// slots are what it needs for itself; {} is the uplink's number. No two faults
	// have the same slot at the same time.
	slots []string
	// least and most bound its duration; both 0: it is over at once.
	least, most time.Duration
	// rest is how long its slots stay taken after its end.
	rest time.Duration
	// value makes a value; nil: it has none.
	value func(*rand.Rand) string
	begin beginner
}

// fault is an entry of a schedule.
type fault struct {
	number int // from 1
	kind   *kind
	at     time.Duration // from the beginning of the storm
	lasts  time.Duration
	uplink int // -1: none
	value  string
}

// String returns the fault in the words of the log.
func (f fault) String() string {
	text := f.kind.name
	if f.value != "" {
		text += "=" + f.value
	}
	if f.uplink >= 0 {
		text += " on " + uplinkNames[f.uplink]
	}
	if f.lasts > 0 {
		text += fmt.Sprintf(" for %v", f.lasts)
	}
	return text
}

// harms reports whether the fault impairs an uplink in a family.
func (f fault) harms(uplink int, family failover.Family) bool {
	return f.uplink == uplink && (f.kind.name != "black-hole" || f.value == "" || f.value == family.String())
}

// mild is the loss, in percent each way, up to which an uplink works: retries get
// through within a second.
const mild = 20

// harm is what the fault takes: a mild loss takes nothing.
func (f fault) harm() harm {
	var loss int
	if n, _ := fmt.Sscanf(f.value, "%d%%", &loss); f.kind.harm == weakens && n == 1 && loss <= mild {
		return none
	}
	return f.kind.harm
}

// slotsOf returns the names of what a fault needs for itself, in order.
func (f fault) slotsOf() []string {
	var out []string
	for _, s := range f.kind.slots {
		out = append(out, strings.ReplaceAll(s, "{}", fmt.Sprint(f.uplink)))
	}
	slices.Sort(out)
	return out
}

func percent(least, most int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return fmt.Sprintf("%d%%", least+r.IntN(most-least+1)) }
}

func duration(least, most int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return fmt.Sprintf("%dms", least+r.IntN(most-least+1)) }
}

func number(least, most int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return fmt.Sprint(least + r.IntN(most-least+1)) }
}

func oneOf(all ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return all[r.IntN(len(all))] }
}

const ms = time.Millisecond

// deletionRest is the time between two deletions of what is ours. The daemon repairs
// at a bounded rate, at most 10 s after the last repair; here it is asked for one at a time.
const deletionRest = 12 * time.Second

// kinds are all kinds of fault.
var kinds = []*kind{
	{name: "carrier", harm: cuts, weight: 6, uplink: true, slots: []string{"line{}"}, least: 200 * ms, most: 6000 * ms, begin: inLab},
	{name: "interface-down", harm: cuts, weight: 4, uplink: true, slots: []string{"line{}"}, least: 200 * ms, most: 5000 * ms, begin: inLab},
	{name: "flap", harm: cuts, weight: 2, uplink: true, slots: []string{"line{}"}, least: 1000 * ms, most: 3000 * ms, value: oneOf("3x300ms", "4x600ms", "9x200ms"), begin: inLab},
	{name: "black-hole", harm: cuts, weight: 8, uplink: true, slots: []string{"filter{}"}, least: 300 * ms, most: 7000 * ms, value: oneOf("", "", "ipv4", "ipv6"), begin: inLab},
	{name: "gateway-dead", harm: cuts, weight: 3, uplink: true, slots: []string{"filter{}"}, least: 300 * ms, most: 7000 * ms, begin: inLab},
	{name: "loss", harm: weakens, weight: 2, uplink: true, slots: []string{"loss{}"}, least: 500 * ms, most: 4000 * ms, value: percent(5, 60), begin: inLab},
	{name: "loss-out", harm: weakens, weight: 1, uplink: true, slots: []string{"loss{}"}, least: 500 * ms, most: 4000 * ms, value: percent(5, 90), begin: inLab},
	{name: "loss-in", harm: weakens, weight: 1, uplink: true, slots: []string{"loss{}"}, least: 500 * ms, most: 4000 * ms, value: percent(5, 90), begin: inLab},
	{name: "delay", harm: none, weight: 2, uplink: true, slots: []string{"delay{}"}, least: 500 * ms, most: 4000 * ms, value: duration(20, 300), begin: inLab},
	{name: "jitter", harm: none, weight: 1, uplink: true, slots: []string{"jitter{}"}, least: 500 * ms, most: 4000 * ms, value: duration(5, 100), begin: inLab},
	{name: "stall", harm: cuts, weight: 3, uplink: true, slots: []string{"stall{}"}, least: 1000 * ms, most: 1000 * ms, value: duration(100, 950), begin: inLab},
	{name: "police", harm: none, weight: 2, uplink: true, slots: []string{"rate{}"}, least: 500 * ms, most: 4000 * ms, value: number(300_000, 2_000_000), begin: police},

	{name: "address-removal", harm: cuts, weight: 4, uplink: true, slots: []string{"line{}"}, least: 20 * ms, most: 4000 * ms, begin: inLab},
	{name: "address-change", harm: changes, weight: 3, uplink: true, slots: []string{"line{}"}, least: 500 * ms, most: 6000 * ms, begin: inLab},
	{name: "gateway-change", harm: changes, weight: 3, uplink: true, slots: []string{"line{}"}, least: 500 * ms, most: 6000 * ms, begin: inLab},
	{name: "rename", harm: cuts, weight: 2, uplink: true, slots: []string{"line{}"}, least: 200 * ms, most: 4000 * ms, begin: rename},
	{name: "lan-down", harm: isolates, weight: 1, slots: []string{"lan"}, least: 100 * ms, most: 3000 * ms, begin: lanDown},
	{name: "flows-full", harm: isolates, weight: 1, slots: []string{"nft"}, least: 300 * ms, most: 3000 * ms, begin: nftScript(noNewFlows, "delete table inet full")},

	{name: "withdraw", harm: withdraws, weight: 3, uplink: true, slots: []string{"line{}"}, least: 10 * ms, most: 4000 * ms, begin: withdraw},
	{name: "withdraw-router", harm: withdraws, weight: 2, uplink: true, slots: []string{"line{}"}, least: 500 * ms, most: 4000 * ms, begin: withdrawRouter},
	{name: "delete-routes", harm: takes, weight: 2, slots: []string{"ours"}, rest: deletionRest, begin: inLab},
	{name: "foreign-default", harm: none, weight: 2, slots: []string{"foreign-default", "state"}, least: 100 * ms, most: 4000 * ms, value: number(1, 6000), begin: foreignDefault},

	{name: "delete-rules", harm: leaks, weight: 2, slots: []string{"ours"}, rest: deletionRest, begin: inLab},
	{name: "delete-rule", harm: leaks, weight: 2, slots: []string{"ours"}, rest: deletionRest, value: number(0, 99), begin: deleteRule},
	{name: "foreign-rules", harm: none, weight: 2, slots: []string{"foreign-rules"}, least: 100 * ms, most: 3000 * ms, value: number(1, 40), begin: foreignRules},

	{name: "rule-flush", harm: leaks, weight: 2, slots: []string{"foreign-rules", "ours"}, rest: deletionRest, least: 100 * ms, most: 100 * ms, begin: flushRules},

	{name: "flush-ruleset", harm: leaks, weight: 2, slots: []string{"ours", "nft"}, rest: deletionRest, least: 100 * ms, most: 100 * ms, begin: flushRuleset},
	{name: "flush-table", harm: leaks, weight: 2, slots: []string{"ours", "nft"}, rest: deletionRest, begin: nftScript("flush table inet swerve", "")},
	{name: "delete-table", harm: leaks, weight: 2, slots: []string{"ours", "nft"}, rest: deletionRest, begin: nftScript("delete table inet swerve", "")},
	{name: "foreign-table", harm: none, weight: 2, slots: []string{"nft"}, least: 100 * ms, most: 3000 * ms, begin: nftScript(foreignTable, "delete table inet somebody")},

	{name: "kill", harm: absents, weight: 4, slots: []string{"daemon"}, least: 50 * ms, most: 3000 * ms, begin: kill},
	{name: "restart", harm: absents, weight: 2, slots: []string{"daemon"}, least: 1 * ms, most: 500 * ms, begin: restart},
	{name: "stop", harm: absents, weight: 3, slots: []string{"daemon"}, least: 100 * ms, most: 6000 * ms, begin: stop},
	{name: "hangup", harm: none, weight: 2, slots: []string{"daemon"}, begin: hangup},
	{name: "memory", harm: absents, weight: 1, slots: []string{"daemon"}, least: 500 * ms, most: 3000 * ms, value: number(0, 16), begin: memory},
	{name: "descriptors", harm: absents, weight: 2, slots: []string{"daemon"}, least: 500 * ms, most: 4000 * ms, value: number(0, 4), begin: descriptors},

	{name: "disk-full", harm: none, weight: 2, slots: []string{"config", "disk"}, least: 500 * ms, most: 5000 * ms, begin: diskFull},
	{name: "inodes-full", harm: none, weight: 2, slots: []string{"config", "disk"}, least: 500 * ms, most: 5000 * ms, begin: inodesFull},
	{name: "state-readonly", harm: none, weight: 2, slots: []string{"disk", "state"}, least: 500 * ms, most: 6000 * ms, begin: stateReadOnly},
	{name: "state-removed", harm: none, weight: 1, slots: []string{"disk", "state"}, begin: stateRemoved},
	{name: "state-replaced", harm: none, weight: 1, slots: []string{"disk", "state"}, least: 500 * ms, most: 5000 * ms, begin: stateReplaced},
	{name: "clock", harm: none, weight: 4, slots: []string{"clock"}, least: 300 * ms, most: 6000 * ms, value: oneOf("-2s", "2s", "-90s", "90s", "-1h0m0s", "1h0m0s", "-26h0m0s", "26h0m0s", "8760h0m0s", "-490000h0m0s"), begin: jump},
	{name: "log-unread", harm: none, weight: 2, slots: []string{"daemon", "log"}, least: 500 * ms, most: 6000 * ms, begin: logUnread},
	{name: "reload", harm: none, weight: 3, slots: []string{"config", "disk"}, least: 500 * ms, most: 5000 * ms, value: number(0, len(variants)-1), begin: reload},
	{name: "reload-refused", harm: none, weight: 2, slots: []string{"config", "daemon", "disk"}, least: 200 * ms, most: 1000 * ms, value: number(0, len(refused)-1), begin: reloadRefused},
}

// The pace of a schedule. The lulls let something settle, so that something is promised.
const (
	meanGap   = 900 * ms
	volley    = 0.15 // the share of faults that come right after the one before
	lullEvery = 25 * time.Second
	lullLasts = 6 * time.Second
)

// What comes with a switch: a daemon that is killed or stopped in the middle of it.
const (
	shadowed    = 0.15 // the share of cuts that it comes with
	shadowAfter = 1300 * ms
)

// schedule returns the faults of a storm: equal arguments make equal schedules.
func schedule(seed uint64, lasts time.Duration, uplinks int) []fault {
	return scheduleOf(kinds, seed, lasts, uplinks)
}

// scheduleOf returns a schedule of some of the kinds alone.
func scheduleOf(some []*kind, seed uint64, lasts time.Duration, uplinks int) (all []fault) {
	r := rand.New(rand.NewPCG(seed, 9))
	var deck []*kind
	for _, k := range some {
		for range k.weight {
			deck = append(deck, k)
		}
	}
	free := map[string]time.Duration{} // when a slot is free again
	for at := time.Second; ; {
		gap := time.Duration(r.ExpFloat64() * float64(meanGap))
		if r.Float64() < volley {
			gap /= 20
		}
		at += gap.Round(ms)
		if in := at % lullEvery; in > lullEvery-lullLasts {
			at += lullEvery - in
		}
		if at >= lasts {
			return numbered(all, lasts)
		}
		f := draw(r, deck, uplinks)
		f.at = at
		if !f.fits(free) {
			continue
		}
		all = append(all, f)
		if f.kind.harm == cuts && r.Float64() < shadowed {
			if f, ok := shadow(r, some, at); ok && f.fits(free) {
				all = append(all, f)
			}
		}
	}
}

// shadow makes the fault of the daemon's that comes with a cut.
func shadow(r *rand.Rand, some []*kind, at time.Duration) (fault, bool) {
	name := "kill"
	if r.IntN(3) == 0 {
		name = "stop"
	}
	after := time.Duration(r.Int64N(int64(shadowAfter))).Round(ms)
	for _, k := range some {
		if k.name == name {
			return fault{kind: k, at: at + after, lasts: k.least, uplink: -1}, true
		}
	}
	return fault{}, false
}

// numbered puts faults in order, and leaves out those that are too late.
func numbered(all []fault, lasts time.Duration) []fault {
	slices.SortStableFunc(all, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	all = slices.DeleteFunc(all, func(f fault) bool { return f.at >= lasts })
	for i := range all {
		all[i].number = i + 1
	}
	return all
}

// draw makes a fault of a random kind.
func draw(r *rand.Rand, deck []*kind, uplinks int) fault {
	f := fault{kind: deck[r.IntN(len(deck))], uplink: -1}
	if f.kind.uplink {
		f.uplink = r.IntN(uplinks)
	}
	f.lasts = f.kind.least
	if span := f.kind.most - f.kind.least; span > 0 {
		f.lasts += time.Duration(r.Int64N(int64(span))).Round(ms)
	}
	if f.kind.value != nil {
		f.value = f.kind.value(r)
	}
	return f
}

// slotMargin is the time between two faults in one slot.
const slotMargin = 300 * ms

// fits takes the fault's slots if all are free.
func (f fault) fits(free map[string]time.Duration) bool {
	for _, s := range f.slotsOf() {
		if free[s] > f.at {
			return false
		}
	}
	for _, s := range f.slotsOf() {
		rest := slotMargin
		if s == "ours" {
			rest = max(rest, f.kind.rest)
		}
		free[s] = f.at + f.lasts + rest
	}
	return true
}
