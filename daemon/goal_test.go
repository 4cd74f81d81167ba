package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/linkmon"
	"swerve/routing"
)

// goalSetup returns a setup with an uplink of each kind, and three policies.
func goalSetup(t *testing.T) (setup, picture) {
	t.Helper()
	cfg, found := config.Parse("goal.yaml", []byte(`
uplinks:
  - {name: fiber, interface: eth0, snat: none, snat6: masquerade, prefix6: ["2001:db8:ff::/48"]}
  - {name: cable, interface: "02:00:00:00:00:01", snat6: none, snat_except: [10.9.0.0/16]}
  - {name: lte, interface: wwan0, snat6: npt, npt: {"fd00:1::/64": "2001:db8:ee:1::/64"}, prefix6: ["2001:db8:ee::/48"]}
  - {name: off, interface: eth9, enabled: false}
policies:
  - {name: default, tiers: [{fiber: 3, cable: 1}, lte, off]}
  - {name: guests, tiers: [lte], last_resort: block}
`))
	if len(found) > 0 {
		t.Fatal(found)
	}
	s, err := newSetup(cfg, defaults{}, false, nil, state{Lanes: lanes{Uplinks: map[string]lane.Lane{"lte": 9}}})
	if err != nil {
		t.Fatal(err)
	}
	p := newPicture()
	p.set("fiber", newLine("eth0", 1).link)
	p.set("cable", newLine("enp3s0", 2).link)
	return s, p
}

// goalIntent returns an intent in which fiber and cable share, and guests' only
// uplink is lost without a replacement.
func goalIntent() failover.Intent {
	var in failover.Intent
	for _, name := range []string{"default", "guests"} {
		in.Policies = append(in.Policies, failover.PolicyIntent{Policy: name})
	}
	in.Policies[0].Family[failover.IPv4] = failover.Ladder{
		Rungs: []failover.Rung{{Shares: []failover.Share{{Uplink: "cable", Weight: 1}}}, {Shares: []failover.Share{{Uplink: "fiber", Weight: 3}}}},
		Lost:  []string{"fiber"},
	}
	in.Policies[1].Family[failover.IPv6].Block = true
	return in
}

func TestRoutingGoal(t *testing.T) {
	s, p := goalSetup(t)
	g := goal{s, p, goalIntent()}.routing(nil, false)
	if !g.NoIPv6 || !g.Mirror || len(g.Uplinks) != 3 || len(g.Policies) != 2 {
		t.Fatalf("goal: %+v", g)
	}
	for i, want := range []struct {
		lane     lane.Lane
		device   string
		index    int
		fromRule [2]bool
	}{
		{1, "eth0", 1, [2]bool{false, true}},
		{2, "enp3s0", 2, [2]bool{true, true}},
		{9, "wwan0", 0, [2]bool{true, true}},
	} {
		u := g.Uplinks[i]
		if u.Lane != want.lane || u.Interface != want.device || u.Index != want.index ||
			u.Family[0].FromRule != want.fromRule[0] || u.Family[1].FromRule != want.fromRule[1] {
			t.Errorf("uplink %d: %+v, want %+v", i, u, want)
		}
	}
	rungs := g.Policies[0].Family[failover.IPv4].Rungs
	if g.Policies[0].Lane != 64 || len(rungs) != 2 || rungs[0][0].Uplink != 2 || rungs[1][0].Uplink != 1 || rungs[1][0].Weight != 3 {
		t.Errorf("default: %+v", g.Policies[0])
	}
	if guests := g.Policies[1]; guests.Lane != 65 || !guests.Family[failover.IPv6].Block || guests.Family[failover.IPv4].Block {
		t.Errorf("guests: %+v", guests)
	}
}

