package main

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"
)

// short is enough to see a regression, in a few seconds for all links.
var short = plan{days: 0.05, outages: 2, seed: 1, without: []kind{used, metered, meteredDies}}

// TestProfiles holds each link against its bounds.
func TestProfiles(t *testing.T) {
	results, err := playAll(context.Background(), profiles, []string{""}, short)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", tableOf(results, short))
	for i := range results {
		for _, what := range exceeded(&results[i], profiles[i].most) {
			t.Errorf("%s: %s", results[i].Line, what)
		}
	}
}

// TestExceeded checks that each bound is looked at.
func TestExceeded(t *testing.T) {
	most := bounds{1, 1, 1, 1, time.Second}
	good := departures{Flows: times{4, ms, time.Second}}
	for want, r := range map[string]result{
		"":                    {Quiet: verdicts{1, 1, 1, 9, 1}, Used: verdicts{1, 1, 1, 9, 1}, Idle: good, Traffic: good},
		"shuns":               {Quiet: verdicts{Shuns: 2}, Idle: good, Traffic: good},
		"downs":               {Used: verdicts{Downs: 2}, Idle: good, Traffic: good},
		"degradeds":           {Quiet: verdicts{Degradeds: 2}, Idle: good, Traffic: good},
		"elsewhere":           {Used: verdicts{Needless: 2}, Idle: good, Traffic: good},
		"idle":                {Idle: departures{Flows: times{4, ms, 2 * time.Second}}, Traffic: good},
		"with traffic":        {Idle: good, Traffic: departures{Flows: times{4, ms, 2 * time.Second}}},
		"was no outage, idle": {Traffic: good},
		"resting modem":       {Idle: good, Traffic: good, ToModem: departures{Flows: times{4, ms, 6 * time.Second}}},
	} {
		got := strings.Join(exceeded(&r, most), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, ";") {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

// TestTableIsReproducible plays twice, and compares what overlays and seeds change.
func TestTableIsReproducible(t *testing.T) {
	pl := plan{days: 0.01, outages: 1, seed: 1}
	links := profiles[4:5]
	play := func(pl plan, variants ...string) string {
		results, err := playAll(context.Background(), links, variants, pl)
		if err != nil {
			t.Fatal(err)
		}
		return tableOf(results, pl)
	}
	once := play(pl, "", "health: {patience: 3s}")
	if again := play(pl, "", "health: {patience: 3s}"); again != once {
		t.Errorf("two equal runs give\n%s\n%s", once, again)
	}
	if !strings.Contains(once, "| – health: {patience: 3s} |") {
		t.Errorf("the variant has no row of its own:\n%s", once)
	}
	one, other := lines(once), lines(play(plan{days: pl.days, outages: 1, seed: 9}, "", "probe: {interval: 500ms}"))
	if one[5] == one[6] || reflect.DeepEqual(one, other) {
		t.Errorf("variants and seeds change nothing:\n%s", once)
	}
}

func lines(text string) []string { return strings.Split(text, "\n") }

// TestBadVariants: a mistake in a variant is an error.
func TestBadVariants(t *testing.T) {
	for _, overlay := range []string{"probe: {", "probe: {intervall: 1s}"} {
		if _, err := playAll(context.Background(), profiles[:1], []string{overlay}, plan{days: 0.001}); err == nil {
			t.Errorf("%q is accepted", overlay)
		}
	}
}
