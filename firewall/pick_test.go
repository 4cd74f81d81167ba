package firewall

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

func members(weights ...int) (out []Member) {
	for i, w := range weights {
		if w > 0 {
			out = append(out, Member{lane.Lane(1 + i), w})
		}
	}
	return out
}

// owner returns whose part of the range a value is in.
func owner(all []span, n uint32) lane.Lane {
	for _, s := range all {
		if s.from <= n && n < s.to {
			return s.uplink
		}
	}
	return 0
}

// Each member has its part by weight, to a thousandth, whoever is absent; and what does
// not belong to one that comes or goes stays where it is.
func TestSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		var tier []Member
		for i := range 2 + rng.IntN(6) {
			tier = append(tier, Member{lane.Lane(1 + i), 1 + rng.IntN(20)})
		}
		var present []Member
		for _, m := range tier {
			if rng.IntN(3) > 0 {
				present = append(present, m)
			}
		}
		p := Policy{Lane: 65, Spread: Pairs, Members: [2][]Member{present, tier}, Tier: [2][]Member{tier, nil}}
		whole, part := p.spans(failover.IPv6), p.spans(failover.IPv4)
		if len(present) < 2 {
			if part != nil {
				t.Errorf("one member has the parts %v", part)
			}
			continue
		}
		total, held, end := 0, map[lane.Lane]uint32{}, uint32(0)
		for _, m := range present {
			total += m.Weight
		}
		for _, s := range part {
			if s.from != end || s.to <= s.from {
				t.Fatalf("parts %v", part)
			}
			held[s.uplink] += s.to - s.from
			end = s.to
		}
		if end != hashRange {
			t.Fatalf("parts %v", part)
		}
		for _, m := range present {
			if share, want := float64(held[m.Uplink])/hashRange, float64(m.Weight)/float64(total); share < want-0.001 || share > want+0.001 {
				t.Errorf("%v of %v has %.4f, want %.4f", m, present, share, want)
			}
		}
		for n := uint32(0); n < hashRange; n += 97 {
			was, is := owner(whole, n), owner(part, n)
			if was != is && held[was] > 0 {
				t.Fatalf("%d goes from %d, which is there, to %d", n, was, is)
			}
		}
	}
}

// sharedLab is a lab whose LAN's flows to port 7000 have the policy guests, lane 65,
// that both uplinks share, 3:1, by its spread.
func sharedLab(t *testing.T, s Spread) *lab {
	t.Helper()
	l := rulesLab(t)
	both := [2][]Member{members(3, 1), members(3, 1)}
	l.goal.Policies[0].Spread, l.goal.Policies[0].Members, l.goal.Policies[0].Tier = s, both, both
	l.goal.Policies = append(l.goal.Policies, Policy{Lane: 65, Name: "guests", Uplinks: []lane.Lane{1, 2}, Spread: s, Members: both, Tier: both})
	l.goal.Rules = []Rule{toPort(unix.IPPROTO_UDP, 7000)}
	l.goal.Rules[0].Policy = 65
	for _, p := range plans {
		l.batch(p.flag, fmt.Sprintf(`
			rule add pref 5365 fwmark 0x41000000/0x7f000000 lookup 5365
			route replace default table 5365 metric 1 nexthop via %s dev wan0 onlink weight 3 nexthop via %s dev wan1 onlink weight 1
		`, p.nextA, p.nextB))
	}
	return l
}

// begin sends the first packet of many flows of the LAN to a port, and returns their
// packets by tuple.
func (l *lab) begin(f failover.Family, toPort uint16, flows, base int) map[string]Packet {
	l.t.Helper()
	sent := map[string]Packet{}
	inside(l.t, l.client, func() error {
		for i := range flows {
			p := Packet{
				Family: f, From: worldOf.from[f][i%3], To: worldOf.to[f][i/3%3], In: "lan0", Proto: unix.IPPROTO_UDP,
				FromPort: uint16(base + i), ToPort: toPort,
			}
			if err := send(netip.AddrPortFrom(p.From, p.FromPort), netip.AddrPortFrom(p.To, p.ToPort), 0); err != nil {
				return err
			}
			sent[tupleOf(p)] = p
		}
		return nil
	})
	return sent
}

// picked checks that the kernel gave flows the lanes that Classify says, and returns
// which part of them has the first uplink.
func (l *lab) picked(sent map[string]Packet) float64 {
	l.t.Helper()
	table := Ruleset(l.goal)
	var lanes map[string][2]lane.Lane
	until(l.t, "all entries", func() bool {
		lanes = l.lanesOf("-p", "udp")
		for tuple := range sent {
			if lanes[tuple][0] == 0 {
				return false
			}
		}
		return true
	})
	first := 0
	for tuple, p := range sent {
		class := table.Classify(p)
		if got := lanes[tuple]; got[1] != class.Policy || class.Member != 0 && got[0] != class.Member {
			l.t.Fatalf("%s has the lanes %v in the kernel, and is %+v", tuple, got, class)
		}
		if lanes[tuple][0] == 1 {
			first++
		}
	}
	return float64(first) / float64(len(sent))
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got < want-0.05 || got > want+0.05 {
		t.Errorf("%s: the first uplink has %.3f of the flows, want %.2f", what, got, want)
	}
}

