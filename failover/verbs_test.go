package failover

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// testConfig is the default configuration for fiber and lte.
func testConfig() Config {
	c := Config{
		Uplinks:  []Uplink{testUplink("fiber"), testUplink("lte")},
		Policies: []Policy{{Name: "default", Tiers: tiersOf("fiber lte")}},
		Failback: Failback{After: 30 * time.Second, MinInterval: 10 * time.Second},
		Sessions: Sessions{MoveOnDown: true},
	}
	return c
}

func testUplink(name string) Uplink {
	u := Uplink{
		Name: name, Enabled: true,
		Probe: ProbeConfig{
			Interval: time.Second, StandbyInterval: 30 * time.Second, LostAfter: time.Second,
			Burst: Burst{Probes: 3, Spacing: 20 * time.Millisecond},
		},
		Health: Health{
			Patience: 500 * time.Millisecond, Window: time.Minute,
			Loss: Limit{Degraded: 0.2, Clear: 0.05}, Latency: Limit{Degraded: 0.5, Clear: 0.3}, Jitter: Limit{Never: true},
			Damping: Damping{HalfLife: 15 * time.Minute, Suppress: 3, Reuse: 1, Max: 12},
		},
	}
	u.Family[IPv4] = FamilyConfig{Enabled: true, Quorum: 1, Targets: []string{"1.1.1.1", "8.8.8.8", "9.9.9.9"}}
	u.Family[IPv6] = FamilyConfig{Enabled: true, Quorum: 1, Targets: []string{"2606:4700:4700::1111", "2001:4860:4860::8888", "2620:fe::fe"}}
	return u
}

// tiersOf reads "fiber*3+cable lte" as two tiers.
func tiersOf(text string) [][]Share {
	var tiers [][]Share
	for _, tier := range strings.Fields(text) {
		var shares []Share
		for _, s := range strings.Split(tier, "+") {
			name, weight, ok := strings.Cut(s, "*")
			n := 1
			if ok {
				n, _ = strconv.Atoi(weight)
			}
			shares = append(shares, Share{Uplink: name, Weight: n})
		}
		tiers = append(tiers, shares)
	}
	return tiers
}

// configure carries out a config line: "uplinks fiber cable lte",
// "policy guests lte", "block guests", "ipv4", "metered lte", "manual",
// "keep", "targets lte 1", "quorum 2", "window 10s", "failback 5s".
func configure(c *Config, words []string) error {
	args := words[1:]
	switch words[0] {
	case "uplinks":
		c.Uplinks = nil
		for _, name := range args {
			c.Uplinks = append(c.Uplinks, testUplink(name))
		}
		c.Policies[0].Tiers = tiersOf(strings.Join(args, " "))
	case "policy":
		p := Policy{Name: args[0], Tiers: tiersOf(strings.Join(args[1:], " "))}
		if args[0] == "default" {
			c.Policies[0] = p
			return nil
		}
		c.Policies = append(c.Policies, p)
	case "block":
		for i := range c.Policies {
			c.Policies[i].Block = c.Policies[i].Block || c.Policies[i].Name == args[0]
		}
	case "manual":
		c.Failback.Manual = true
	case "keep":
		c.Sessions.MoveOnDown = false
	case "move-degraded":
		c.Sessions.MoveOnDegraded = true
	case "failback":
		d, err := time.ParseDuration(args[0])
		c.Failback.After = d
		return err
	default:
		return configureUplinks(c, words[0], args)
	}
	return nil
}

func configureUplinks(c *Config, verb string, args []string) error {
	for i := range c.Uplinks {
		u := &c.Uplinks[i]
		switch verb {
		case "ipv4":
			u.Family[IPv6].Enabled = false
			u.Family[IPv6].Targets = nil
		case "metered":
			u.Metered = u.Metered || u.Name == args[0]
		case "disabled":
			u.Enabled = u.Enabled && u.Name != args[0]
		case "targets":
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			for f := range u.Family {
				u.Family[f].Targets = u.Family[f].Targets[:min(n, len(u.Family[f].Targets))]
				u.Family[f].Quorum = min(n, u.Family[f].Quorum)
			}
		case "quorum":
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			u.Family[IPv4].Quorum, u.Family[IPv6].Quorum = n, n
		case "window":
			d, err := time.ParseDuration(args[0])
			if err != nil {
				return err
			}
			u.Health.Window = d
		default:
			return fmt.Errorf("unknown setting %s", verb)
		}
	}
	return nil
}

// do carries out one line of a script.
func (p *player) do(words []string) error {
	verb, args := words[0], words[1:]
	n := p.net
	switch verb {
	case "end":
	case "link":
		return p.link(args)
	case "net":
		return p.wire(args)
	case "pause":
		d, err := time.ParseDuration(args[0])
		n.paused = n.now + d
		return err
	case "tick":
		n.step(Tick{})
	case "adopt":
		n.step(parseAdopt(args))
	case "switch", "drain", "resume":
		return p.operator(verb, args)
	case "neighbor-failed", "received", "leaves":
		return p.hint(verb, args)
	case "configure":
		if err := configure(&p.cfg, args); err != nil {
			return err
		}
		for _, u := range p.cfg.Uplinks {
			for _, f := range Families {
				if k := (wireKey{u.Name, f, ""}); n.wire[k] == nil {
					n.wire[k] = &wire{rtt: 20 * time.Millisecond}
				}
			}
		}
		n.step(Configure{Config: p.cfg})
	case "show":
		p.show(args)
	default:
		return fmt.Errorf("unknown verb %s", verb)
	}
	return nil
}

