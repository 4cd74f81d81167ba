package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"swerve/config"
	"swerve/failover"
)

// reload is an order to take another configuration over.
type reload struct {
	text string // of the configuration file
	cfg  failover.Config
}

// reload reads a line such as configure {"failback": {"after": "5s"}}: the script's
// configuration file with some of its keys replaced.
func (n *network) reload(args []string) (reload, error) {
	if n.base == "" {
		return reload{}, errors.New("there is no configuration file")
	}
	text, err := overlaid(n.base, strings.Join(args, " "))
	if err != nil {
		return reload{}, err
	}
	cfg, err := Script{Config: text}.engine()
	return reload{text, cfg}, err
}

// overlaid is a configuration file with the keys of a YAML mapping in place of its own.
func overlaid(base, overlay string) (string, error) {
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

// engine reads the script's configuration as the daemon would.
func (s Script) engine() (failover.Config, error) {
	c, problems := config.Parse("script", []byte(s.Config))
	if len(problems) > 0 {
		return failover.Config{}, fmt.Errorf("simulator: %w", problems[0])
	}
	return c.Engine(c.Uplinks, nil), nil
}
