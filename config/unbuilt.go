package config

import "fmt"

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
	return list
}
