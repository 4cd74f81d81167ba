package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"swerve/failover"
)

// Bounds of a rate, in bits a second.
const (
	leastRate = 64_000
	mostRate  = 400_000_000_000
)

const wantRate = "a rate such as 100mbit, in kbit, mbit or gbit a second"

// rateUnits are the units of a rate in bits a second, in decimal steps as everywhere in
// networks.
var rateUnits = []struct {
	name string
	bits float64
}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}}

var rateFields = fields[failover.Rate]{
	set("down", func(r *failover.Rate) *uint64 { return &r.Down }, rate),
	set("up", func(r *failover.Rate) *uint64 { return &r.Up }, rate),
}

// rate reads a number with a unit.
func rate(d *decoder, n node) (uint64, bool) {
	s, ok := d.text(n, wantRate)
	if !ok {
		return 0, false
	}
	v, ok := rateOf(s)
	switch _, err := strconv.ParseFloat(s, 64); {
	case !ok && err == nil:
		d.wrong(n, show(s)+" has no unit", wantRate)
	case !ok:
		d.wrong(n, show(s)+" is not a rate", wantRate)
	case v < leastRate:
		d.wrong(n, show(s)+" is below the minimum", "at least "+FormatRate(leastRate))
	case v > mostRate:
		d.wrong(n, show(s)+" is above the maximum", "at most "+FormatRate(mostRate))
	default:
		return uint64(math.Round(v)), true
	}
	return 0, false
}

// rateOf reads a rate in bits a second: a decimal number and a unit, in any case.
func rateOf(s string) (float64, bool) {
	low := strings.ToLower(s)
	for _, u := range rateUnits {
		number, ok := strings.CutSuffix(low, u.name)
		if !ok {
			continue
		}
		number = strings.TrimSpace(number)
		if strings.Trim(number, "0123456789.") != "" { // no sign, exponent or word
			return 0, false
		}
		v, err := strconv.ParseFloat(number, 64)
		return v * u.bits, err == nil
	}
	return 0, false
}

// FormatRate formats a rate of bits a second as a configuration file has it, such as
// "100mbit".
func FormatRate(bits uint64) string {
	for _, u := range rateUnits {
		if float64(bits) >= u.bits || u.bits == 1e3 {
			return strconv.FormatFloat(float64(bits)/u.bits, 'f', -1, 64) + u.name
		}
	}
	panic("config: no unit")
}

// Bounds of overflow, as ratios of a rate.
const (
	leastOverflow = 0.20
	mostOverflow  = 1.00
)

// overflow reads a share of the first tier's rates, or never, which is 0.
func overflow(d *decoder, n node) (float64, bool) {
	const want = "a share from 20% to 100%, such as 85%, or never"
	s, ok := d.text(n, want)
	if !ok {
		return 0, false
	}
	if isNone(s) {
		return 0, true
	}
	number, percent := strings.CutSuffix(s, "%")
	number = strings.TrimSpace(number)
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	const slack = 1e-9 // of the division
	switch {
	case err != nil || math.IsNaN(v) || strings.Trim(number, "0123456789.") != "":
		d.wrong(n, show(s)+" is not a share", want)
	case !percent && v > 1:
		d.wrong(n, show(s)+" has no unit", want)
	case v < leastOverflow-slack:
		d.wrong(n, show(s)+" is below the minimum", "at least "+ratios.show(leastOverflow))
	case v > mostOverflow+slack:
		d.wrong(n, show(s)+" is above the maximum", "at most "+ratios.show(mostOverflow))
	default:
		return v, true
	}
	return 0, false
}

