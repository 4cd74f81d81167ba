package config

import (
	"fmt"
	"strings"
)

// Unbuilt is a key of a configuration that this version accepts and does not act on.
type Unbuilt struct {
	// Key as the file has it, and Text what does not happen, as a phrase.
	Key, Text string
}

// Unbuilt lists the keys that the configuration sets and that this version does not act
// on, in a fixed order.
func (c *Config) Unbuilt() []Unbuilt {
	var list []Unbuilt
	add := func(key, format string, args ...any) {
		list = append(list, Unbuilt{key, fmt.Sprintf(format, args...)})
	}
	var resolvers []string
	for _, u := range c.Uplinks {
		if len(u.DNS) > 0 {
			resolvers = append(resolvers, u.Name)
		}
	}
	if len(resolvers) > 0 {
		add("uplinks[].dns", "the resolvers of %s are not asked through their own uplink by this version", and(resolvers))
	}
	if c.Sessions.OnFailback.Mode != SessionsAuto && c.Sessions.OnFailback.Mode != SessionsKeep {
		add("sessions.on_failback", "this version lets sessions end where they are at a failback")
	}
	if c.Metrics.Listen != "" {
		add("metrics.listen", "this version serves no metrics, so nothing listens on %s", c.Metrics.Listen)
	}
	return list
}

// unbuiltWarnings are the warnings of check about what is not acted on.
func (c *Config) unbuiltWarnings() []string {
	var list []string
	for _, u := range c.Unbuilt() {
		list = append(list, u.Key+": "+u.Text)
	}
	var npt []string
	for _, u := range c.Uplinks {
		if u.SNAT6 == NPT {
			npt = append(npt, u.Name)
		}
	}
	if len(npt) > 0 {
		list = append(list, "snat6: prefix translation is not acted on by this version: foreign sources are masqueraded on "+strings.Join(npt, ", "))
	}
	return list
}
