package system

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
)

var explainCases = flag.Int("explained", 40, "of TestExplainAgrees: how many random packets")

// explainedRules make every kind of decision, by ports, so that each packet has its own.
const explainedRules = quickRecovery + `
policies:
  - {name: default, tiers: [fiber, lte]}
  - {name: guests, tiers: [lte, fiber]}
  - {name: shared, tiers: [{fiber: 2, lte: 1}], spread: pairs}
  - {name: strict, tiers: [lte], last_resort: block}
rules:
  - {proto: udp, ports: [20000-20999], use: guests}
  - {dscp: ef, use: guests}
  - {from: [192.168.10.64/26, "fd00:10::40/122"], proto: udp, ports: [21000-22999], use: shared}
  - {in: lan0, proto: udp, ports: 23000-23999, use: strict}
  - {to: [198.18.0.10, "2001:db8:ffff::10"], proto: udp, ports: [24000-24999], use: shared}
  - {from: 192.168.10.10, use: guests}
  - {proto: udp, ports: [25000-25499], use: default}
  - {from: "fd00:10::/64", proto: udp, ports: [25500-26999], use: guests}
`

// explained is a random packet, what was said of it, and what became of it.
type explainedCase struct {
	local bool
	from  netip.Addr
	to    netip.AddrPort
	dscp  uint8
	said  *control.Explanation
}

// What explain says of random packets agrees with what the kernel does with them: with the
// device that they leave by and their source there, with the policy's lane in nft's trace,
// and with the route that ip tells for the mark that the trace has; at rest, with an
// uplink drained, and with one down.
func TestExplainAgrees(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, explainedRules)
		for n := range 48 {
			for f, host := range []string{fmt.Sprintf("192.168.10.%d/24", 50+n), fmt.Sprintf("fd00:10::%x/64", 0x30+n)} {
				flags := []string{"-4", "-6"}[f]
				if out, err := g.Client.Run("ip", flags, "addr", "add", host, "dev", "eth0", "nodad"); err != nil && !strings.Contains(out, "exists") {
					out, err = g.Client.Run("ip", flags, "addr", "add", host, "dev", g.clientLink(), "nodad")
					if err != nil {
						t.Fatal(out, err)
					}
				}
			}
		}
		rng := rand.New(rand.NewPCG(7, uint64(*explainCases)))
		next := uint16(0)
		for _, phase := range []struct {
			name   string
			change func()
		}{
			{"at rest", func() {}},
			{"with fiber drained", func() { g.exits(0, "drain", "fiber") }},
			{"with lte down", func() {
				g.exits(0, "resume")
				g.Break(lte, "black-hole")
				g.Await("lte to be down", func(s *control.Status) bool {
					return s.Uplinks[lte].IPv4.State == control.Down && s.Uplinks[lte].IPv6.State == control.Down
				})
			}},
		} {
			phase.change()
			g.agrees(phase.name, rng, &next)
		}
	})
}

// clientLink is the client's device on the LAN.
func (g *gateway) clientLink() string {
	g.Helper()
	out, err := g.Client.Run("ip", "-o", "-4", "route", "show", "192.168.10.0/24")
	if err != nil {
		g.Fatal(err)
	}
	return strings.Fields(out[strings.Index(out, " dev ")+5:])[0]
}

func (g *gateway) agrees(phase string, rng *rand.Rand, next *uint16) {
	g.Helper()
	trace := g.startTrace()
	c, err := startCapture(g.Gateway, "wan0", "wan1")
	if err != nil {
		g.Fatal(err)
	}
	defer c.close()
	cases := map[uint16]*explainedCase{}
	for range *explainCases {
		// Ports differ, and fall into every range.
		*next = (*next + 1741) % (lastFlowPort - firstFlowPort)
		e := g.explainRandom(rng, firstFlowPort+*next)
		cases[e.to.Port()] = e
	}
	for port, e := range cases {
		if err := g.send(e); err != nil && e.said.Uplink != nil {
			g.Errorf("%s: port %d from %s: %v", phase, port, e.from, err)
		}
	}
	g.Until("all to be traced", func() bool { return trace.has(cases) })
	trace.stop()
	left := map[uint16]departure{}
	for _, d := range c.from(0) {
		if _, double := left[d.port]; !double && d.port != 0 {
			left[d.port] = d
		}
	}
	wrong, ruled, marked, by := 0, 0, 0, map[string]int{}
	for port, e := range cases {
		if problem := g.disagreement(e, left[port], trace.flows[port]); problem != "" && wrong < 5 {
			wrong++
			g.Errorf("%s: %s to %s (local %t): %s\n%+v", phase, e.from, e.to, e.local, problem, *e.said)
		}
		if e.said.Rule != nil {
			ruled++
		}
		if trace.flows[port].mark != "" {
			marked++
		}
		if e.said.Uplink == nil {
			by["none"]++
		} else {
			by[*e.said.Uplink]++
		}
	}
	g.Logf("%s: %d of %d packets agree with the trace, ip route get and the wire; %d by a rule, %d with a mark; by %v", phase, len(cases)-wrong, len(cases), ruled, marked, by)
}

