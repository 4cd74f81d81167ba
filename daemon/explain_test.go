package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
	"swerve/lane"
	"swerve/routing"
)

// oracle answers questions about ways as the test says.
type oracle struct {
	way map[string]routing.Way // by the destination
	err error
	in  map[string]bool // the sets that have what is asked for
	// dnat and snat are chains of others that translate addresses.
	dnat, snat []string
}

func (o oracle) Way(q routing.Question) (routing.Way, error) { return o.way[q.To.String()], o.err }
func (o oracle) Index(name string) int {
	return map[string]int{"eth0": 1, "eth1": 2, "port0": 5, "lan0": 9}[name]
}
func (o oracle) Name(index int) string {
	return map[int]string{1: "eth0", 2: "eth1", 9: "lan0"}[index]
}
func (o oracle) Bridge(index int) int                                     { return map[int]int{5: 9}[index] }
func (o oracle) Translators() (destinations, sources []string, err error) { return o.dnat, o.snat, nil }
func (o oracle) IsRescued(policy lane.Lane, a netip.Addr) (bool, error) {
	return policy == lane.DefaultPolicy && o.in[a.String()], nil
}
func (o oracle) InSet(name string, _ netip.Addr) (bool, error) {
	if name == "broken" {
		return false, errors.New("no room")
	}
	return o.in[name], nil
}

// Of a policy whose uplinks are all down each says why, also the one that carried last: the
// status calls it blocked, and its problem says what becomes of new flows.
func TestExplainBlocked(t *testing.T) {
	const file = twoUplinks + `
policies:
  - {name: default, tiers: [fiber]}
  - {name: strict, tiers: [lte], last_resort: block}
rules:
  - {from: 192.168.1.0/24, use: strict}
`
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.take()
		r.change("eth1", func(l *line) { l.link.Carrier = false })
		r.after(time.Second)
		if told := ofType(r.take(), control.EventDaemon); len(told) != 2 || told[0].Detail.(control.DaemonDetail).Reason != "no uplink answers, so new flows are refused: lte: no carrier" {
			t.Errorf("events: %+v", told)
		}
		r.loop.finder = oracle{way: map[string]routing.Way{"198.51.100.7": {Refused: unix.ENETUNREACH}}}
		e, err := r.api().Explain(t.Context(), control.Question{Src: netip.MustParseAddr("192.168.1.2"), Dst: netip.MustParseAddr("198.51.100.7"), Proto: 17, Port: 443, In: "lan0"})
		if err != nil || len(e.Others) != 2 || e.Others[1].Reason != "is down: no carrier, and the kernel has no way by it" || !strings.Contains(e.Why, "last_resort: block") {
			t.Errorf("%+v, %v", e, err)
		}
		if p := r.problem("starting"); p == nil || !strings.Contains(p.Text, "answers any more, so its new flows are refused in ipv4 and ipv6") {
			t.Errorf("soon after the start: %+v", p)
		}
		r.after(time.Minute)
		s := r.status()
		if p := s.Policies[1]; !p.Blocked.IPv4 || !p.Blocked.IPv6 || s.Policies[0].Blocked.IPv4 {
			t.Errorf("policies: %+v", s.Policies)
		}
		if p := r.problem("policy-dead"); p == nil || p.Text != "no uplink of policy strict answers, so its new flows are refused in ipv4 and ipv6 (last_resort: block)" {
			t.Errorf("%+v", p)
		}
	})
}

// What is not known is not claimed: which uplink a connection gets by its source port, and
// what other programs' NAT makes of it. A port of a bridge is the bridge for all rules.
func TestExplainClaimsNoMore(t *testing.T) {
	const file = twoUplinks + `
policies:
  - {name: default, tiers: [{fiber: 3, lte: 1}], spread: flows}
`
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		everywhere := netip.MustParsePrefix("0.0.0.0/0")
		r.loop.finder = oracle{dnat: []string{"ip nat PREROUTING"}, snat: []string{"ip nat POSTROUTING"}, way: map[string]routing.Way{
			"198.51.100.7": {Device: 1, To: everywhere, Table: 5364}, "203.0.113.2": {Local: true}}}
		ask := func(dst, in string) control.Explanation {
			e, err := r.api().Explain(t.Context(), control.Question{Src: netip.MustParseAddr("192.168.1.2"), Dst: netip.MustParseAddr(dst), Proto: 6, Port: 443, In: in})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		e := ask("198.51.100.7", "port0")
		if !strings.Contains(e.Why, "shared by fiber (3) + lte (1): such a connection may fall on any of them, such as fiber") ||
			e.Others[0].Reason != "shares tier 1 with weight 1, and takes its part of such connections" || e.In != "lan0" {
			t.Errorf("%+v", e)
		}
		for _, want := range []string{"port0 is a port of the bridge lan0", "which of fiber and lte takes a connection is by its source port too",
			"other programs translate destinations (ip nat PREROUTING)", "other programs translate sources (ip nat POSTROUTING)"} {
			if !strings.Contains(strings.Join(e.Notes, "\n"), want) {
				t.Errorf("%q is not among the notes %q", want, e.Notes)
			}
		}
		if e := ask("203.0.113.2", "fiber"); e.Why != "it is for this machine itself, unless a port forward of another program sends it on" {
			t.Errorf("a port forward: %+v", e)
		}
	})
}

