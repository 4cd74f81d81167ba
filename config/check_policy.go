package config

import (
	"fmt"
	"slices"
)

// checkPolicies checks the names of policies and the uplinks in their tiers. It
// runs while the policies are in the file's order, before the default policy
// becomes the first.
func (d *decoder) checkPolicies(c *Config) {
	names, used := map[string]int{}, map[string]bool{}
	for i, p := range c.Policies {
		path := indexPath("policies", i)
		if first, twice := firstUse(names, p.Name, i); twice {
			d.wrongAt(keyPath(path, "name"), fmt.Sprintf("%s is also the name of policies[%d]", show(p.Name), first),
				"a unique name")
		}
		if p.Name != "" && p.Name != DefaultPolicy && !d.given(keyPath(path, "tiers")) {
			d.wrongAt(keyPath(path, "tiers"), "is missing", "a list of tiers, each "+wantTier)
		}
		d.checkTiers(c, i, used)
		d.checkOverflow(c, i)
	}
	d.checkUnused(c, used)
	if n := len(c.Policies); n == maxPolicies && !slices.ContainsFunc(c.Policies, func(p Policy) bool { return p.Name == DefaultPolicy }) {
		d.wrongAt("policies", fmt.Sprintf("has %d policies beside %s, which always exists", n, DefaultPolicy),
			fmt.Sprintf("at most %d beside it", maxPolicies-1))
	}
}

// checkTiers checks the uplinks that a policy names, and adds them to used.
func (d *decoder) checkTiers(c *Config, policy int, used map[string]bool) {
	var names []string // of uplinks
	for _, u := range c.Uplinks {
		if u.Name != "" {
			names = append(names, u.Name)
		}
	}
	seen := map[string]bool{}
	for i, tier := range c.Policies[policy].Tiers {
		for _, share := range tier {
			wrong := func(wrong, right string) { d.wrongAt(d.sharePath(policy, i, share.Uplink), wrong, right) }
			switch {
			case share.Uplink == "":
			case seen[share.Uplink]:
				wrong(show(share.Uplink)+" appears twice in this policy", "each uplink once in a policy")
			case c.AutoUplinks:
				wrong(show(share.Uplink)+" names an uplink, but uplinks is auto", "uplinks as a list")
			case slices.Contains(names, share.Uplink) || d.unsure["uplinks"]:
			case len(names) == 0:
				wrong("there is no uplink "+show(share.Uplink), "a defined uplink")
			default:
				wrong("there is no uplink "+show(share.Uplink), orMeant(share.Uplink, names))
			}
			seen[share.Uplink], used[share.Uplink] = true, true
		}
	}
}

// sharePath is the path of an uplink's name in a policy, whichever form of tiers
// the file uses.
func (d *decoder) sharePath(policy, tier int, uplink string) string {
	tiers := keyPath(indexPath("policies", policy), "tiers")
	one := indexPath(tiers, tier)
	for _, p := range []string{keyPath(one, uplink), one, keyPath(tiers, uplink)} {
		if d.given(p) {
			return p
		}
	}
	return tiers
}

// checkUnused reports uplinks that no policy uses. A default policy without tiers
// uses all of them; an uplink that is not enabled may be unused.
func (d *decoder) checkUnused(c *Config, used map[string]bool) {
	if d.unsure["policies"] {
		return
	}
	all := true
	for i, p := range c.Policies {
		if p.Name == DefaultPolicy && d.given(keyPath(indexPath("policies", i), "tiers")) {
			all = false
		}
	}
	for i, u := range c.Uplinks {
		if !all && u.Enabled && u.Name != "" && !used[u.Name] {
			d.wrongAt(indexPath("uplinks", i), "no policy uses the uplink "+show(u.Name),
				"its name in the tiers of a policy, or enabled: false")
		}
	}
}