// checkOverflow checks that a policy that overflows has somewhere to, and that it can be
// known when.
func (d *decoder) checkOverflow(c *Config, policy int) {
	p := c.Policies[policy]
	if p.Overflow == 0 || d.unsure["uplinks"] {
		return
	}
	path := keyPath(indexPath("policies", policy), "overflow")
	tiers := p.Tiers
	if c.AutoUplinks {
		d.wrongAt(path, "needs the rates of the first tier's uplinks, but uplinks is auto", "uplinks as a list, each of the first tier with its rate")
		return
	}
	if tiers == nil && p.Name == DefaultPolicy && !d.given(keyPath(indexPath("policies", policy), "tiers")) {
		tiers = eachAlone(c.Uplinks)
	}
	switch len(tiers) {
	case 0: // reported already
		return
	case 1:
		d.wrongAt(path, "has no tier to overflow to: the policy has a single one", "a second tier, or overflow: never")
	}
	for _, share := range tiers[0] {
		i := slices.IndexFunc(c.Uplinks, func(u Uplink) bool { return u.Name == share.Uplink })
		if i < 0 {
			continue // reported already
		}
		rate := keyPath(indexPath("uplinks", i), "rate")
		if c.Uplinks[i].Rate == (failover.Rate{}) && !d.given(keyPath(rate, "down")) && !d.given(keyPath(rate, "up")) {
			d.wrongAt(path, fmt.Sprintf("needs the rate of %s, which is in the first tier", show(share.Uplink)),
				fmt.Sprintf("%s: {down: 100mbit, up: 20mbit}, or one of the two, or overflow: never", rate))
		}
	}
}

// rateText is a rate for a person, such as "100mbit down, 20mbit up".
func rateText(r failover.Rate) string {
	var list []string
	if r.Down > 0 {
		list = append(list, FormatRate(r.Down)+" down")
	}
	if r.Up > 0 {
		list = append(list, FormatRate(r.Up)+" up")
	}
	return strings.Join(list, ", ")
}

// overflowText says when new flows of a policy go to the next tier; empty for never.
func (c *Config) overflowText(p Policy, uplinks []Uplink) string {
	if p.Overflow == 0 || len(p.Tiers) < 2 {
		return ""
	}
	var rates []string
	for _, share := range p.Tiers[0] {
		if i := slices.IndexFunc(uplinks, func(u Uplink) bool { return u.Name == share.Uplink }); i >= 0 {
			rates = append(rates, fmt.Sprintf("%s (%s)", share.Uplink, rateText(uplinks[i].Rate)))
		}
	}
	var tiers [][]failover.Share
	var metered []string
	for _, tier := range p.Tiers[1:] {
		var takes []failover.Share
		for _, share := range tier {
			i := slices.IndexFunc(uplinks, func(u Uplink) bool { return u.Name == share.Uplink })
			if i >= 0 && uplinks[i].IsMetered() && !p.OverflowMetered {
				metered = append(metered, share.Uplink)
			} else {
				takes = append(takes, share)
			}
		}
		if len(takes) > 0 {
			tiers = append(tiers, takes)
		}
	}
	text := fmt.Sprintf("new flows go on to %s from %s of %s", cmp.Or(orderText(tiers), "nothing"), ratios.show(p.Overflow), and(rates))
	if len(metered) > 0 {
		text += "; not to " + and(metered) + ", metered (overflow_metered: true allows it)"
	}
	return text
}

// overflowWarnings warns about policies that overflow to metered uplinks alone, and may not.
func (c *Config) overflowWarnings(uplinks []Uplink) []string {
	var list []string
	for _, p := range c.Policies {
		if p.Overflow == 0 || p.OverflowMetered || len(p.Tiers) < 2 {
			continue
		}
		var free, metered []string
		for _, tier := range p.Tiers[1:] {
			for _, share := range tier {
				i := slices.IndexFunc(uplinks, func(u Uplink) bool { return u.Name == share.Uplink })
				switch {
				case i < 0:
				case uplinks[i].IsMetered():
					metered = append(metered, share.Uplink)
				default:
					free = append(free, share.Uplink)
				}
			}
		}
		if len(free) == 0 && len(metered) > 0 {
			verb := "are"
			if len(metered) == 1 {
				verb = "is"
			}
			list = append(list, fmt.Sprintf("policy %s overflows to nothing: %s %s metered; overflow_metered: true allows it", p.Name, and(metered), verb))
		}
	}
	return list
}
