package tui

import (
	"fmt"
	"math"
	"testing"
	"time"

	"swerve/control"
	"swerve/failover"
)

func lossOf(s sample) float32 { return s.loss }
func rttOf(s sample) float32  { return s.rtt }

// run returns a sample for each second up to end.
func run(end time.Time, values ...float32) (out []sample) {
	for i, v := range values {
		out = append(out, sample{at: end.Add(time.Duration(i-len(values)+1) * time.Second), rtt: v, loss: v})
	}
	return out
}

var nan = float32(math.NaN())

func TestLossBars(t *testing.T) {
	all := run(noon, 0, 0.0001, 0.01, 0.011, 0.02, 0.05, 0.1, 0.2, 0.21, 0.5, 0.51, 1, nan)
	got := (&canvas{theme: looks()}).lossBars(levels(all, noon, 15*time.Second, 15, lossOf))
	if want := "  ▁▂▂▃▃▄▅▆▇▇██-"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRTTBars(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float32
		want   string
	}{
		{"steady", []float32{12, 12, 12, 12}, "▁▁▁▁"},
		{"a wobble of one ms is small", []float32{12, 13, 12, 13}, "▁▂▁▂"},
		{"a peak", []float32{12, 12, 120, 12}, "▁▁█▁"},
		{"unknown is no 0", []float32{nan, nan, 12, nan}, "--▁-"},
		{"all unknown", []float32{nan, nan, nan, nan}, "----"},
	} {
		if got := (&canvas{theme: looks()}).rttBars(levels(run(noon, c.values...), noon, 4*time.Second, 4, rttOf)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLevels(t *testing.T) {
	end := time.Unix(1000, 0)
	all := run(end, 5, 1, 2, 9, 3)
	got := levels(all, end, 6*time.Second, 3, rttOf) // steps of two seconds: 996, 998, 1000
	if !got[2].known || got[2].most != 3 || got[1].most != 9 || got[0].most != 5 {
		t.Errorf("%v", got)
	}
	// Bars keep their heights as time passes, until all move.
	later := levels(all, end.Add(time.Second), 6*time.Second, 3, rttOf)
	if fmt.Sprint(later) != fmt.Sprint(got) {
		t.Errorf("a second later %v, want %v", later, got)
	}
	moved := levels(all, end.Add(2*time.Second), 6*time.Second, 3, rttOf)
	if fmt.Sprint(moved[:2]) != fmt.Sprint(got[1:]) || moved[2].any {
		t.Errorf("two seconds later %v, want %v and a gap", moved, got[1:])
	}
	for _, n := range []int{0, 1, 59, 61, 200} { // more bars than seconds
		if got := levels(all, end, time.Minute, n, rttOf); len(got) != n {
			t.Errorf("%d levels, want %d", len(got), n)
		}
	}
	// After a clock was set back, samples are in the future: they are left out.
	if got := levels(all, end.Add(-time.Hour), time.Minute, 5, rttOf); got[4].any {
		t.Errorf("%v", got)
	}
}

func TestTrendsAreBounded(t *testing.T) {
	s := allUp().Status
	all := trends{}
	for i := range maxSamples + 50 {
		all.add(s, noon.Add(time.Duration(i)*time.Second))
	}
	past := all[track{"fiber", failover.IPv4}]
	if len(past) != maxSamples || !past[0].at.Equal(noon.Add(50*time.Second)) {
		t.Errorf("%d samples from %v on", len(past), past[0].at)
	}
	frozen := all.clone()
	all.add(s, noon.Add(time.Hour))
	if got := frozen[track{"fiber", failover.IPv4}]; got[len(got)-1].at.Equal(noon.Add(time.Hour)) || !got[0].at.Equal(past[0].at) && len(got) != maxSamples {
		t.Error("the clone changed with the original")
	}
	s.Uplinks = s.Uplinks[1:]
	all.add(s, noon.Add(2*time.Hour))
	if _, kept := all[track{"fiber", failover.IPv4}]; kept || len(all) != 2 {
		t.Errorf("%d tracks; an uplink that is gone is kept: %v", len(all), kept)
	}
	for i := range 200 {
		s.Uplinks = append(s.Uplinks, control.Uplink{Name: fmt.Sprint(i)})
	}
	if all.add(s, noon); len(all) != maxTracks {
		t.Errorf("%d tracks, want %d", len(all), maxTracks)
	}
}
