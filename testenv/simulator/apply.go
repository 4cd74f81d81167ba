package simulator

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"swerve/failover"
)

// PlainLink returns a link that has all it needs in both families.
func PlainLink(name string, index int) failover.Link {
	l := failover.Link{Interface: "if-" + name, Index: index + 1, Present: true, AdminUp: true, Carrier: true}
	for _, f := range failover.Families {
		l.Family[f] = plainAddress(f, index)
	}
	return l
}

func plainAddress(f failover.Family, index int) failover.FamilyLink {
	own, gateway := netip.AddrFrom4([4]byte{203, 0, 113, byte(4*index + 2)}), netip.AddrFrom4([4]byte{203, 0, 113, byte(4*index + 1)})
	bits := 30
	if f == failover.IPv6 {
		own = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: byte(index), 15: 2})
		gateway, bits = netip.AddrFrom16([16]byte{0xfe, 0x80, 15: 1}), 64
	}
	return failover.FamilyLink{Addresses: []netip.Prefix{netip.PrefixFrom(own, bits)}, Gateway: gateway, Source: "dhcp"}
}

// restart is an order to end the daemon and start another one after a time. kill is
// how many more changes of the kernel the daemon makes while it ends; negative for an
// orderly stop. Which of the changes that its goroutines make at one instant are among
// them is the only thing that may differ between two plays of a script.
type restart struct {
	after time.Duration
	kill  int
}

// apply changes the network as a script's line requests. It returns what is to be
// handed to the daemon, a [failover.Event], a restart or a reload; nil for nothing.
func (n *network) apply(text string) (order any, err error) {
	words := strings.Fields(text)
	args := words[1:]
	switch words[0] {
	case "pause":
		err = n.pause(args)
	case "target":
		err = n.setTarget(args)
	case "switch", "drain", "resume":
		order, err = n.operator(words[0], args)
	case "restart":
		order, err = parseRestart(args)
	case "configure":
		order, err = n.reload(args)
	case "all":
		for i := range n.lines {
			if err == nil {
				order, err = n.applyTo(i, args)
			}
		}
	default:
		if i := n.lineOf(words[0]); i < 0 {
			err = errors.New("no such uplink")
		} else {
			order, err = n.applyTo(i, args)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("simulator: %q: %w", text, err)
	}
	return order, nil
}

func (n *network) pause(words []string) error {
	if len(words) != 1 {
		return errors.New("want one duration")
	}
	d, err := time.ParseDuration(words[0])
	n.paused = max(n.paused, n.now+d)
	return err
}

// setTarget changes whether a target answers, or whether probes of it can be sent, on
// all uplinks or on one.
func (n *network) setTarget(words []string) error {
	one := -1
	if len(words) == 4 && words[2] == "by" {
		one, words = n.lineOf(words[3]), words[:2]
	}
	if len(words) != 2 {
		return errors.New("want a target and dead, alive or send=")
	}
	errno, sending := strings.CutPrefix(words[1], "send=")
	errno, err := sendError(errno)
	if sending && err != nil {
		return err
	}
	found := false
	for i, l := range n.lines {
		for _, f := range failover.Families {
			if (one < 0 || one == i) && n.hasTarget(i, f, words[0]) {
				found = true
				l.wires[f].setTarget(words[0], words[1] == "dead", sending, errno)
			}
		}
	}
	if !found {
		return errors.New("no such target")
	}
	return nil
}

// setTarget changes the outcome of probes to a target: sending changes whether they can
// be sent, else whether they are answered.
func (w *wire) setTarget(name string, dead, sending bool, errno string) {
	switch {
	case !sending && dead:
		w.silent[name] = true
	case !sending:
		delete(w.silent, name)
	case errno != "":
		w.unsentTo[name] = errno
	default:
		delete(w.unsentTo, name)
	}
}

// sendError is the error with which sending fails by the value of send=: "on" is none.
func sendError(value string) (string, error) {
	switch {
	case value == "on":
		return "", nil
	case value == "off":
		return "ENOBUFS", nil
	case sendErrors[value] == "":
		return "", fmt.Errorf("unknown error %q", value)
	}
	return value, nil
}

// operator parses a request of the operator's.
func (n *network) operator(verb string, args []string) (failover.Event, error) {
	verbs := map[string]failover.OperatorVerb{"switch": failover.Switch, "drain": failover.Drain, "resume": failover.Resume}
	ev := failover.Operator{Verb: verbs[verb]}
	for _, arg := range args {
		switch key, value, ok := strings.Cut(arg, "="); {
		case !ok && n.lineOf(arg) >= 0:
			ev.Uplink = arg
		case key == "policy":
			ev.Policy = value
		case key == "for":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, err
			}
			ev.Until = n.now + d
		default:
			return nil, fmt.Errorf("unknown word %q", arg)
		}
	}
	if ev.Uplink == "" && ev.Verb != failover.Resume {
		return nil, errors.New("want an uplink")
	}
	return ev, nil
}

