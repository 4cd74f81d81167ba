package config

import (
	"fmt"
	"slices"
	"time"
)

// Rescue says whether single addresses that an uplink does not reach are used by the next
// one of the policy.
type Rescue struct {
	Enabled bool
	// Metered: also where the next uplink is metered.
	Metered bool
	// Addresses bounds those of each policy and family, 1 to 65536.
	Addresses int
	// For is how long an address is used there, 1 min to 24 h.
	For time.Duration
}

const maxRescued = 65_536

func defaultRescue() Rescue { return Rescue{Enabled: true, Addresses: 1024, For: 10 * time.Minute} }

var rescueFields = fields[Rescue]{
	set("enabled", func(r *Rescue) *bool { return &r.Enabled }, boolean),
	set("metered", func(r *Rescue) *bool { return &r.Metered }, boolean),
	set("addresses", func(r *Rescue) *int { return &r.Addresses }, integer(1, maxRescued)),
	set("for", func(r *Rescue) *time.Duration { return &r.For }, duration(time.Minute, day)),
}

// rescueText says what is rescued, and by which uplinks never; empty where there is no other
// uplink.
func (c *Config) rescueText(uplinks []Uplink) string {
	enabled := slices.DeleteFunc(slices.Clone(uplinks), func(u Uplink) bool { return !u.Enabled })
	if len(enabled) < 2 {
		return ""
	}
	if !c.Rescue.Enabled {
		return "off"
	}
	text := fmt.Sprintf("addresses that leave two SYNs unanswered are used by the next uplink for %s if they answer there, %d of each policy and family at most",
		FormatDuration(c.Rescue.For), c.Rescue.Addresses)
	var metered []string
	for _, u := range enabled {
		if u.IsMetered() {
			metered = append(metered, u.Name)
		}
	}
	if len(metered) > 0 && !c.Rescue.Metered {
		text += "; not by " + and(metered) + ", metered (rescue.metered: true allows it)"
	}
	return text
}
