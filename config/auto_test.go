package config

import (
	"fmt"
	"testing"
)

// Interfaces that share a default route share a tier by the same weights and in the route's order; others of the
// same metric stand alone.
func TestAutoSharesATier(t *testing.T) {
	c := Default()
	uplinks := c.Auto([]DefaultRoute{
		{Interface: "wan1", Metric: 100, Weight: 1}, {Interface: "lone", Metric: 100},
		{Interface: "wan0", Metric: 100, Weight: 3}, {Interface: "lte", Metric: 200},
		{Interface: "wan1", Metric: 1024, Weight: 9},
	})
	got := fmt.Sprint(c.Engine(uplinks, nil).Policies[0].Tiers)
	if want := "[[{lone 1}] [{wan1 1} {wan0 3}] [{lte 1}]]"; got != want {
		t.Errorf("tiers %s, want %s", got, want)
	}
}
