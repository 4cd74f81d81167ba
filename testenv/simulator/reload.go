package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"swerve/config"
	"swerve/failover"
)

// reload is an order to take over another configuration.
type reload struct {
	text string // of the configuration file
	cfg  failover.Config
}

// reload parses a line such as configure {"failback": {"after": "5s"}}: the script's
// configuration file with some of its keys replaced.
func (n *network) reload(args []string) (reload, error) {
	if n.base == "" {
		return reload{}, errors.New("there is no configuration file")
	}
	text, err := Overlaid(n.base, strings.Join(args, " "))
	if err != nil {
		return reload{}, err
	}
	cfg, err := Script{Config: text}.Engine()
	return reload{text, cfg}, err
}

// Overlaid returns a configuration file with the keys of a YAML mapping replacing its own.
func Overlaid(base, overlay string) (string, error) {
	var all, over map[string]any
	if err := yaml.Unmarshal([]byte(base), &all); err != nil {
		return "", err
	}
	if err := yaml.Unmarshal([]byte(overlay), &over); err != nil {
		return "", err
	}
	for key, value := range over {
		all[key] = value
	}
	text, err := json.Marshal(all) // which is YAML as well
	return string(text) + "\n", err
}

// without returns an overlay that removes an uplink from a configuration, with the
// policies that have no other, and their rules; empty for the last uplink.
func without(base, uplink string) (string, error) {
	var c struct {
		Uplinks  []map[string]any
		Policies []map[string]any
		Rules    []map[string]any
	}
	if err := yaml.Unmarshal([]byte(base), &c); err != nil {
		return "", err
	}
	c.Uplinks = slices.DeleteFunc(c.Uplinks, func(u map[string]any) bool { return u["name"] == uplink })
	c.Policies = slices.DeleteFunc(c.Policies, func(p map[string]any) bool {
		tiers, _ := p["tiers"].([]any)
		tiers = slices.DeleteFunc(tiers, func(tier any) bool {
			shares, ok := tier.(map[string]any)
			delete(shares, uplink)
			return tier == any(uplink) || ok && len(shares) == 0
		})
		p["tiers"] = tiers
		gone := len(tiers) == 0
		if gone {
			c.Rules = slices.DeleteFunc(c.Rules, func(r map[string]any) bool { return r["use"] == p["name"] })
		}
		return gone
	})
	if len(c.Uplinks) == 0 {
		return "", nil
	}
	over := map[string]any{"uplinks": c.Uplinks}
	if c.Policies != nil {
		over["policies"] = c.Policies
	}
	if c.Rules != nil {
		over["rules"] = c.Rules
	}
	text, err := json.Marshal(over)
	return string(text), err
}

// disabled returns an overlay that disables an uplink of a configuration.
func disabled(base, uplink string) (string, error) {
	var c struct{ Uplinks []map[string]any }
	if err := yaml.Unmarshal([]byte(base), &c); err != nil {
		return "", err
	}
	for _, u := range c.Uplinks {
		if u["name"] == uplink {
			u["enabled"] = false
		}
	}
	text, err := json.Marshal(c.Uplinks)
	return `{"uplinks":` + string(text) + "}", err
}

// Engine reads the script's configuration as the daemon would.
func (s Script) Engine() (failover.Config, error) {
	c, problems := config.Parse("script", []byte(s.Config))
	if len(problems) > 0 {
		return failover.Config{}, fmt.Errorf("simulator: %w", problems[0])
	}
	return c.Engine(c.Uplinks, nil), nil
}