// While a policy overflows, the tiers are those of the file, and the overflow is named.
func TestExplainOverflow(t *testing.T) {
	const why = "fiber carries 96% of its rate down, limit 85%; cable is full"
	fiber := failover.Place{Uplink: "fiber", Carries: true, Tier: 1, Weight: 255, Overflow: why}
	cable := failover.Place{Uplink: "cable", Carries: true, Tier: 2, Weight: 153, Overflow: why}
	shares := []control.Share{{Uplink: "fiber", Weight: 255}, {Uplink: "cable", Weight: 153}}
	e := new(explainer)
	if got := e.choice("fiber", fiber, shares); got != ", which overflows ("+why+"), so that new flows go by fiber (62%) + cable (38%): it falls on fiber" {
		t.Errorf("both: %s", got)
	}
	if got := e.choice("cable", cable, shares[1:]); got != ", which overflows ("+why+"), so that new flows go by cable" {
		t.Errorf("one: %s", got)
	}
	if got := e.whyAnother(cable, fiber); got != "gets new flows as well while the policy overflows (tier 2), and this flow falls on fiber" {
		t.Errorf("the other one: %s", got)
	}
}

// What the kernel answers is put into words, also where it is not what the engine wants.
func TestExplainWords(t *testing.T) {
	const file = twoUplinks + `
policies:
  - {name: default, tiers: [fiber, lte]}
  - {name: strict, tiers: [lte], last_resort: block}
rules:
  - {to: {set: video}, use: strict}
  - {to: {set: broken}, use: strict}
  - {proto: udp, dscp: ef, use: strict}
  - {mark: 0x10/0xf0, use: strict}
sets: {video: {}, broken: {}}
`
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	inBubble(t, file, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		for name, c := range map[string]struct {
			way  routing.Way
			err  error
			in   map[string]bool
			want string // of the sentence, or of the refusal
			note string
			dscp uint8
			mark uint32
		}{
			"the ladder": {way: routing.Way{Device: 1, To: everywhere, Table: 5364}, want: "no rule matches it, so it goes by policy default, whose new flows fiber carries (tier 1)",
				note: "a set is taken as empty, since it cannot be read: no room"},
			"dscp":         {way: routing.Way{Device: 1, To: everywhere, Table: 5364}, want: "no rule matches", note: "it is taken to have DSCP 0 (--dscp names another): 1 rule may match it (3)\nit is taken to have no mark (--mark names one): 1 rule may match it (4)"},
			"its dscp":     {way: routing.Way{Device: 2, To: everywhere, Table: 5365}, dscp: 46, want: "rule 3 (line 13) sends it by policy strict, whose new flows lte carries (tier 1)"},
			"another dscp": {way: routing.Way{Device: 1, To: everywhere, Table: 5364}, dscp: 8, want: "no rule matches", note: "until that is lost or drained after a failback\na set is taken as empty, since it cannot be read: no room\nit is taken to have no mark"},
			"its mark":     {way: routing.Way{Device: 2, To: everywhere, Table: 5365}, mark: 0xc31f, want: "rule 4 (line 14) sends it by policy strict, whose new flows lte carries (tier 1)"},
			"our bits":     {mark: 0x1000010, want: "the bits 0x1000000 of the mark are Swerve's own, which a new flow has none of; leave out the bits 0x7f000000"},
			"down the ladder": {way: routing.Way{Device: 2, To: everywhere, Table: 5364},
				want: "goes by policy default, and by lte: the kernel has gone down the ladder"},
			"a set": {way: routing.Way{Device: 2, To: everywhere, Table: 5365}, in: map[string]bool{"video": true}, want: "rule 1 (line 11) sends it by policy strict, whose new flows lte carries (tier 1)"},
			"kept off": {way: routing.Way{Device: 1, To: netip.MustParsePrefix("198.51.100.0/25"), Table: unix.RT_TABLE_MAIN}, in: map[string]bool{"video": true},
				want: "sends it by policy strict; the route to 198.51.100.0/25 in table main leads by fiber, which the policy never uses: it blocks (last_resort: block), so this goes nowhere"},
			"no route":  {way: routing.Way{Refused: unix.ENETUNREACH}, want: "of which no uplink can take it; the kernel has no route for it, so the sender gets an error: network is unreachable"},
			"a martian": {err: unix.EINVAL, want: "the kernel does not route it: invalid argument; is its source one that may come in there?"},
			"another's": {way: routing.Way{Device: 9, To: everywhere, Table: unix.RT_TABLE_MAIN}, want: "the default route in table main of another program leads to it by lan0"},
		} {
			r.loop.finder = oracle{way: map[string]routing.Way{"198.51.100.7": c.way}, err: c.err, in: c.in}
			e, err := r.api().Explain(t.Context(), control.Question{Src: netip.MustParseAddr("192.168.1.2"), Dst: netip.MustParseAddr("198.51.100.7"), Proto: 17, Port: 443, DSCP: c.dscp, Mark: c.mark, In: "lan0"})
			got := e.Why
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) || !strings.Contains(strings.Join(e.Notes, "\n"), c.note) {
				t.Errorf("%s: %s, notes %q", name, got, e.Notes)
			}
		}
		r.loop.finder = nil
		if _, err := r.api().Explain(t.Context(), control.Question{Dst: netip.MustParseAddr("198.51.100.7")}); !errors.Is(err, control.ErrRefused) {
			t.Errorf("without a kernel: %v", err)
		}
	})
}

