package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/testenv/traffic"
)

func TestFigureSums(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		floor                Floor
		values               []float64
		least, median, worst float64
		met                  bool
	}{
		{"at the floor", atMost(2, 3), []float64{3, 1, 2}, 1, 2, 3, true},
		{"one too slow", atMost(2, 3), []float64{3.1, 1, 2}, 1, 2, 3.1, false},
		{"slow on the whole", atMost(2, 9), []float64{1, 2.1, 9}, 1, 2.1, 9, false},
		{"of an even number the mean", medianAtMost(2.5), []float64{4, 1, 3, 2}, 1, 2.5, 4, true},
		{"more is better", medianAtLeast(0.9), []float64{0.5, 0.9, 1.1}, 1.1, 0.9, 0.5, true},
		{"too little", medianAtLeast(0.9), []float64{0.5, 0.89, 1.1}, 1.1, 0.89, 0.5, false},
		{"no floor", Floor{}, []float64{7}, 7, 7, 7, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := Figure{Floor: tc.floor}
			for _, v := range tc.values {
				f.add(v)
			}
			f.sum()
			if *f.Least != tc.least || *f.Median != tc.median || *f.Worst != tc.worst || f.Met != tc.met || f.Runs != len(tc.values) {
				t.Errorf("least %v, median %v, worst %v, met %v", *f.Least, *f.Median, *f.Worst, f.Met)
			}
		})
	}
}

// A figure without values has not reached its floor.
func TestNothingMeasured(t *testing.T) {
	floored, free := Figure{Floor: worstAtMost(1)}, Figure{}
	floored.sum()
	free.sum()
	if floored.Met || !free.Met || floored.Median != nil {
		t.Errorf("with a floor %+v, without %+v", floored, free)
	}
}

// The raw requests are those of the interruption and a few around it.
func TestStamps(t *testing.T) {
	onset := time.Now()
	at := func(ms int) time.Time { return onset.Add(time.Duration(ms) * time.Millisecond) }
	log := []traffic.Request{
		{Sent: at(-100), Answered: at(-80)},
		{Sent: at(-10), Answered: at(10)},
		{Sent: at(5)},
		{Due: at(15)}, // could not be sent
		{Sent: at(25), Answered: at(45)},
		{Sent: at(200), Answered: at(220)},
	}
	text, err := json.Marshal(stamps(log, onset, 25*time.Millisecond))
	if want := "[[-10,20],[5,null],[15,null],[25,20]]"; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
}

func TestParseBenchmarks(t *testing.T) {
	const out = `goos: linux
BenchmarkStep-2   	 4627460	       253.4 ns/op	       0 B/op
BenchmarkSwitch/policies=1/foreign=0         	    2491	    478365 ns/op
BenchmarkHalf-2   	 no figure
PASS
`
	got := parseBenchmarks("failover", []byte(out))
	if len(got) != 2 || got[0] != (Micro{"failover", "BenchmarkStep", 253.4}) || got[1].Name != "BenchmarkSwitch/policies=1/foreign=0" || got[1].NSPerOp != 478365 {
		t.Errorf("%+v", got)
	}
}

// The report can be parsed again, and has a line for each run.
func TestReportIsReadAgain(t *testing.T) {
	r := newReport("1.0.0", 7, true)
	f := &Figure{Group: "carrier lost", What: "new sessions", Unit: "ms", Floor: worstAtMost(20)}
	f.add(12.5)
	r.add(f)
	r.Runs = []Run{{Group: "a", Phase: 1}, {Group: "b", Sessions: []Session{{Kind: "udp", Requests: []Stamp{{Sent: 1}, {Sent: 2, Took: new(0.5)}}}}}}
	path := t.TempDir() + "/bench.json"
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	again, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Seed != 7 || len(again.Figures) != 1 || *again.Figures[0].Worst != 12.5 || !again.Figures[0].Met {
		t.Errorf("%+v", again)
	}
	if !reflect.DeepEqual(again.Runs, r.Runs) {
		t.Errorf("runs %+v, want %+v", again.Runs, r.Runs)
	}
	text, _ := r.encode()
	var whole struct{ Runs []json.RawMessage }
	if err := json.Unmarshal(text, &whole); err != nil || len(whole.Runs) != 2 || !strings.Contains(string(text), "\n  {\"group\":\"b\"") {
		t.Errorf("%v in\n%s", err, text)
	}
}

// A bench that was ended goes on where it was, with what it has, and no other one does.
func TestReportGoesOn(t *testing.T) {
	r := newReport("1.0.0", 7, true)
	f := &Figure{Group: "carrier lost", What: "new sessions", Unit: "ms"}
	f.add(12.5)
	r.add(f)
	r.Parts, r.Took = []string{"carrier lost"}, "1m0s"
	path := t.TempDir() + "/bench.json"
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	again := newReport("1.0.0", 7, true)
	if err := again.continues(path); err != nil || !slices.Equal(again.Parts, r.Parts) || len(again.Figures) != 1 || again.Took != "1m0s" {
		t.Errorf("%v, %+v", err, again)
	}
	for what, other := range map[string]*Report{"software": newReport("1.0.1", 7, true), "seed": newReport("1.0.0", 8, true), "length": newReport("1.0.0", 7, false)} {
		if err := other.continues(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("another %s: error %v", what, err)
		}
	}
}
