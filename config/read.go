package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/failover"
)

const wantUplinks = "a list of uplinks, or auto"

// config reads the whole file, and then checks the rules that involve more than one
// value.
func (d *decoder) config() *Config {
	c := defaults()
	fileFields.read(d, d.root(), c)
	d.check(c)
	c.addDefaultPolicy()
	return c
}

// addDefaultPolicy moves the default policy to the front, or adds it there, and
// gives it every uplink in file order if the file gives it none.
func (c *Config) addDefaultPolicy() {
	i := slices.IndexFunc(c.Policies, func(p Policy) bool { return p.Name == DefaultPolicy })
	p := defaultPolicy()
	if i >= 0 {
		p = c.Policies[i]
		c.Policies = slices.Delete(c.Policies, i, i+1)
	}
	if p.Tiers == nil {
		p.Tiers = eachAlone(c.Uplinks)
	}
	c.Policies = slices.Insert(c.Policies, 0, p)
}

// eachAlone returns tiers of one uplink each.
func eachAlone(uplinks []Uplink) [][]failover.Share {
	var tiers [][]failover.Share
	for _, u := range uplinks {
		tiers = append(tiers, []failover.Share{{Uplink: u.Name, Weight: 1}})
	}
	return tiers
}

func readUplinks(d *decoder, n node, c *Config) {
	if s, ok := single(n); ok && s == autoWord {
		c.AutoUplinks = true
		return
	}
	list, ok := d.items(n, wantUplinks)
	switch {
	case !ok:
		d.unsure["uplinks"] = true
		return
	case len(list) == 0:
		d.wrong(n, "is an empty list", wantUplinks)
	case len(list) > maxUplinks:
		d.wrong(n, fmt.Sprintf("has %d uplinks", len(list)), fmt.Sprintf("at most %d", maxUplinks))
	}
	for _, item := range list {
		u := newUplink(c.Probe, c.Health)
		u.Line = item.at.line
		uplinkFields.read(d, item, &u)
		c.Uplinks = append(c.Uplinks, u)
	}
}

func readPolicies(d *decoder, n node, c *Config) {
	list, ok := d.itemsOrNone(n, "a list of policies")
	if d.unsure["policies"] = !ok; len(list) > maxPolicies {
		d.wrong(n, fmt.Sprintf("has %d policies", len(list)), fmt.Sprintf("at most %d", maxPolicies))
	}
	for _, item := range list {
		p := newPolicy()
		p.Line = item.at.line
		policyFields.read(d, item, &p)
		c.Policies = append(c.Policies, p)
	}
}

func readRules(d *decoder, n node, c *Config) {
	list, _ := d.itemsOrNone(n, "a list of rules")
	c.Rules = slices.Grow(c.Rules, len(list))
	for i, item := range list {
		r := Rule{Line: item.at.line}
		before := d.count()
		ruleFields.read(d, item, &r)
		if d.count() > before {
			d.badRules[i] = true
		}
		c.Rules = append(c.Rules, r)
	}
}

// itemsOrNone is items, except that an empty value is an empty list.
func (d *decoder) itemsOrNone(n node, want string) ([]node, bool) {
	if !n.broken && isNothing(n.ast) {
		return nil, true
	}
	return d.items(n, want)
}

// metered reads auto or a boolean.
func metered(d *decoder, n node) (Metered, bool) {
	const want = "auto, true or false"
	s, ok := d.text(n, want)
	if !ok {
		return "", false
	}
	v, isBoolean := truth(s)
	switch {
	case s == autoWord:
		return MeteredAuto, true
	case isBoolean && v:
		return MeteredYes, true
	case isBoolean:
		return MeteredNo, true
	}
	d.wrong(n, show(s)+" is not allowed", want)
	return "", false
}

var moveOrKeep = either("move", "keep")

// onFailback reads auto, keep, move or "drain" with a duration.
func onFailback(d *decoder, n node) (OnFailback, bool) {
	const want = "auto, keep, move or a drain, such as drain 10m"
	s, ok := d.text(n, want)
	if !ok {
		return OnFailback{}, false
	}
	switch mode := FailbackSessions(s); mode {
	case SessionsAuto:
		return OnFailback{mode, drainMetered}, true
	case SessionsKeep, SessionsMove:
		return OnFailback{mode, 0}, true
	}
	word, after, timed := strings.Cut(s, " ")
	if word != string(SessionsDrain) {
		right := want
		if like, ok := nearest(word, []string{"auto", "keep", "move", "drain"}); ok {
			right = "did you mean " + like + "? It takes " + want
		}
		d.wrong(n, show(s)+" is not allowed", right)
		return OnFailback{}, false
	}
	if !timed {
		d.wrong(n, "drain has no time", "a time of 1s to 7d, such as drain 10m")
		return OnFailback{}, false
	}
	v, wrong, right := parseDuration(strings.TrimSpace(after), time.Second, 7*day)
	if wrong != "" {
		d.wrong(n, "drain "+wrong, right)
	}
	return OnFailback{SessionsDrain, v}, wrong == ""
}

const wantTier = "an uplink's name, or names with weights such as {fiber: 3, cable: 1}"

// tiers reads the tiers of a policy.
func tiers(d *decoder, n node) ([][]failover.Share, bool) {
	nodes := []node{n}
	if isList(n.ast) {
		nodes, _ = d.items(n, "")
	}
	if len(nodes) == 0 {
		d.wrong(n, "is an empty list", "at least one tier: "+wantTier)
		return nil, false
	}
	return readAll(d, nodes, tier)
}

// tier reads one tier: a name, or a mapping of names to weights.
func tier(d *decoder, n node) ([]failover.Share, bool) {
	if !isMapping(n.ast) {
		s, ok := d.text(n, wantTier)
		return []failover.Share{{Uplink: s, Weight: 1}}, ok
	}
	list, _ := d.entries(n, wantTier)
	if len(list) == 0 {
		d.wrong(n, "is an empty tier", wantTier)
		return nil, false
	}
	shares, good := []failover.Share(nil), true
	for _, e := range list {
		weight, ok := integer(1, maxWeight)(d, e.node)
		shares = append(shares, failover.Share{Uplink: e.key, Weight: weight})
		good = good && ok
	}
	return shares, good
}

const maxWeight = 255

var anyPrefixes = oneOrMany(maxList, prefix(failover.IPv4, failover.IPv6))

// entryInterface reads the name of an interface by which traffic enters. It takes
// no MAC address, since nft identifies interfaces by name.
func entryInterface(d *decoder, n node) (string, bool) {
	const want = "an interface's name"
	s, ok := d.text(n, want)
	if !ok {
		return "", false
	}
	wrong := wrongInterface(s)
	if wrong == "" && len(s) > maxInterfaceName {
		wrong = fmt.Sprintf("is longer than %d bytes", maxInterfaceName)
	}
	if wrong != "" {
		d.wrong(n, show(s)+" "+wrong, want)
	}
	return s, wrong == ""
}

// maxInterfaceName is IFNAMSIZ of linux/if.h without the terminating NUL.
const maxInterfaceName = 15

func policyName(d *decoder, n node) (string, bool) { return d.text(n, "the name of a policy") }
