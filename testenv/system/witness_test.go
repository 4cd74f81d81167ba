package system

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// out runs a command line in the gateway and returns its output.
func (g *gateway) out(line string) string {
	g.Helper()
	words := strings.Fields(line)
	out, err := g.Gateway.Run(words[0], words[1:]...)
	if err != nil {
		g.Fatalf("%v\n%s", err, out)
	}
	return out
}

// shell runs a script in the gateway.
func (g *gateway) shell(script string) string {
	g.Helper()
	out, err := g.Gateway.Run("sh", "-euc", script)
	if err != nil {
		g.Fatalf("%v\n%s", err, out)
	}
	return out
}

// What changes in the kernel's listings by itself.
var (
	expires  = regexp.MustCompile(` expires -?[0-9a-z]+`)
	counters = regexp.MustCompile(`packets \d+ bytes \d+`)
)

// still replaces in a listing what changes by itself.
func still(list string) string {
	return counters.ReplaceAllString(expires.ReplaceAllString(list, ""), "packets N bytes N")
}

// routing lists all rules and all routes of all tables.
func (g *gateway) routing() string {
	g.Helper()
	var b strings.Builder
	for _, line := range []string{
		"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all",
	} {
		fmt.Fprintf(&b, "# %s\n%s", line, still(g.out(line)))
	}
	return b.String()
}

// ours lists what the daemon put into the kernel: rules, its routes and its table.
func (g *gateway) ours() string {
	g.Helper()
	var b strings.Builder
	for _, line := range []string{
		"ip -4 rule", "ip -6 rule", "ip -4 route show table all proto 83", "ip -6 route show table all proto 83",
	} {
		fmt.Fprintf(&b, "# %s\n%s", line, g.out(line))
	}
	return b.String() + "# nft list table inet swerve\n" + inOrder(still(g.out("nft list table inet swerve")))
}

// inOrder sorts the chains, sets, maps and counters of a table: nft lists them in the
// order of their creation.
func inOrder(table string) string {
	blocks := strings.Split(strings.TrimSuffix(table, "}\n"), "\n\n")
	blocks[0] = strings.TrimPrefix(blocks[0], "table inet swerve {\n")
	for i := range blocks {
		blocks[i] = strings.Trim(blocks[i], "\n")
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "\n\n") + "\n"
}

// tryOurs is ours, or empty while there is no table.
func (g *gateway) tryOurs() string {
	if _, err := g.Gateway.Run("nft", "list", "table", "inet", "swerve"); err != nil {
		return ""
	}
	return g.ours()
}

// ladders lists the daemon's routes in all tables.
func (g *gateway) ladders() string {
	g.Helper()
	return g.out("ip -4 route show table all proto 83") + g.out("ip -6 route show table all proto 83")
}

var device = regexp.MustCompile(` dev (\S+)`)

// wayOf returns the device by which the kernel would send a new packet of a LAN client
// to the server.
func (g *gateway) wayOf(f failover.Family) string {
	g.Helper()
	line := fmt.Sprintf("ip -%d route get %s from %s iif lan0", []int{4, 6}[f], lab.Servers[f], lanClient[f])
	found := device.FindStringSubmatch(g.out(line))
	if found == nil {
		g.Fatalf("%s: no device", line)
	}
	return found[1]
}

var lanClient = [2]netip.Addr{netip.MustParseAddr("192.168.10.10"), netip.MustParseAddr("fd00:10::10")}

// kernelGoesBy checks that the kernel sends new packets by an uplink, in both families.
func (g *gateway) kernelGoesBy(uplink int) {
	g.Helper()
	for _, f := range failover.Families {
		if got, want := g.wayOf(f), g.Uplinks[uplink].Interface; got != want {
			g.Errorf("ip route get: %s goes by %s, want %s", f, got, want)
		}
	}
}

// differ checks that two listings are equal, byte for byte, and shows the difference.
func (g *gateway) differ(what, before, after string) {
	g.Helper()
	if before == after {
		return
	}
	g.Errorf("%s:\n%s", what, difference(before, after))
}

// becomes checks that what is ours in the kernel is as it was before, once the daemon
// has applied what moves nothing and may wait.
func (g *gateway) becomes(what, before string) {
	g.Helper()
	now := ""
	_ = wait.Until(g.Context(), what, func() bool { now = g.ours(); return now == before }) // the difference says more
	g.differ(what, before, now)
}

// difference lists the lines that only one of two listings has.
func difference(before, after string) string {
	var b strings.Builder
	count := map[string]int{}
	for _, line := range strings.Split(after, "\n") {
		count[line]++
	}
	for _, line := range strings.Split(before, "\n") {
		if count[line]--; count[line] < 0 {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	for _, line := range strings.Split(before, "\n") {
		delete(count, line)
	}
	for _, line := range strings.Split(after, "\n") {
		if count[line] > 0 {
			fmt.Fprintf(&b, "+ %s\n", line)
		}
	}
	if b.Len() == 0 {
		return "the same lines in another order"
	}
	return b.String()
}