func TestFirewallGoal(t *testing.T) {
	s, p := goalSetup(t)
	strict := func(device string) bool { return device == "enp3s0" }
	g := goal{s, p, goalIntent()}.firewall(strict)
	if len(g.Uplinks) != 3 || len(g.Policies) != 2 {
		t.Fatalf("goal: %+v", g)
	}
	fiber, cable, lte := g.Uplinks[0], g.Uplinks[1], g.Uplinks[2]
	native := []netip.Prefix{netip.MustParsePrefix("2001:db8:ff::/48"), netip.MustParsePrefix("2001:db8:1::/64")}
	if fiber.SNAT || fiber.SNAT6 != firewall.Masquerade || fiber.MarkArrivals || !slices.Equal(fiber.Native6, native) || len(fiber.Addresses) != 2 {
		t.Errorf("fiber: %+v", fiber)
	}
	if !cable.SNAT || cable.SNAT6 != firewall.None || !cable.MarkArrivals || cable.Interface != "enp3s0" || len(cable.SNATExcept) != 1 {
		t.Errorf("cable: %+v", cable)
	}
	if lte.SNAT6 != firewall.Foreign || lte.Interface != "wwan0" || len(lte.Addresses) != 0 {
		t.Errorf("lte: %+v", lte)
	}
	if own := g.Policies[0].Uplinks; !slices.Equal(own, []lane.Lane{1, 2, 9, 3}) {
		t.Errorf("default's own: %v", own)
	}
	if guests := g.Policies[1]; !guests.Block || !slices.Equal(guests.Uplinks, []lane.Lane{9}) {
		t.Errorf("guests: %+v", guests)
	}
	if !slices.Equal(g.Lost[failover.IPv4], []firewall.Pair{{Uplink: 1, Policy: 64}}) || len(g.Lost[failover.IPv6]) != 0 {
		t.Errorf("lost: %v", g.Lost)
	}
	if len(g.Asked) != 0 {
		t.Errorf("asked: %v", g.Asked)
	}
}