// explainRandom asks about a random packet to a port.
func (g *gateway) explainRandom(rng *rand.Rand, port uint16) *explainedCase {
	g.Helper()
	f := failover.Families[rng.IntN(2)]
	e := &explainedCase{local: rng.IntN(5) == 0, to: netip.AddrPortFrom(lab.Servers[f], port)}
	if rng.IntN(3) == 0 {
		e.to = netip.AddrPortFrom(lab.Targets[3*int(f)+rng.IntN(3)], port)
	}
	if rng.IntN(3) == 0 {
		e.dscp = [...]uint8{46, 46, 10}[rng.IntN(3)]
	}
	q := control.Question{Dst: e.to.Addr(), Proto: 17, Port: port, DSCP: e.dscp}
	if !e.local {
		e.from = [2]netip.Addr{
			netip.AddrFrom4([4]byte{192, 168, 10, byte(50 + rng.IntN(48))}), netip.MustParseAddr(fmt.Sprintf("fd00:10::%x", 0x30+rng.IntN(48))),
		}[f]
		if rng.IntN(6) == 0 {
			e.from, _, _ = lab.ClientAddresses(0)
			if f == failover.IPv6 {
				_, e.from, _ = lab.ClientAddresses(0)
			}
		}
		q.Src = e.from
	}
	said, err := g.daemon.API().Explain(g.Context(), q)
	if err != nil {
		g.Fatalf("%+v: %v", q, err)
	}
	e.said = said
	return e
}

// send sends the packet of a case.
func (g *gateway) send(e *explainedCase) error {
	from := g.Client
	if e.local {
		from = g.Gateway
	}
	conn, err := from.DialUDPFrom(netns.Origin{Addr: e.from}, e.to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := mark(conn, e); err != nil {
		return err
	}
	_, err = conn.Write([]byte("x"))
	return err
}

// mark gives the packets of a socket the DSCP code point of a case.
func mark(conn *net.UDPConn, e *explainedCase) error {
	if e.to.Addr().Is4() {
		return ipv4.NewConn(conn).SetTOS(int(e.dscp) << 2)
	}
	return ipv6.NewConn(conn).SetTrafficClass(int(e.dscp) << 2)
}

// disagreement says where what was said of a packet is not what became of it; empty for
// nowhere.
func (g *gateway) disagreement(e *explainedCase, d departure, f *tracedFlow) string {
	s := e.said
	switch {
	case s.Uplink == nil && d.port != 0:
		return "it left by " + d.String()
	case s.Uplink == nil:
		return ""
	case d.port == 0:
		return "it left by no uplink"
	case *s.Uplink != uplinkNames[d.uplink]:
		return "it left by " + d.String()
	case s.Source == nil || *s.Source != d.source:
		return "it left as " + d.source.String()
	case f == nil:
		return "it was not traced"
	}
	// The trace has the chain of the lane that the packet got: a policy's, or the picked
	// uplink's; none for the default policy without a rule.
	if (s.Rule != nil) != f.byRule {
		return fmt.Sprintf("a rule matched: %t, in the trace", f.byRule)
	}
	args := []string{"route", "get", e.to.Addr().String()}
	if f.mark != "" {
		args = append(args, "mark", f.mark)
	}
	if !e.local {
		args = append(args, "from", e.from.String(), "iif", "lan0")
	}
	out, err := g.Gateway.Run("ip", args...)
	if err != nil || !strings.Contains(out, " dev "+s.Interface+" ") {
		return fmt.Sprintf("ip %s: %s %v", strings.Join(args, " "), out, err)
	}
	return ""
}

// tracedFlow is what nft's trace has of a packet.
type tracedFlow struct {
	// byRule: a rule of the user's matched. mark is the packet's once our chain is over.
	byRule bool
	mark   string
}

// trace reads nft's trace of the packets to the ports of flows.
type trace struct {
	cmd   *exec.Cmd
	done  sync.WaitGroup
	mu    sync.Mutex
	flows map[uint16]*tracedFlow
}

// startTrace traces what comes in and what the gateway sends itself.
func (g *gateway) startTrace() *trace {
	g.Helper()
	const rules = `nft add table inet tracer
nft flush table inet tracer
nft 'add chain inet tracer pre { type filter hook prerouting priority -350; }'
nft 'add chain inet tracer out { type filter hook output priority -350; }'
nft 'add rule inet tracer pre iifname lan0 udp dport %[1]d-%[2]d meta nftrace set 1'
nft 'add rule inet tracer out udp dport %[1]d-%[2]d meta nftrace set 1'`
	if out, err := g.Gateway.Run("sh", "-ec", fmt.Sprintf(rules, firstFlowPort, lastFlowPort)); err != nil {
		g.Fatal(out, err)
	}
	t := &trace{cmd: g.Gateway.Command("nft", "-n", "monitor", "trace"), flows: map[uint16]*tracedFlow{}}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		g.Fatal(err)
	}
	if err := g.Gateway.Start(t.cmd); err != nil {
		g.Fatal(err)
	}
	t.done.Go(func() { t.read(out) })
	g.Until("nft to trace", func() bool {
		probe := &explainedCase{local: true, to: netip.AddrPortFrom(lab.Servers[failover.IPv4], lastFlowPort)}
		_ = g.send(probe)
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.flows[lastFlowPort] != nil
	})
	return t
}

