package daemon

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"swerve/control"
)

var configs = flag.Int("configs", 4, "how many random configurations TestRandomConfigurations applies")

// choice returns one of the words.
func choice(rng *rand.Rand, words ...string) string { return words[rng.IntN(len(words))] }

// randomUplinks is a part of a configuration: what is done to traffic of each uplink.
func randomUplinks(rng *rand.Rand) string {
	var list []string
	for i, u := range []string{"name: fiber, interface: wan0", "name: lte, interface: wan1"} {
		keys := []string{u, "rate: {down: 40mbit, up: 20mbit}"}
		sometimes := func(in int, values ...string) {
			if rng.IntN(in) == 0 {
				keys = append(keys, choice(rng, values...))
			}
		}
		sometimes(2, "snat: masquerade", "snat: none", "snat_except: 192.168.7.0/24", "snat_except: [10.0.0.0/8, 192.0.2.77], snat: masquerade")
		sometimes(2, "snat6: masquerade", "snat6: none",
			fmt.Sprintf("snat6: npt, npt: {\"fd00:1::/64\": \"2001:db8:%d:50::/64\", \"fd00:2::/56\": \"2001:db8:%d:5100::/56\"}", i+1, i+1),
			"snat6: npt, npt: {\"fd00:1::/64\": auto/7}")
		sometimes(3, fmt.Sprintf("prefix6: \"2001:db8:%d:60::/60\"", i+1), "prefix6: [\"2001:db8:70::/48\", \"2001:db8:80::/48\"]")
		sometimes(3, fmt.Sprintf("dns: 9.9.9.1%d", i), fmt.Sprintf("dns: [9.9.9.1%d, \"2620:fe::1%d\"]", i, i))
		sometimes(3, "route: {mtu: 1400}, route6: {mtu: 1300}", "route: {mtu: 1480, advmss: 1300, initcwnd: 20, quickack: 1}",
			"route: {window: 30000, rto_min: 80ms}, route6: {hoplimit: 60, initrwnd: 30}", "route: {congctl: reno}")
		sometimes(4, []string{"gateway: 203.0.113.1", "gateway: 198.51.100.1"}[i], fmt.Sprintf("gateway6: \"2001:db8:%d::1\"", i+1))
		sometimes(6, "metered: true")
		sometimes(6, "ipv6: false")
		list = append(list, "- {"+strings.Join(keys, ", ")+"}")
	}
	return strings.Join(list, "\n  ")
}

// randomSettings are parts of a configuration that concern all uplinks.
func randomSettings(rng *rand.Rand) string {
	return fmt.Sprintf("sessions: {on_down: %s, on_degraded: %s}\nkernel: {main_default: %s, foreign_defaults: %s, first_priority: %s, first_table: %s%s}\n",
		choice(rng, "move", "keep"), choice(rng, "keep", "move"), choice(rng, "mirror", "leave"), choice(rng, "keep", "overrule"),
		choice(rng, "5300", "2000"), choice(rng, "5300", "700"), choice(rng, "", "", ", mark_mask: 0x3f800, ct_mask: 0x3fff8"))
}

// randomPolicies is a part of a configuration, by which traffic is divided.
func randomPolicies(rng *rand.Rand) string {
	pick := func(words ...string) string { return choice(rng, words...) }
	tier := func() string {
		return pick("[fiber]", "[lte]", "[fiber, lte]", "[lte, fiber]", "[{fiber: 3, lte: 1}]", "[{fiber: 1, lte: 255}]")
	}
	var b strings.Builder
	names := []string{"default"}
	overflow := func(tiers string) string {
		if !strings.Contains(tiers, "e, f") && !strings.Contains(tiers, "r, l") { // a single tier
			return ""
		}
		return pick("", ", overflow: 85%", ", overflow: 20%, overflow_metered: true")
	}
	first := pick("[fiber, lte]", "[{fiber: 3, lte: 1}]")
	fmt.Fprintf(&b, "policies:\n  - {name: default, tiers: %s, spread: %s%s}\n", first, pick("pairs", "clients", "flows"), overflow(first))
	for i := range rng.IntN(5) {
		names = append(names, fmt.Sprint("p", i))
		tiers := tier()
		fmt.Fprintf(&b, "  - {name: p%d, tiers: %s, last_resort: %s, spread: %s%s}\n", i, tiers, pick("default", "block"), pick("pairs", "clients", "flows"), overflow(tiers))
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
		rng := rand.New(rand.NewPCG(uint64(n), 11))
		more := randomPolicies(rng) + randomSettings(rng)
		uplinks := randomUplinks(rng)
		g.write(uplinks, more)
		g.sh(g.do("plan", nil))
		byPrograms := sameWords(g.picture())
		g.do("teardown", nil)
		if before == "" {
			before = g.picture()
		}
		p := g.start()
		p.await("each family to be up that its uplink carries", allTaken)
		if got := sameWords(g.picture()); got != byPrograms {
			t.Errorf("configuration %d\n%s\n%s\nonly the daemon makes\n%s\nand only the plan's script\n%s", n, uplinks, more, linesWithout(got, byPrograms), linesWithout(byPrograms, got))
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

// allTaken reports whether each family that an uplink carries is up, with no problem but
// that nothing is delegated here.
func allTaken(s *control.Status) bool {
	return len(s.Uplinks) == 2 && !slices.ContainsFunc(s.Uplinks, func(u control.Uplink) bool {
		return u.IPv4.State != control.Up || u.IPv6.State != control.Up && u.IPv6.State != control.Absent
	}) && !slices.ContainsFunc(s.Problems, func(p control.Problem) bool { return p.Severity != control.Info && p.Code != "npt" })
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