// The packet filter knows the targets that are no echo requests, but for those of uplinks
// that are turned off.
func TestEndpoints(t *testing.T) {
	cfg, found := config.Parse("swerve.yaml", []byte(`
uplinks:
  - {name: fiber, interface: eth0, probe: {targets: [1.1.1.1, "tcp://192.0.2.1:443", gateway, "dns://[2001:db8::1]/a"]}}
  - {name: lte, interface: eth1, probe: {targets: ["https://192.0.2.2/x", "tcp://192.0.2.1:443"]}}
  - {name: off, interface: eth2, enabled: false, probe: {targets: ["http://192.0.2.3/"]}}
`))
	if len(found) > 0 {
		t.Fatal(found)
	}
	at := func(udp bool, s string) firewall.Endpoint {
		return firewall.Endpoint{UDP: udp, At: netip.MustParseAddrPort(s)}
	}
	want := []firewall.Endpoint{at(false, "192.0.2.1:443"), at(true, "[2001:db8::1]:53"), at(false, "192.0.2.2:443"), at(false, "192.0.2.1:443")}
	if got := endpoints(cfg.Uplinks); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// For an uplink that has lost everything, its former name and addresses are still
// known.
func TestPictureRemembers(t *testing.T) {
	s, p := goalSetup(t)
	p.set("fiber", failover.Link{})
	g := goal{s, p, goalIntent()}.firewall(func(string) bool { return false })
	if fiber := g.Uplinks[0]; fiber.Interface != "eth0" || len(fiber.Addresses) != 2 {
		t.Errorf("fiber: %+v", fiber)
	}
	if got := (goal{setup: s, links: p}).interfaces(); len(got) != 1 || got[0].Name != "enp3s0" {
		t.Errorf("interfaces: %v", got)
	}
	p.retain(s.uplinks[1:])
	if _, known := p.last["fiber"]; known {
		t.Error("an uplink that is gone from the configuration is still known")
	}
	if got := p.name(s.uplinks[0]); got != "eth0" {
		t.Errorf("an uplink that was never seen is called %q", got)
	}
	unseen := s.uplinks[1]
	p.retain(nil)
	if got := p.name(unseen); got != "" {
		t.Errorf("an uplink that is known by its MAC address alone is called %q", got)
	}
}

// Only the loss of the default policy moves sockets as well, and flows are never
// moved to the lost uplink.
func TestMoves(t *testing.T) {
	s, p := goalSetup(t)
	p.set("lte", newLine("wwan0", 3).link)
	in := goalIntent()
	in.Policies[1].Family[failover.IPv4] = failover.Ladder{
		Rungs: []failover.Rung{{Shares: []failover.Share{{Uplink: "cable", Weight: 1}, {Uplink: "lte", Weight: 1}}}, {Shares: []failover.Share{{Uplink: "fiber", Weight: 1}}}},
		Lost:  []string{"fiber"},
	}
	text := func(m move) (all string) {
		for _, p := range m.parts {
			all += fmt.Sprint(p.family, p.addresses, p.ways) + "; "
		}
		return all
	}
	moves := goal{s, p, in}.moves(failover.IPv4)
	if len(moves) != 2 {
		t.Fatalf("moves: %+v", moves)
	}
	if m := moves[0]; m.pair != (firewall.Pair{Uplink: 1, Policy: 64}) || text(m) != "ipv4 [192.0.2.1] [enp3s0]; " {
		t.Errorf("default: %+v", m)
	}
	if m := moves[1]; m.pair != (firewall.Pair{Uplink: 1, Policy: 65}) || text(m) != "ipv4 [] [enp3s0 wwan0]; " {
		t.Errorf("guests: %+v", m)
	}
	if moves := (goal{s, p, in}).moves(failover.IPv6); len(moves) != 0 {
		t.Errorf("in IPv6: %+v", moves)
	}
}

// flowsThatFail fails every call.
type flowsThatFail struct{}

func (flowsThatFail) Heal(firewall.Goal) (int, error) { return 0, errRefused }
func (flowsThatFail) Grace([]string) error            { return errRefused }
func (flowsThatFail) EndMisled(lane.Layout, lane.Lane, []netip.Addr, ...lane.Lane) (int, error) {
	return 0, errRefused
}
func (flowsThatFail) EndFlows(lane.Layout, firewall.Pair, ...failover.Family) ([2]int, bool, error) {
	return [2]int{}, false, errRefused
}

func (flowsThatFail) DeleteFlows(lane.Layout, firewall.Pair, ...failover.Family) error {
	return errRefused
}
func (flowsThatFail) DropFlows(lane.Layout, lane.Lane, ...failover.Family) (firewall.Pokes, error) {
	return firewall.Pokes{}, errRefused
}
func (flowsThatFail) DestroySockets(lane.Layout, lane.Lane, netip.Addr, firewall.Spared) (int, error) {
	return 0, errRefused
}

func (flowsThatFail) Revive(lane.Layout, lane.Lane, ...failover.Family) error { return errRefused }
func (flowsThatFail) Poke(_ lane.Layout, losses ...firewall.Loss) ([]firewall.Pokes, error) {
	return make([]firewall.Pokes, len(losses)), errRefused
}

type routesThatFail struct{ routing.Kernel }

func (routesThatFail) Do(routing.Op) error { return errRefused }

// Failed work on sessions is reported, and the rest is still tried.
func TestWorkerReportsWhatFailed(t *testing.T) {
	r := &rig{t: t}
	w := newWorker(flowsThatFail{}, flowsThatFail{}, routesThatFail{}, r, newCounters(nil, nil))
	moves{{uplink: "fiber", policy: "default", parts: []part{
		{family: failover.IPv4, addresses: make([]netip.Addr, 2)}, {family: failover.IPv6},
	}}}.carryOut(w)
	(<-w.walks.queue).carryOut(w.walks)
	heal{}.carryOut(w)
	events := r.take()
	if len(events) != 5 { // of each family that it was moved, and its entries deleted
		t.Fatalf("reported: %+v", events)
	}
	for _, e := range events {
		if d, ok := e.Detail.(control.SessionsDetail); !ok || d.Action != "failed" || e.Time.IsZero() {
			t.Errorf("reported: %+v", e.Detail)
		}
	}
}

// Moves for which there is no room are refused rather than waited for.
func TestWorkerIsBounded(t *testing.T) {
	w := newWorker(flowsThatFail{}, nil, nil, &rig{t: t}, newCounters(nil, nil))
	for n := range workerQueue {
		if !w.add(moves{}) {
			t.Fatalf("move %d found no room", n)
		}
	}
	if w.add(moves{}) {
		t.Error("there was room for one more")
	}
}

// The plan's frozen network never waits and sends nothing.
func TestFrozenNetwork(t *testing.T) {
	n := &frozenNetwork{seen: []linkmon.Observation{{At: 1}}}
	n.Send(failover.Probe{}, linkmon.Path{})
	n.Reread("fiber")
	if n.Ready() != nil || n.Repair() != nil || n.DefaultsChanged() != nil || n.OwnChanged() != nil || len(n.Take()) != 1 {
		t.Errorf("%+v", n)
	}
}