func (t *trace) stop() {
	_ = t.cmd.Process.Kill()
	t.done.Wait()
	_ = t.cmd.Wait()
}

var (
	traceLine = regexp.MustCompile(`^trace id ([0-9a-f]+) inet swerve (\S+) (packet|rule|verdict|policy|return)`)
	traceMark = regexp.MustCompile(`meta mark (0x[0-9a-f]+)`)
	traceSeen = regexp.MustCompile(`^trace id ([0-9a-f]+) inet tracer (pre|out) packet: .*udp dport (\d+)`)
)

// read follows the trace. Each packet has an id, and its port in the lines of packets.
func (t *trace) read(out io.Reader) {
	ports := map[string]uint16{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if m := traceSeen.FindStringSubmatch(line); m != nil {
			var port uint16
			_, _ = fmt.Sscan(m[3], &port)
			ports[m[1]] = port
		}
		m := traceLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		port, known := ports[m[1]]
		if !known {
			continue
		}
		t.mu.Lock()
		f := t.flows[port]
		if f == nil {
			f = new(tracedFlow)
			t.flows[port] = f
		}
		chain, kind := m[2], m[3]
		before := chain == "prerouting" || chain == "output" || strings.HasPrefix(chain, "lane_") || strings.HasPrefix(chain, "by_") ||
			strings.HasPrefix(chain, "pick")
		if before && kind == "rule" && strings.HasPrefix(chain, "by_") {
			f.byRule = true
		}
		if mark := traceMark.FindStringSubmatch(line); before && mark != nil && kind != "rule" {
			f.mark = mark[1]
		}
		t.mu.Unlock()
	}
}

// has reports whether all cases were traced.
func (t *trace) has(cases map[uint16]*explainedCase) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for port := range cases {
		if t.flows[port] == nil {
			return false
		}
	}
	return true
}

// What comes before the rules is told too: networks that main has a route to, a VPN's
// default that stays in force, what comes in by an uplink, this machine's own addresses;
// and what makes no sense is refused.
func TestExplainBeforeTheRules(t *testing.T) {
	scenario(t, func(t *trial) {
		g := startGateway(t, usual, explainedRules+"  - {to: {set: video}, use: guests}\nsets: {video: {}}\n")
		if out, err := g.Gateway.Run("sh", "-ec", `ip link add vpn0 type vxlan id 7 remote 203.0.113.1 dstport 4789; ip link set vpn0 up
ip addr add 10.9.0.2/24 dev vpn0; ip route add 10.8.0.0/16 via 10.9.0.1 dev vpn0`); err != nil {
			t.Fatal(out, err)
		}
		g.explainsWays()
		g.refusesToExplain()
		// What a script puts into a set is known at once.
		if out, err := g.Gateway.Run("nft", "add element inet swerve set_video4 { 198.18.0.0/24 }"); err != nil {
			t.Fatal(out, err)
		}
		for port, want := range map[string]string{"80": "lte (wan1)", "20001": "lte (wan1)"} {
			if out := g.byHand("explain", "192.168.10.11", "198.18.0.10", "udp", port); !strings.Contains(out, want) {
				t.Errorf("with a set that has it:\n%s", out)
			}
		}
		if out := g.byHand("explain", "192.168.10.11", "198.18.1.10", "udp", "80"); !strings.Contains(out, "fiber (wan0)") {
			t.Errorf("with a set that lacks it:\n%s", out)
		}
		if out, err := g.Gateway.Run("nft", "flush set inet swerve set_video4"); err != nil {
			t.Fatal(out, err)
		}
		// A VPN's default that is better than those of all uplinks stays in force.
		if out, err := g.Gateway.Run("ip", "route", "add", "default", "via", "10.9.0.1", "dev", "vpn0", "metric", "1"); err != nil {
			t.Fatal(out, err)
		}
		g.Await("the VPN's default to be known", func(s *control.Status) bool { return s.Policies[0].ForeignDefault.IPv4 != nil })
		out, _, _ := g.swerve("explain", "192.168.10.11", "198.18.0.10", "udp", "80")
		if flat := strings.Join(strings.Fields(out), " "); !strings.Contains(flat, "the default route of another program by vpn0 (metric 1) is better than those of all uplinks, and stays in force (kernel.foreign_defaults: keep)") {
			t.Errorf("with a VPN's default:\n%s", out)
		}
		if out, _, _ := g.swerve("explain", "192.168.10.11", "198.18.0.10", "udp", "20001"); !strings.Contains(out, "lte (wan1)") {
			t.Errorf("a rule beside a VPN's default:\n%s", out)
		}
	})
}

