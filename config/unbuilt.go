package config

import "fmt"

// Unbuilt is a key of a configuration that this version accepts and does not act on.
type Unbuilt struct {
	// Key as the file has it, and Text what does not happen, as a phrase.
	Key, Text string
}

// Unbuilt lists the keys that the configuration sets and that this version does not act
// on, in a fixed order. Policies beside the default one are among them, since only
// rules lead traffic to them.
func (c *Config) Unbuilt() []Unbuilt {
	var list []Unbuilt
	add := func(key, format string, args ...any) {
		list = append(list, Unbuilt{key, fmt.Sprintf(format, args...)})
	}
	var resolvers, spread []string
	for _, u := range c.Uplinks {
		if len(u.DNS) > 0 {
			resolvers = append(resolvers, u.Name)
		}
	}
	for _, p := range c.Policies {
		if p.Spread != newPolicy().Spread {
			spread = append(spread, p.Name)
		}
	}
	if len(resolvers) > 0 {
		add("uplinks[].dns", "the resolvers of %s are not asked through their own uplink by this version", and(resolvers))
	}
	if len(spread) > 0 {
		add("policies[].spread", "this version spreads the flows of %s by pairs", and(spread))
	}
	if len(c.Policies) > 1 {
		add("policies", "no traffic goes by %s in this version: all goes by the policy %s", and(c.extraPolicies()), DefaultPolicy)
	}
	if c.Sessions.OnFailback.Mode != SessionsAuto && c.Sessions.OnFailback.Mode != SessionsKeep {
		add("sessions.on_failback", "this version lets sessions end where they are at a failback")
	}
	if c.Metrics.Listen != "" {
		add("metrics.listen", "this version serves no metrics, so nothing listens on %s", c.Metrics.Listen)
	}
	return list
}

// extraPolicies names the policies beside the default one.
func (c *Config) extraPolicies() []string {
	var names []string
	for _, p := range c.Policies[1:] {
		names = append(names, p.Name)
	}
	return names
}

// unbuiltWarnings are the warnings of check about what is not acted on.
func (c *Config) unbuiltWarnings() []string {
	var list []string
	for _, u := range c.Unbuilt() {
		list = append(list, u.Key+": "+u.Text)
	}
	if n := len(c.Rules); n > 0 {
		what := "1 rule is"
		if n > 1 {
			what = fmt.Sprintf("%d rules are", n)
		}
		list = append(list, fmt.Sprintf("rules: %s not acted on by this version: all traffic goes by the policy %s", what, DefaultPolicy))
	}
	return list
}