// hint carries out what comes from the kernel or from traffic.
func (p *player) hint(verb string, args []string) error {
	n, u, f := p.net, args[0], familyOf(args[1])
	switch verb {
	case "neighbor-failed":
		n.step(NeighborFailed{Uplink: u, Family: f})
	case "received":
		n.step(Traffic{Uplink: u, Family: f, Unanswered: -1, Received: n.now})
	case "leaves":
		d, err := time.ParseDuration(args[2])
		n.step(Traffic{Uplink: u, Family: f, Unanswered: n.now - d, Received: n.now - d})
		return err
	}
	return nil
}

func (p *player) operator(verb string, args []string) error {
	ev := Operator{Verb: map[string]OperatorVerb{"switch": Switch, "drain": Drain, "resume": Resume}[verb]}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		switch {
		case !ok:
			ev.Uplink = a
		case key == "policy":
			ev.Policy = value
		case key == "for":
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			ev.Until = p.net.now + d
		}
	}
	p.net.step(ev)
	return nil
}

// parseAdopt reads "carrying default ipv4 lte lost default ipv4 fiber".
func parseAdopt(args []string) Adopt {
	a := Adopt{Carrying: map[string][2][]string{}, Lost: map[string][2][]string{}}
	for ; len(args) >= 4; args = args[4:] {
		m := a.Carrying
		if args[0] == "lost" {
			m = a.Lost
		}
		both := m[args[1]]
		f := familyOf(args[2])
		both[f] = append(both[f], strings.Split(args[3], "+")...)
		m[args[1]] = both
	}
	return a
}

func familyOf(word string) Family {
	if word == "ipv6" {
		return IPv6
	}
	return IPv4
}

// link carries out "link fiber", and "link fiber no-carrier", "missing",
// "off", "no-ipv4", "no-ipv6", "no-gateway", "gateway=…".
func (p *player) link(args []string) error {
	index := 1
	for i, u := range p.cfg.Uplinks {
		if u.Name == args[0] {
			index = i + 1
		}
	}
	l := testLink(args[0], index)
	for _, a := range args[1:] {
		if gw, ok := strings.CutPrefix(a, "gateway="); ok {
			l.Family[IPv4].Gateway = netip.MustParseAddr(gw)
			continue
		}
		switch a {
		case "no-carrier":
			l.Carrier = false
		case "missing":
			l = Link{}
		case "off":
			l.AdminUp, l.Carrier = false, false
		case "no-ipv4":
			l.Family[IPv4] = FamilyLink{}
		case "no-ipv6":
			l.Family[IPv6] = FamilyLink{}
		case "no-gateway":
			l.Family[IPv4] = FamilyLink{Addresses: l.Family[IPv4].Addresses}
		default:
			return fmt.Errorf("unknown link state %s", a)
		}
	}
	p.net.step(LinkChanged{Uplink: args[0], Link: l})
	return nil
}

// wire carries out "net fiber rtt=20ms loss=0.6 dead", of one family where it
// is named, to one target where it is named: "net fiber ipv4 to=1.1.1.1 dead".
func (p *player) wire(args []string) error {
	families, target := Families[:], ""
	w := wire{rtt: 20 * time.Millisecond}
	for _, a := range args[1:] {
		key, value, _ := strings.Cut(a, "=")
		var err error
		switch key {
		case "ipv4", "ipv6":
			families = []Family{familyOf(a)}
		case "to":
			target = value
		case "rtt":
			w.rtt, err = time.ParseDuration(value)
		case "jitter":
			w.jitter, err = time.ParseDuration(value)
		case "loss":
			w.loss, err = strconv.ParseFloat(value, 64)
		case "dead":
			w.dead = true
		case "good":
		case "no-send":
			w.noSend = true
		case "stall":
			var d time.Duration
			d, err = time.ParseDuration(value)
			w.stalled = p.net.now + d
		default:
			err = fmt.Errorf("unknown wire state %s", key)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range families {
		c := w
		p.net.wire[wireKey{args[0], f, target}] = &c
	}
	return nil
}

// show prints what the view says of a path: "show fiber ipv4".
func (p *player) show(args []string) {
	for _, u := range p.net.eng.View().Uplinks {
		if u.Name != args[0] {
			continue
		}
		v := u.Family[familyOf(args[1])]
		fmt.Fprintf(&p.out, "%9.3fs  view    %s %s %s %q patience %s admin %s", p.net.now.Seconds(), u.Name, args[1], v.State, v.Reason, span(v.Patience), u.Admin)
		if v.Loss != nil {
			fmt.Fprintf(&p.out, " loss %s", percent(*v.Loss))
		}
		if v.RTT != nil {
			fmt.Fprintf(&p.out, " rtt %s", span(*v.RTT))
		}
		if u.HeldUntil != 0 {
			fmt.Fprintf(&p.out, " held until %.0fs", u.HeldUntil.Seconds())
		}
		if v.Unsent > 0 {
			fmt.Fprintf(&p.out, " unsent %d %s", v.Unsent, v.UnsentErrno)
		}
		for _, t := range v.Targets {
			if t.SetAside {
				fmt.Fprintf(&p.out, " aside %s", t.Target)
			}
		}
		fmt.Fprintln(&p.out)
	}
}
