package main

import (
	"math"
	"slices"
)

// Figure is one quantity, measured in many runs.
type Figure struct {
	// Group is what happened, What is measured, Family "ipv4", "ipv6" or empty.
	Group  string `json:"group"`
	What   string `json:"what"`
	Family string `json:"family,omitempty"`
	Unit   string `json:"unit"`
	Floor  Floor  `json:"floor"`
	// Runs counted; Void ones were repeated because the machine had paused.
	Runs int `json:"runs"`
	Void int `json:"void"`
	// Least, Median and Worst of Values; null if there are none. Worst is the value
	// farthest in the wrong direction, so the smallest if more is better.
	Least  *float64 `json:"least"`
	Median *float64 `json:"median"`
	Worst  *float64 `json:"worst"`
	// Met reports whether the floor is reached; true if there is none.
	Met    bool      `json:"met"`
	Values []float64 `json:"values"`
}

// Floor is what a figure has to reach; nil fields are not required.
type Floor struct {
	Median *float64 `json:"median,omitempty"`
	Worst  *float64 `json:"worst,omitempty"`
	// AtLeast: more is better, so the floor is a minimum.
	AtLeast bool `json:"at_least,omitempty"`
}

func atMost(median, worst float64) Floor { return Floor{Median: &median, Worst: &worst} }
func worstAtMost(worst float64) Floor    { return Floor{Worst: &worst} }
func medianAtMost(median float64) Floor  { return Floor{Median: &median} }
func medianAtLeast(median float64) Floor { return Floor{Median: &median, AtLeast: true} }

// add records a value, rounded to a meaningful precision.
func (f *Figure) add(v float64) { f.Values = append(f.Values, math.Round(v*1000)/1000) }

// sum computes Least, Median, Worst and Met. Values keep their order, which is that of
// the runs.
func (f *Figure) sum() {
	f.Runs = len(f.Values)
	if f.Runs == 0 {
		f.Met = f.Floor == Floor{}
		return
	}
	sorted := slices.Sorted(slices.Values(f.Values))
	least, worst := sorted[0], sorted[len(sorted)-1]
	if f.Floor.AtLeast {
		least, worst = worst, least
	}
	median := middle(sorted)
	f.Least, f.Median, f.Worst = &least, &median, &worst
	f.Met = f.Floor.reached(f.Floor.Median, median) && f.Floor.reached(f.Floor.Worst, worst)
}

// middle returns the median of sorted values: of an even number, the mean of the middle two.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

func (f Floor) reached(asked *float64, got float64) bool {
	switch {
	case asked == nil:
		return true
	case f.AtLeast:
		return got >= *asked
	}
	return got <= *asked
}
