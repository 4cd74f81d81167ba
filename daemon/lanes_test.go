package daemon

import (
	"fmt"
	"maps"
	"strings"
	"swerve/lane"
	"testing"
)

func TestAssign(t *testing.T) {
	type lanesOf = map[string]lane.Lane
	for _, c := range []struct {
		what       string
		names      []string
		remembered lanesOf
		want       lanesOf
	}{
		{"first start, in file order", []string{"fiber", "lte"}, nil, lanesOf{"fiber": 1, "lte": 2}},
		{"order changed", []string{"lte", "fiber"}, lanesOf{"fiber": 1, "lte": 2}, lanesOf{"fiber": 1, "lte": 2}},
		{"a new one beside old ones", []string{"cable", "fiber", "lte"}, lanesOf{"fiber": 1, "lte": 2}, lanesOf{"fiber": 1, "lte": 2, "cable": 3}},
		{"a removed one keeps its place", []string{"lte", "sat"}, lanesOf{"fiber": 1, "lte": 2}, lanesOf{"lte": 2, "sat": 3}},
		{"a lane out of range is forgotten", []string{"fiber"}, lanesOf{"fiber": 99}, lanesOf{"fiber": 1}},
		{"two names with one lane", []string{"a", "b"}, lanesOf{"a": 1, "b": 1}, lanesOf{"a": 1, "b": 2}},
	} {
		got, err := assign(c.names, c.remembered, lane.FirstUplink, lane.LastUplink)
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.what, got, err, c.want)
		}
	}
}

func TestAssignWhenFull(t *testing.T) {
	remembered := map[string]lane.Lane{}
	for n := lane.FirstUplink; n <= lane.LastUplink; n++ {
		remembered[fmt.Sprintf("old%d", n)] = n
	}
	got, err := assign([]string{"old5", "new"}, remembered, lane.FirstUplink, lane.LastUplink)
	if err != nil || got["old5"] != 5 || got["new"] != 1 {
		t.Errorf("a name of the past gives way: %v, %v", got, err)
	}
	var many []string
	for n := range 64 {
		many = append(many, fmt.Sprintf("u%d", n))
	}
	if _, err := assign(many, nil, lane.FirstUplink, lane.LastUplink); err == nil || !strings.Contains(err.Error(), "63") {
		t.Errorf("64 uplinks: %v, want an error that names the limit", err)
	}
}

func TestRememberKeepsThePast(t *testing.T) {
	past := lanes{Uplinks: map[string]lane.Lane{"fiber": 1, "lte": 2, "old": 3}}
	now := lanes{Uplinks: map[string]lane.Lane{"lte": 2, "new": 3}}
	got := now.remember(past).Uplinks
	want := map[string]lane.Lane{"fiber": 1, "lte": 2, "new": 3}
	if !maps.Equal(got, want) {
		t.Errorf("remembered %v, want %v", got, want)
	}
}