// Two thousand flows spread by their weights, in the policy of a rule and in the default
// one; a member that leaves leaves the others' flows alone, and one that joins gets new
// ones only.
func TestSharedTier(t *testing.T) {
	const flows = 2000
	for _, byText := range []bool{false, true} {
		l := sharedLab(t, Flows)
		if byText {
			loadText(t, l.gw, Ruleset(l.goal).Replacement())
		} else {
			l.apply()
			if d := drift(t, l.gw, l.kernel, Ruleset(l.goal)); d != nil {
				t.Fatalf("differs at once: %q", d)
			}
		}
		for f := range failover.Families {
			f := failover.Family(f)
			near(t, fmt.Sprintf("guests %v", f), l.picked(l.begin(f, 7000, flows, 10000)), 0.75)
			near(t, fmt.Sprintf("default %v", f), l.picked(l.begin(f, 7001, flows, 10000)), 0.75)
		}
		if byText {
			continue
		}
		old := l.begin(failover.IPv4, 7000, flows, 20000)
		was := l.picked(old)
		l.move(func(g *Goal) {
			for i := range g.Policies {
				g.Policies[i].Members = [2][]Member{members(0, 1), members(0, 1)}
			}
		})
		if d := drift(t, l.gw, l.kernel, Ruleset(l.goal)); d != nil {
			t.Fatalf("differs after a move: %q", d)
		}
		for p := range plans {
			l.batch(plans[p].flag, fmt.Sprintf("route replace default table 5365 metric 1 via %s dev wan1 onlink", plans[p].nextB))
		}
		if is := l.picked(l.begin(failover.IPv4, 7000, 200, 30000)); is != 0 {
			t.Errorf("%.3f of new flows go by an uplink that is no member", is)
		}
		l.begin(failover.IPv4, 7000, flows, 20000) // the same flows go on
		if lanes := l.lanesOf("-p", "udp"); len(lanes) == 0 {
			t.Error("no entries")
		} else {
			first := 0
			for tuple := range old {
				if lanes[tuple][0] == 1 {
					first++
				}
			}
			if is := float64(first) / flows; is != was {
				t.Errorf("%.3f of the old flows are on the first uplink, %.3f before", is, was)
			}
		}
		both := [2][]Member{members(3, 1), members(3, 1)}
		l.move(func(g *Goal) {
			for i := range g.Policies {
				g.Policies[i].Members = both
			}
		})
		near(t, "after it is back", l.picked(l.begin(failover.IPv4, 7000, flows, 40000)), 0.75)
	}
}

// What the spread keeps together goes by one uplink.
func TestSpreadsKeepTogether(t *testing.T) {
	for _, s := range []Spread{Pairs, Clients} {
		l := sharedLab(t, s)
		l.apply()
		for _, f := range failover.Families {
			sent := l.begin(f, 7000, 90, 10000)
			l.picked(sent)
			by := map[string]lane.Lane{}
			lanes := l.lanesOf("-p", "udp")
			for tuple, p := range sent {
				key := p.From.String()
				if s == Pairs {
					key += " " + p.To.String()
				}
				if before, ok := by[key]; ok && before != lanes[tuple][0] {
					t.Errorf("spread %d: flows of %s go by %d and %d", s, key, before, lanes[tuple][0])
				}
				by[key] = lanes[tuple][0]
			}
		}
	}
}

// The routes of others have their turn before the default policy's members: half of the
// internet by a tunnel, and a network by a rule after ours.
func TestMembersLeaveOthersRoutes(t *testing.T) {
	l := sharedLab(t, Flows)
	tunnel := netns.New(t)
	l.veth(l.gw, "tun9", tunnel, "eth0")
	for _, p := range plans {
		half := map[string]string{"-4": "128.0.0.0/1", "-6": "::/1"}[p.flag]
		l.batch(p.flag, fmt.Sprintf("route add %s dev tun9\nroute add default dev tun9 table 99\nrule add pref 20000 to %s lookup 99\nrule add pref 32764 lookup main suppress_prefixlength 0\n", half, p.host))
	}
	loadText(t, l.gw, "table inet theirs {\ncounter gone { }\nchain c {\ntype filter hook forward priority 0;\noifname \"tun9\" udp dport 7001 counter name gone\n}\n}\n")
	l.apply()
	for _, f := range failover.Families {
		l.begin(f, 7001, 90, 10000)
	}
	until(t, "all to go by the tunnel", func() bool {
		return containsCount(run(t, l.gw, "nft", "list", "counter", "inet", "theirs", "gone"), 180)
	})
}

func containsCount(out string, n int) bool {
	var packets, bytes int
	for i := range len(out) {
		if _, err := fmt.Sscanf(out[i:], "packets %d bytes %d", &packets, &bytes); err == nil {
			return packets == n
		}
	}
	return false
}
