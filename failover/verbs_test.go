package failover_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	. "swerve/failover"
)

// tiersOf parses "fiber*3+cable lte" as two tiers.
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

// configure applies a config line: "uplinks fiber cable lte",
// "policy guests lte", "block guests", "ipv4", "metered lte", "manual",
// "keep", "targets lte 1", "quorum 2", "window 10s", "failback 5s",
// "on-failback 10m metered".
func configure(c *Config, words []string) error {
	args := words[1:]
	switch words[0] {
	case "uplinks":
		c.Uplinks = nil
		for _, name := range args {
			c.Uplinks = append(c.Uplinks, DefaultUplink(name))
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
	case "overflow":
		v, err := strconv.ParseFloat(args[1], 64)
		for i := range c.Policies {
			if c.Policies[i].Name == args[0] {
				c.Policies[i].Overflow = v / 100
				c.Policies[i].OverflowMetered = len(args) > 2
			}
		}
		return err
	case "move-degraded":
		c.Sessions.MoveOnDegraded = true
	case "on-failback":
		c.Sessions.OnFailback = OnFailback{MeteredOnly: len(args) > 1}
		if args[0] == "keep" {
			return nil
		}
		d, err := time.ParseDuration(args[0])
		c.Sessions.OnFailback.Move, c.Sessions.OnFailback.After = true, d
		return err
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
		case "rate":
			down, up, err := rates(args[1:])
			if u.Name == args[0] {
				u.Rate = Rate{Down: down, Up: up}
			}
			if err != nil {
				return err
			}
		case "disabled":
			u.Enabled = u.Enabled && u.Name != args[0]
		case "unusable":
			u.Health.Unusable = 0
		case "patience":
			d, err := time.ParseDuration(args[1])
			if err != nil {
				return err
			}
			if u.Name == args[0] {
				u.Health.Patience, u.Health.LearnPatience = d, false
			}
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

// do executes one line of a script.
func (p *player) do(words []string) error {
	verb, args := words[0], words[1:]
	switch verb {
	case "end":
	case "link":
		return p.link(args)
	case "net":
		return p.net(args)
	case "pause", "switch", "drain", "resume":
		return p.Do(strings.Join(words, " "))
	case "neighbor-failed":
		return p.Do(strings.Join(append(args, "unresolved"), " "))
	case "load":
		down, up, err := rates(args[1:])
		p.loads.set(p.Now(), args[0], down, up)
		return err
	case "tick":
		p.step(Tick{})
	case "adopt":
		p.step(parseAdopt(args))
	case "received":
		p.step(Traffic{Uplink: args[0], Family: familyOf(args[1]), Unanswered: -1, Received: p.Now()})
	case "heard":
		p.step(Traffic{Uplink: args[0], Family: familyOf(args[1]), Unanswered: -1, Received: -1, Heard: p.Now()})
	case "leaves":
		d, err := time.ParseDuration(args[2])
		p.step(Traffic{Uplink: args[0], Family: familyOf(args[1]), Unanswered: p.Now() - d, Received: p.Now() - d})
		return err
	case "configure":
		if err := configure(&p.cfg, args); err != nil {
			return err
		}
		p.step(Configure{Config: p.cfg})
	case "show":
		p.show(args)
	case "why":
		p.why(args[0], familyOf(args[1]))
	default:
		return fmt.Errorf("unknown verb %s", verb)
	}
	return nil
}

// rates parses "100" or "100 20" as megabits a second down and up.
func rates(args []string) (down, up uint64, err error) {
	v := [2]float64{}
	for i, a := range args {
		if v[i], err = strconv.ParseFloat(a, 64); err != nil {
			return 0, 0, err
		}
	}
	return uint64(v[0] * 1e6), uint64(v[1] * 1e6), nil
}

// loads are what the lines carry, and the counters of their interfaces.
type loads struct {
	// next reading of them; 0 for none.
	next Instant
	of   []*line
}

type line struct {
	uplink   string
	down, up uint64 // bits a second
	since    Instant
	rx, tx   float64
}

// count brings a line's counters to an instant.
func (l *line) count(now Instant) {
	s := (now - l.since).Seconds()
	l.rx, l.tx, l.since = l.rx+s*float64(l.down)/8, l.tx+s*float64(l.up)/8, now
}

func (ls *loads) set(now Instant, uplink string, down, up uint64) {
	i := slices.IndexFunc(ls.of, func(l *line) bool { return l.uplink == uplink })
	if i < 0 {
		i = len(ls.of)
		ls.of = append(ls.of, &line{uplink: uplink, since: now})
	}
	ls.of[i].count(now)
	ls.of[i].down, ls.of[i].up = down, up
	if ls.next == 0 {
		ls.next = now
	}
}

// read reads all counters now.
func (ls *loads) read(now Instant) (ev Load) {
	for _, l := range ls.of {
		l.count(now)
		ev.Counts = append(ev.Counts, Count{Uplink: l.uplink, Rx: uint64(l.rx), Tx: uint64(l.tx)})
	}
	ls.next = now + 250*time.Millisecond
	return ev
}

// parseAdopt parses "carrying default ipv4 lte lost default ipv4 fiber", and "held fiber
// ipv4 5/1m/20m" for five points of a minute ago that hold it for twenty, or "held fiber
// ipv4 owes".
func parseAdopt(args []string) Adopt {
	a := Adopt{Carrying: map[string][2][]string{}, Overflow: map[string][2][]string{}, Lost: map[string][2][]string{}, Departed: map[string][2][]Departed{}}
	for ; len(args) >= 4; args = args[4:] {
		m := a.Carrying
		if args[0] == "held" {
			a.Holds = parseHold(a.Holds, args[1], familyOf(args[2]), args[3])
			continue
		}
		if args[0] == "silent" {
			a.Silences = parseSilences(a.Silences, args[1], familyOf(args[2]), args[3])
			continue
		}
		if args[0] == "left" {
			both, f := a.Departed[args[1]], familyOf(args[2])
			name, age, _ := strings.Cut(args[3], "/")
			ago, _ := time.ParseDuration(age)
			both[f] = append(both[f], Departed{Uplink: name, Age: ago})
			a.Departed[args[1]] = both
			continue
		}
		if args[0] == "over" {
			m = a.Overflow
		}
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

// parseSilences parses "24x60ms" or "24x60ms/50ms/40ms": so many hours with these silences.
func parseSilences(all map[string][2][]Hour, uplink string, f Family, text string) map[string][2][]Hour {
	if all == nil {
		all = map[string][2][]Hour{}
	}
	hours, lengths, _ := strings.Cut(text, "x")
	var hour Hour
	for i, length := range strings.Split(lengths, "/") {
		hour[i], _ = time.ParseDuration(length)
	}
	n, _ := strconv.Atoi(hours)
	both := all[uplink]
	both[f] = append(slices.Repeat([]Hour{hour}, n), Hour{})
	all[uplink] = both
	return all
}

func parseHold(all map[string][2]Hold, uplink string, f Family, text string) map[string][2]Hold {
	if all == nil {
		all = map[string][2]Hold{}
	}
	both := all[uplink]
	both[f].Owes = true
	if parts := strings.Split(text, "/"); len(parts) == 3 {
		both[f].Points, _ = strconv.ParseFloat(parts[0], 64)
		both[f].Age, _ = time.ParseDuration(parts[1])
		both[f].Held, _ = time.ParseDuration(parts[2])
	}
	all[uplink] = both
	return all
}

func familyOf(word string) Family {
	if word == "ipv6" {
		return IPv6
	}
	return IPv4
}

// link executes "link fiber", and "link fiber no-carrier", "missing", "off",
// "no-ipv4", "no-ipv6", "no-gateway", "gateway=…", and of IPv4 "withdrawn",
// "no-address", "address=…", of IPv6 "checked" and "borrowed": what is not named has
// no fault.
func (p *player) link(args []string) error {
	lines := []string{"interface=on admin=on carrier=on address=on gateway=on"}
	for _, a := range args[1:] {
		line, ok := map[string]string{
			"no-carrier": "carrier=off", "missing": "interface=off", "off": "admin=off carrier=off",
			"no-ipv4": "ipv4 address=off", "no-ipv6": "ipv6 address=off", "no-gateway": "ipv4 gateway=off",
			"no-address": "ipv4 address=lapsed", "withdrawn": "ipv4 gateway=withdrawn",
			"checked": "ipv6 address=checked", "borrowed": "ipv6 address=borrowed",
		}[a]
		if strings.HasPrefix(a, "gateway=") || strings.HasPrefix(a, "address=") {
			line, ok = "ipv4 "+a, true
		}
		if !ok {
			return fmt.Errorf("unknown link state %s", a)
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		if err := p.Do(args[0] + " " + line); err != nil {
			return err
		}
	}
	link := p.Link(args[0])
	if !link.Present {
		link = Link{}
	}
	p.step(LinkChanged{Uplink: args[0], Link: link})
	return nil
}

// net executes "net fiber rtt=20ms loss=0.6 dead", for one family where it is
// named, to one target where it is named: "net fiber ipv4 to=1.1.1.1 dead". What is
// not named has no fault.
func (p *player) net(args []string) error {
	family, target := "", ""
	words := []string{"alive", "rtt=20ms", "jitter=0s", "loss=0", "send=on", "hold=0s"}
	for _, a := range args[1:] {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "ipv4", "ipv6":
			family = a
		case "to":
			target = value
		case "good":
		case "dead":
			words = append(words, "loss=1") // answers in flight still arrive
		case "no-send":
			words = append(words, "send=EPERM")
		case "stall":
			words = append(words, "hold="+value)
		default:
			words = append(words, a)
		}
	}
	if target != "" {
		for _, w := range [2]string{
			map[bool]string{true: "dead", false: "alive"}[slices.Contains(args, "dead")],
			map[bool]string{true: "send=EPERM", false: "send=on"}[slices.Contains(args, "no-send")],
		} {
			if err := p.Do(fmt.Sprintf("target %s %s by %s", target, w, args[0])); err != nil {
				return err
			}
		}
		return nil
	}
	return p.Do(args[0] + " " + family + " " + strings.Join(words, " "))
}

// why prints what each uplink is to a policy: "why guests ipv4".
func (p *player) why(policy string, f Family) {
	for _, v := range p.Engine.View().Policies {
		if v.Name == policy && v.Blocked[f] {
			fmt.Fprintf(&p.out, "%9.3fs  why     %s %s blocked\n", p.Now().Seconds(), policy, f)
		}
		if v.Name == policy && len(v.Waiting[f]) > 0 {
			fmt.Fprintf(&p.out, "%9.3fs  why     %s %s waiting: %s\n", p.Now().Seconds(), policy, f, strings.Join(v.Waiting[f], " "))
		}
	}
	for _, pl := range p.Engine.Explain(policy, f) {
		text := pl.Why
		if pl.Carries {
			text = fmt.Sprintf("carries, tier %d, weight %d, %s", pl.Tier, pl.Weight, pl.State)
		}
		if pl.Overflow != "" {
			text += "; " + pl.Overflow
		}
		fmt.Fprintf(&p.out, "%9.3fs  why     %s %s: %s %s\n", p.Now().Seconds(), policy, f, pl.Uplink, text)
	}
}

// show prints what the view says of a path: "show fiber ipv4".
func (p *player) show(args []string) {
	for _, u := range p.Engine.View().Uplinks {
		if u.Name != args[0] {
			continue
		}
		v := u.Family[familyOf(args[1])]
		fmt.Fprintf(&p.out, "%9.3fs  view    %s %s %s %q patience %s admin %s", p.Now().Seconds(), u.Name, args[1], v.State, v.Reason, Span(v.Patience), u.Admin)
		if v.Lapses > v.Patience {
			fmt.Fprintf(&p.out, " with gaps %s", Span(v.Lapses))
		}
		if v.Loss != nil {
			fmt.Fprintf(&p.out, " loss %s", Percent(*v.Loss))
		}
		if v.RTT != nil {
			fmt.Fprintf(&p.out, " rtt %s", Span(*v.RTT))
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