// Where nothing answers, what is used all the same is said to be silent.
func TestExplainNothingAnswers(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		to := netip.MustParseAddr("198.51.100.7")
		r.loop.finder = oracle{way: map[string]routing.Way{to.String(): {Device: 1, To: netip.MustParsePrefix("0.0.0.0/0"), Table: 5364}}}
		notes := func() string {
			e, err := r.api().Explain(t.Context(), control.Question{Src: netip.MustParseAddr("192.168.1.2"), Dst: to, Proto: 17, Port: 443, In: "lan0"})
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(e.Notes, "\n")
		}
		const end = "), and is used since nothing better answers"
		if got := notes(); strings.Contains(got, end) {
			t.Errorf("while fiber is up: %s", got)
		}
		r.blackHole("eth1", true, both...)
		r.until("lte is down", time.Minute, r.isIn("lte", control.Down))
		r.blackHole("eth0", true, both...)
		r.until("fiber is down", time.Minute, r.isIn("fiber", control.Down))
		if got := notes(); !strings.Contains(got, "fiber itself is down (0 of 3 targets answer for 5") || !strings.Contains(got, end) {
			t.Errorf("while nothing answers: %s", got)
		}
	})
}

// Where each flow is spread by itself, what is said of one is not said of others.
func TestExplainSpreadFlows(t *testing.T) {
	for spread, want := range map[string]bool{"flows": true, "pairs": false} {
		inBubble(t, twoUplinks+"policies: [{name: default, tiers: [{fiber: 3, lte: 1}], spread: "+spread+"}]\n", func(t *testing.T, r *rig) {
			r.start()
			r.after(3 * time.Second)
			to := netip.MustParseAddr("198.51.100.7")
			r.loop.finder = oracle{way: map[string]routing.Way{to.String(): {Device: 1, To: netip.MustParsePrefix("0.0.0.0/0"), Table: 5364}}}
			e, err := r.api().Explain(t.Context(), control.Question{Src: netip.MustParseAddr("192.168.1.2"), Dst: to, Proto: 17, Port: 443, In: "lan0"})
			if err != nil {
				t.Fatal(err)
			}
			const note = "which of fiber and lte takes a connection is by its source port too (spread: flows), which is not known here"
			if got := slices.Contains(e.Notes, note); got != want || !strings.Contains(e.Why, "is shared by fiber (3) + lte (1)") {
				t.Errorf("spread %s: %s, notes %q", spread, e.Why, e.Notes)
			}
		})
	}
}
