package daemon

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var configs = flag.Int("configs", 4, "how many random configurations TestRandomConfigurations applies")

// randomPolicies is a part of a configuration, by which traffic is divided.
func randomPolicies(rng *rand.Rand) string {
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	tier := func() string {
		return pick("[fiber]", "[lte]", "[fiber, lte]", "[lte, fiber]", "[{fiber: 3, lte: 1}]", "[{fiber: 1, lte: 255}]")
	}
	var b strings.Builder
	names := []string{"default"}
	fmt.Fprintf(&b, "policies:\n  - {name: default, tiers: %s, spread: %s}\n", pick("[fiber, lte]", "[{fiber: 3, lte: 1}]"), pick("pairs", "clients", "flows"))
	for i := range rng.IntN(5) {
		names = append(names, fmt.Sprint("p", i))
		fmt.Fprintf(&b, "  - {name: p%d, tiers: %s, last_resort: %s, spread: %s}\n", i, tier(), pick("default", "block"), pick("pairs", "clients", "flows"))
	}
	var sets []string
	b.WriteString("sets:\n")
	for i := range rng.IntN(3) {
		sets = append(sets, fmt.Sprint("set", i))
		fmt.Fprintf(&b, "  set%d: {timeout: %s, size: %d, comment: %q}\n", i, pick("0s", "90s", "1h"), 1+rng.IntN(1000), pick("", "a b"))
	}
	if len(sets) == 0 {
		b.WriteString("  {}\n")
	}
	b.WriteString("rules:\n  - {from: 192.0.2.1, use: default}\n")
	for i := range rng.IntN(60) {
		var keys []string
		add := func(format string, args ...any) { keys = append(keys, fmt.Sprintf(format, args...)) }
		// A host of its own, so that no rule covers another.
		host := pick(fmt.Sprintf("10.9.%d.%d", i, rng.IntN(256)), fmt.Sprintf("[10.8.%d.0/24, 10.7.%d.7]", i, i), fmt.Sprintf("[\"2001:db8:%x::/64\", 10.6.%d.1]", i, i))
		switch kind := rng.IntN(4); {
		case kind == 0 && len(sets) > 0:
			add("from: %s, to: {set: %s}", host, pick(sets...))
		case kind == 1:
			add("from: %s", host)
		default:
			add("to: %s", host)
		}
		if rng.IntN(3) == 0 {
			add("in: %s", pick("lan0", "[lan0, lan9]"))
		}
		if rng.IntN(3) == 0 {
			add("proto: %s", pick("tcp", "udp", "47"))
		}
		if last := keys[len(keys)-1]; last == "proto: tcp" || last == "proto: udp" {
			add("ports: %s", pick("443", "8000-8100", "[22, 80-90, 65535]"))
		}
		if rng.IntN(4) == 0 {
			add("dscp: %s", pick("ef", "0", "af11"))
		}
		if rng.IntN(4) == 0 {
			add("mark: %s", pick("0x1/0xff", "0x100"))
		}
		fmt.Fprintf(&b, "  - {%s, use: %s}\n", strings.Join(keys, ", "), pick(names...))
	}
	return b.String()
}

// sameWords makes the two ways in which nft(8) lists a map one: it knows the type of one
// by a hash or a lookup only where it has made the map itself, and else takes the numbers
// for marks.
func sameWords(listed string) string {
	listed = strings.NewReplacer("typeof numgen inc mod 65536", "type mark", "typeof fib daddr . mark oifname", "type ifname").Replace(listed)
	return markRange.ReplaceAllStringFunc(listed, func(text string) string {
		m := markRange.FindStringSubmatch(text)
		first, _ := strconv.ParseUint(m[1], 16, 32)
		last := first
		if m[2] != "" {
			last, _ = strconv.ParseUint(m[2], 16, 32)
		}
		if bits, err := strconv.Atoi(m[3]); err == nil {
			last = first | (1<<(32-bits) - 1)
		}
		if first == last {
			return fmt.Sprint(first, m[4])
		}
		return fmt.Sprint(first, "-", last, m[4])
	})
}

var markRange = regexp.MustCompile(`0x([0-9a-f]{8})(?:-0x([0-9a-f]{8})|/([0-9]+))?( : goto lane_)`)

// Whatever a configuration says of policies, rules and sets: what the daemon makes is
// what its plan says and what ip(8) and nft(8) make of that, there is nothing to do
// afterwards, and a teardown leaves nothing.
func TestRandomConfigurations(t *testing.T) {
	g := newGateway(t)
	before := "" // with the sysctls of the first plan, which no teardown knows
	for n := range *configs {
		more := randomPolicies(rand.New(rand.NewPCG(uint64(n), 11)))
		g.configure(more)
		g.sh(g.do("plan", nil))
		byPrograms := sameWords(g.picture())
		g.do("teardown", nil)
		if before == "" {
			before = g.picture()
		}
		p := g.run()
		if got := sameWords(g.picture()); got != byPrograms {
			t.Errorf("configuration %d\n%s\nonly the daemon makes\n%s\nand only the plan's script\n%s", n, more, linesWithout(got, byPrograms), linesWithout(byPrograms, got))
		}
		if got := g.do("plan", nil); got != "" {
			t.Errorf("configuration %d: there is still to do:\n%s", n, got)
		}
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("the end: %v", err)
		}
		g.do("teardown", nil)
		if got := g.picture(); got != before {
			t.Fatalf("configuration %d: a teardown left\n%s\nwant\n%s", n, got, before)
		}
	}
}

// linesWithout returns the lines that another text does not have.
func linesWithout(text, other string) string {
	known := map[string]bool{}
	for line := range strings.Lines(other) {
		known[line] = true
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !known[line] {
			b.WriteString(line)
		}
	}
	return b.String()
}
