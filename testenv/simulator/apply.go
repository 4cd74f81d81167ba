package simulator

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"swerve/failover"
)

// plainLink is a link that has all it needs in both families.
func plainLink(name string, index int) failover.Link {
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

// apply does to the network what a script's line says.
func (n *network) apply(text string) error {
	words := strings.Fields(text)
	var err error
	switch words[0] {
	case "pause":
		err = n.pause(words[1:])
	case "target":
		err = n.setTarget(words[1:])
	case "all":
		for i := range n.lines {
			if err == nil {
				err = n.applyTo(i, words[1:])
			}
		}
	default:
		i := n.lineOf(words[0])
		if i < 0 {
			return fmt.Errorf("simulator: %q: no such uplink", text)
		}
		err = n.applyTo(i, words[1:])
	}
	if err != nil {
		return fmt.Errorf("simulator: %q: %w", text, err)
	}
	return nil
}

func (n *network) pause(words []string) error {
	if len(words) != 1 {
		return fmt.Errorf("want one duration")
	}
	d, err := time.ParseDuration(words[0])
	n.paused = max(n.paused, n.now+d)
	return err
}

func (n *network) setTarget(words []string) error {
	if len(words) != 2 {
		return fmt.Errorf("want a target and dead or alive")
	}
	found := false
	for i, l := range n.lines {
		for _, f := range failover.Families {
			if t := n.targetOf(i, f, words[0]); t >= 0 {
				found = true
				l.wires[f].deaf &^= 1 << t
				if words[1] == "dead" {
					l.wires[f].deaf |= 1 << t
				}
			}
		}
	}
	if !found {
		return fmt.Errorf("no such target")
	}
	return nil
}

// applyTo changes one line, or its part in one family.
func (n *network) applyTo(i int, words []string) error {
	families := failover.Families[:]
	if len(words) > 0 && (words[0] == "ipv4" || words[0] == "ipv6") {
		f := failover.IPv4
		if words[0] == "ipv6" {
			f = failover.IPv6
		}
		families, words = []failover.Family{f}, words[1:]
	}
	if len(words) == 0 {
		return fmt.Errorf("nothing happens")
	}
	if words[0] == "stalls" || words[0] == "bursts" {
		return n.setEpisodes(i, families, words)
	}
	report := time.Duration(0)
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if key == "report" {
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			report = d
			continue
		}
		if err := n.set(i, families, key, value); err != nil {
			return err
		}
	}
	n.tell(i, report)
	return nil
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
	case "address":
		for _, f := range families {
			l.link.Family[f] = failover.FamilyLink{}
			if value != "off" {
				l.link.Family[f] = plainAddress(f, i)
			}
		}
		return nil
	}
	for _, f := range families {
		if err := l.wires[f].set(key, value); err != nil {
			return err
		}
		l.wires[f].changed = n.now
	}
	return nil
}

func (w *wire) set(key, value string) (err error) {
	switch key {
	case "dead":
		w.dead = true
	case "alive":
		w.dead = false
	case "send":
		w.noSend = value == "off"
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
	next := episodes{lots: e.lots, loss: 1, drawn: words[0] == "bursts"}
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
