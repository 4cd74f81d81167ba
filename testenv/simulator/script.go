package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"swerve/failover"
)

// Script is a world and what happens to it. Its text is a configuration file, a
// line of four dashes, and then lines in any order:
//
//	seed 7
//	0s        fiber rtt=35ms jitter=5ms loss=0.01
//	0s        fiber policed=200ms     lets a probe pass each 200 ms, and five together; 0s for all
//	0s        fiber limited=1s        each target answers once a second, and two together; 0s for all
//	0s        fiber beacon=102ms      a radio that saves power receives every 102 ms; 0s for at once
//	0s        lte promotion=700ms     after 2 s of rest what is sent waits that long for a channel
//	1m        fiber queue=1s          own streams fill a queue of 1 s; queue=0s: they end, and it drains
//	0s        lte stalls every=200s for=200ms [hold]
//	0s        lte ipv4 bursts every=30s for=2s loss=0.5
//	1h2m      fiber dead              everything is lost beyond the gateway
//	1h3m      fiber ipv6 dead         in one family alone
//	1h4m      all dead                every uplink at once
//	1h5m      all alive
//	2h        fiber carrier=off report=300ms
//	2h1m      fiber carrier=on
//	2h2m      fiber admin=off         the interface is switched off; admin=on
//	3h        fiber ipv4 address=off  the lease is gone; address=on
//	3h30s     fiber address=lapsed    the gateway stays; also checked, borrowed, or a prefix
//	3h1m      fiber gateway=192.0.2.1 another gateway; off for none, on for the plain one
//	3h2m      fiber gateway=withdrawn the route from which it was learnt is gone
//	4h        fiber ipv4 send=off     the machine cannot send: ENOBUFS; send=EPERM, send=on
//	4h1m      fiber hold=300ms        answers are held back for so long; lost=300ms: they are lost
//	5h        target 1.1.1.1 dead     by every uplink, or "by fiber"; alive
//	5h1m      target 1.1.1.1 send=EPERM by fiber  probes of it alone cannot be sent; send=on
//	6h        pause 3s                this machine stops for so long
//	7h        fiber flows=100ms       flows use it, and give a hint that often; flows=off
//	7h1m      fiber ipv4 unresolved   the kernel cannot resolve the gateway
//	8h        switch lte policy=default for=1h
//	8h1m      drain lte for=1h        as the operator asks; both without an end as well
//	8h2m      resume lte              or all
//	9h        restart for=2s          the daemon ends, and another starts so much later
//	9h1m      restart for=2s kill=3   it is killed: of its changes three more are made
//	10h       configure {"failback":{"after":"5s"}}
//	336h      end
//
// stalls have a fixed length and lose all, or hold all back; bursts have an
// exponential length and lose a share (Gilbert and Elliott's channel). configure
// replaces the configuration by the script's file with the keys of a YAML mapping in
// place of its own; {} is the file itself. A comment begins with #.
type Script struct {
	Config string
	Seed   uint64
	Lines  []Line
	End    failover.Instant
}

// Line is one thing that happens.
type Line struct {
	At   failover.Instant
	Text string
}

const dashes = "----\n"

// ParseScript reads a script's text. The lines come out sorted by instant.
func ParseScript(text string) (Script, error) {
	head, body, ok := strings.Cut(text, dashes)
	if !ok {
		return Script{}, errors.New("simulator: script: no line of four dashes after the configuration")
	}
	s := Script{Config: head}
	for i, raw := range strings.Split(body, "\n") {
		raw, _, _ = strings.Cut(raw, "#")
		if words := strings.Fields(raw); len(words) > 0 {
			if err := s.add(words); err != nil {
				return Script{}, fmt.Errorf("simulator: script: line %d after the dashes: %w", i+1, err)
			}
		}
	}
	slices.SortStableFunc(s.Lines, func(a, b Line) int { return int(min(1, max(-1, a.At-b.At))) })
	return s, nil
}

func (s *Script) add(words []string) (err error) {
	if words[0] == "seed" && len(words) == 2 {
		s.Seed, err = strconv.ParseUint(words[1], 10, 64)
		return err
	}
	at, err := time.ParseDuration(words[0])
	switch {
	case err != nil:
		return err
	case at < 0:
		return fmt.Errorf("%v is before the start", at)
	case len(words) == 1:
		return errors.New("nothing happens")
	case words[1] == "end":
		s.End = at
		return nil
	}
	s.Lines = append(s.Lines, Line{At: at, Text: strings.Join(words[1:], " ")})
	return nil
}

// String writes the script; [ParseScript] reads it back.
func (s Script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%sseed %d\n", s.Config, dashes, s.Seed)
	for _, l := range s.Lines {
		fmt.Fprintf(&b, "%-16s %s\n", l.At, l.Text)
	}
	fmt.Fprintf(&b, "%-16s end\n", s.End)
	return b.String()
}

// until returns a script's part before an instant.
func (s Script) until(end failover.Instant) Script {
	n, _ := slices.BinarySearchFunc(s.Lines, end, func(l Line, at failover.Instant) int {
		return int(min(1, max(-1, l.At-at-1)))
	})
	s.Lines = slices.Clone(s.Lines[:n])
	s.End = end
	return s
}