func parseRestart(args []string) (restart, error) {
	r := restart{kill: -1}
	for _, arg := range args {
		var err error
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "for":
			r.after, err = time.ParseDuration(value)
		case "kill":
			r.kill, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown word %q", arg)
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// applyTo changes one line, or its part in one family.
func (n *network) applyTo(i int, words []string) (order any, err error) {
	families := failover.Families[:]
	if len(words) > 0 && (words[0] == "ipv4" || words[0] == "ipv6") {
		f := failover.IPv4
		if words[0] == "ipv6" {
			f = failover.IPv6
		}
		families, words = []failover.Family{f}, words[1:]
	}
	if len(words) == 0 {
		return nil, errors.New("nothing happens")
	}
	switch words[0] {
	case "stalls", "bursts":
		return nil, n.setEpisodes(i, families, words)
	case "unresolved":
		return failover.NeighborFailed{Uplink: n.lines[i].name, Family: families[0]}, nil
	}
	report, before := time.Duration(-1), n.lines[i].link
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if key == "report" {
			report, err = time.ParseDuration(value)
		} else {
			err = n.set(i, families, key, value)
		}
		if err != nil {
			return nil, err
		}
	}
	if report >= 0 || !before.Equal(n.lines[i].link) {
		n.reportLater(i, max(0, report))
	}
	return nil, nil
}

// set changes one quality of a line.
func (n *network) set(i int, families []failover.Family, key, value string) error {
	l := n.lines[i]
	switch key {
	case "carrier":
		l.link.Carrier = value != "off"
		return nil
	case "interface":
		l.link.Present = value != "off"
		return nil
	case "admin":
		l.link.AdminUp = value != "off"
		return nil
	case "gateway":
		return l.setGateway(families, i, value)
	case "address":
		return l.setAddress(families, i, value)
	case "promotion":
		d, err := time.ParseDuration(value)
		l.radio.promotion = d
		return err
	}
	for _, f := range families {
		w := &l.wires[f]
		if key == "flows" {
			if err := w.setFlows(value); err != nil {
				return err
			}
			n.plan(occurrence{at: n.now, kind: hints, line: i, family: f, turn: w.turn})
			continue
		}
		if err := w.set(key, value, n.now); err != nil {
			return err
		}
		w.changed = n.now
	}
	return nil
}

// setAddress changes the addresses: on are the plain ones and their gateway, off is
// neither. Of lapsed, checked and borrowed, the gateway stays: there is no address, one
// that is checked for duplicates, or another device's.
func (l *line) setAddress(families []failover.Family, i int, value string) error {
	for _, f := range families {
		link := plainAddress(f, i)
		own := link.Addresses
		switch value {
		case "on":
		case "off":
			link = failover.FamilyLink{}
		case "lapsed":
			link.Addresses = nil
		case "checked":
			link.Addresses, link.Pending = nil, true
		case "borrowed":
			lan := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, 1}), 24)
			if f == failover.IPv6 {
				lan = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 5: 0x0a, 15: 1}), 64)
			}
			link.Addresses, link.Elsewhere = nil, []netip.Prefix{lan}
		default:
			prefix, err := netip.ParsePrefix(value)
			if err != nil {
				return err
			}
			if prefix.Addr().Is4() != (f == failover.IPv4) {
				continue
			}
			own[0] = prefix
		}
		l.link.Family[f] = link
	}
	return nil
}

// setGateway changes the gateway to an address; on is the plain one, off is none, and
// withdrawn the present one without the route from which it was learnt.
func (l *line) setGateway(families []failover.Family, i int, value string) error {
	for _, f := range families {
		l.link.Family[f].Withdrawn = value == "withdrawn"
		switch value {
		case "withdrawn":
		case "on":
			l.link.Family[f].Gateway = plainAddress(f, i).Gateway
		case "off":
			l.link.Family[f].Gateway = netip.Addr{}
		default:
			addr, err := netip.ParseAddr(value)
			if err != nil {
				return err
			}
			if addr.Is4() == (f == failover.IPv4) {
				l.link.Family[f].Gateway = addr
			}
		}
	}
	return nil
}

func (w *wire) setFlows(value string) (err error) {
	w.turn++
	w.flows, w.received, w.unanswered = 0, -1, -1
	if value != "off" {
		w.flows, err = time.ParseDuration(value)
	}
	return err
}

func (w *wire) set(key, value string, now failover.Instant) (err error) {
	var d time.Duration
	switch key {
	case "hold":
		d, err = time.ParseDuration(value)
		w.heldUntil = now + d
	case "lost":
		d, err = time.ParseDuration(value)
		w.lostUntil = now + d
	case "queue":
		d, err = time.ParseDuration(value)
		w.load.set(d, now)
	case "dead":
		w.dead = true
	case "alive":
		w.dead = false
	case "send":
		w.unsent, err = sendError(value)
	case "policed":
		w.policed, err = time.ParseDuration(value)
	case "limited":
		w.limited, err = time.ParseDuration(value)
	case "beacon":
		w.beacon, err = time.ParseDuration(value)
	case "rtt":
		w.rtt, err = time.ParseDuration(value)
	case "jitter":
		w.jitter, err = time.ParseDuration(value)
	case "loss":
		w.loss, err = strconv.ParseFloat(value, 64)
	default:
		err = fmt.Errorf("unknown word %q", key)
	}
	return err
}

// setEpisodes changes the stalls or bursts of a line, or of one family of it.
func (n *network) setEpisodes(i int, families []failover.Family, words []string) error {
	l := n.lines[i]
	which := []*episodes{&l.stalls}
	if words[0] == "bursts" {
		which[0] = &l.bursts
	}
	if len(families) == 1 {
		which[0] = &l.wires[families[0]].stalls
		if words[0] == "bursts" {
			which[0] = &l.wires[families[0]].bursts
		}
	}
	e := which[0]
	next := episodes{random: e.random, loss: 1, drawn: words[0] == "bursts"}
	for _, word := range words[1:] {
		if err := next.set(word); err != nil {
			return err
		}
	}
	*e = next
	e.begin(n.now)
	return nil
}

func (e *episodes) set(word string) (err error) {
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "every":
		e.every, err = time.ParseDuration(value)
	case "for":
		e.length, err = time.ParseDuration(value)
	case "loss":
		e.loss, err = strconv.ParseFloat(value, 64)
	case "hold":
		e.hold, e.loss = true, 0
	default:
		err = fmt.Errorf("unknown word %q", word)
	}
	return err
}