// explainsWays asks about packets that go different ways.
func (g *gateway) explainsWays() {
	g.Helper()
	client := "192.168.10.10"
	for _, c := range []struct {
		args, why string
		uplink    string
		want      []string
	}{
		{"192.168.10.10 198.18.0.10 udp 20001", "rule 1 (line ", "lte", []string{"sends it by policy guests, whose new flows lte carries (tier 1)"}},
		{"192.168.10.11 198.18.0.10 udp 80", "no rule matches it, so it goes by policy default, whose new flows fiber carries (tier 1)", "fiber", nil},
		{"192.168.10.11 198.18.0.10", "no rule matches it", "fiber", nil},
		{client + " 198.18.0.10 tcp 443", "rule 6 (line ", "lte", nil},
		{"192.168.10.11 198.18.0.10 udp 80 --dscp ef --mark 0x1", "rule 2 (line ", "lte", []string{"port 80, DSCP 46, mark 0x1, in by"}},
		{client + " 10.8.1.1 tcp 22", "the route to 10.8.0.0/16 in table main leads to it by vpn0; such routes come before the policies", "", []string{"fiber is not asked, since no policy decides here"}},
		{client + " 192.168.10.1 tcp 22", "it is for this machine itself", "", nil},
		{"198.18.0.10 192.168.10.10 tcp 22 --in fiber", "the route to 192.168.10.0/24 in table main leads to it by lan0", "", []string{"it came in by uplink fiber: its answers leave by fiber"}},
		{"192.168.10.1 198.18.0.10 udp 20001", "rule 1 (line ", "lte", []string{"this machine's own"}},
	} {
		out, errs, code := g.swerve(append([]string{"explain"}, strings.Fields(c.args)...)...)
		e, _, _ := g.swerve(append([]string{"explain", "--json"}, strings.Fields(c.args)...)...)
		var said control.Explanation
		if err := json.Unmarshal([]byte(e), &said); err != nil || code != 0 || errs != "" {
			g.Errorf("%s: code %d, %s, %v", c.args, code, errs, err)
			continue
		}
		uplink := ""
		if said.Uplink != nil {
			uplink = *said.Uplink
		}
		if !strings.HasPrefix(said.Why, c.why) || uplink != c.uplink {
			g.Errorf("%s: by %q, %s", c.args, uplink, said.Why)
		}
		flat := strings.Join(strings.Fields(out), " ")
		for _, w := range c.want {
			if !strings.Contains(flat, w) {
				g.Errorf("%s: not %q in\n%s", c.args, w, out)
			}
		}
		g.Logf("$ swerve explain %s\n%s", c.args, out)
	}
}

// refusesToExplain asks what makes no sense.
func (g *gateway) refusesToExplain() {
	g.Helper()
	for args, want := range map[string]string{
		"198.18.99.99 192.168.10.10 tcp 22":         "it is not known by which interface it comes in; name it with --in",
		"192.168.10.11 198.18.0.10 udp 1 --in lan7": "there is no interface lan7; name one of this machine's, or an uplink: fiber, lte",
		"192.168.10.11 2001:db8::1":                 "different families",
		"192.168.10.11 198.18.0.10 bogus":           "no IP protocol",
		"192.168.10.11 198.18.0.10 icmp 1":          "a port needs a protocol that has ports",
		"192.168.10.11":                             "want SRC DST",
		"host 198.18.0.10":                          "no IPv4 or IPv6 address",
		"192.168.10.11 198.18.0.10 udp 70000":       "is not 1 to 65535",
		"192.168.10.11 198.18.0.10 udp 53 17":       "not 5 words",
	} {
		if _, errs, code := g.swerve(append([]string{"explain"}, strings.Fields(args)...)...); code != 2 || !strings.Contains(errs, want) {
			g.Errorf("%s: code %d, %s", args, code, errs)
		}
	}
}
