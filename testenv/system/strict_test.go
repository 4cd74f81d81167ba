package system

import (
	"fmt"
	"strings"
	"testing"

	"swerve/testenv/lab"
)

// An internal network that only a rule of the owner's knows: its answers reach it,
// whichever uplink carries, also with strict reverse path filtering. Before the start
// it works by the owner's own masquerade.
func TestNetworkOfAForeignRule(t *testing.T) {
	t.Parallel()
	for _, filter := range []int{0, 1} {
		t.Run(fmt.Sprint("rp_filter ", filter), func(t *testing.T) {
			scenario(t, func(t *trial) {
				const inside, inside6 = "10.9.0.10", "fd09::10"
				g := newGateway(t, lab.Options{RPFilter: filter, Firewall: lab.FirewallMasquerade}, quickRecovery)
				must := func(out string, err error) {
					if err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
				}
				must(g.Client.Run("ip", "addr", "add", inside+"/32", "dev", "lo"))
				must(g.Client.Run("ip", "-6", "addr", "add", inside6+"/128", "dev", "lo", "nodad"))
				g.shell(`ip route add 10.9.0.0/24 via 192.168.10.10 table 200
ip rule add to 10.9.0.0/24 lookup 200
ip rule add from 10.9.0.0/24 lookup 200
ip -6 route add fd09::/64 via fd00:10::10 table 200
ip -6 rule add to fd09::/64 lookup 200
ip -6 rule add from fd09::/64 lookup 200`)
				answered := func(when string) {
					t.Helper()
					for f, from := range []string{inside, inside6} {
						out := ""
						g.Until(fmt.Sprintf("%s: an answer from %s to %s", when, lab.Servers[f], from), func() bool {
							out, _ = g.Client.Run("ping", "-c1", "-W1", "-I", from, lab.Servers[f].String())
							return strings.Contains(out, "1 received")
						})
					}
				}
				answered("before the start")
				g.Start()
				g.Await("fiber to carry", lab.Settled)
				answered("by fiber")
				f := g.Break(fiber, "black-hole")
				g.Await("lte to carry", lab.CarriedBy("lte"))
				answered("by lte")
				g.Mend(f)
				g.Await("fiber to carry", lab.Settled)
				answered("by fiber again")
				rules := g.out("ip -4 rule")
				for _, line := range []string{"5300:\tfrom all fwmark 0x1000000/0x7f000000 iif wan0 goto 5427", "5427:\tfrom all fwmark 0x1000000/0x7f000000 lookup main suppress_prefixlength 1"} {
					if got := strings.Contains(rules, line); got != (filter == 1) {
						t.Errorf("the rule %q is there: %v\n%s", line, got, rules)
					}
				}
				if six := g.out("ip -6 rule"); strings.Contains(six, "goto 5427") {
					t.Errorf("IPv6 has no reverse path filter:\n%s", six)
				}
				g.inPlace()
			})
		})
	}
}
