package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
)

// move is a pair of lanes that was lost in a switch, with what there is to do.
type move struct {
	layout failover.Layout
	pair   firewall.Pair
	// uplink and policy by name, for the event.
	uplink, policy string
	// parts are the families in which it was lost.
	parts []part
}

// part is what there is to do of a move in one family.
type part struct {
	family failover.Family
	// addresses of this machine whose sockets go with the uplink.
	addresses []netip.Addr
	// ways are the interfaces that the flows leave by from now on.
	ways []string
}

// heal sets flows right that began while our table was missing.
type heal struct{ goal firewall.Goal }

// task is a move or a heal.
type task interface{ carryOut(*mover) }

// mover does what may take long after a switch, away from the loop, one at a
// time and in order.
type mover struct {
	flows  Flows
	events Publisher
	queue  chan task
}

// moverQueue bounds the tasks that wait. More than uplinks times policies times
// families in one go means that they flap faster than flows can be deleted;
// those beyond are dropped, and the packet filter alone ends their flows.
const moverQueue = 1024

func newMover(f Flows, events Publisher) *mover {
	return &mover{flows: f, events: events, queue: make(chan task, moverQueue)}
}

// add queues a task and reports whether there was room.
func (m *mover) add(t task) bool {
	select {
	case m.queue <- t:
		return true
	default:
		return false
	}
}

// run works the queue until ctx ends.
func (m *mover) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-m.queue:
			t.carryOut(m)
		}
	}
}

func (v move) carryOut(m *mover) {
	begin := time.Now()
	var families []failover.Family
	var ways []string
	for _, p := range v.parts {
		families, ways = append(families, p.family), append(ways, p.ways...)
	}
	failed := errors.Join(m.flows.Grace(ways), m.flows.DeleteFlows(v.layout, v.pair, families...))
	for _, p := range v.parts {
		problems, closed := []error{failed}, 0
		for _, address := range p.addresses {
			n, err := m.flows.DestroySockets(v.layout, v.pair.Uplink, address)
			closed += n
			problems = append(problems, err)
		}
		m.events.Publish(v.event(p.family, time.Since(begin), closed, errors.Join(problems...)))
	}
}

// carryOut heals, and tells where there was something to heal.
func (h heal) carryOut(m *mover) {
	begin := time.Now()
	n, err := m.flows.Heal(h.goal)
	if n == 0 && err == nil {
		return
	}
	count := int64(n)
	detail := control.SessionsDetail{
		Action: "healed", Count: &count, TookMS: control.Millis(time.Since(begin)),
		Reason: "flows that began without our ruleset: given lanes, or begun anew where they were not masqueraded",
	}
	if err != nil {
		detail.Action, detail.Reason = "failed", "not all flows were healed: "+err.Error()
	}
	m.events.Publish(control.Event{Time: control.At(time.Now()), Detail: detail})
}

func (v move) event(f failover.Family, took time.Duration, closed int, err error) control.Event {
	detail := control.SessionsDetail{
		Action: "moved", Uplink: v.uplink, Policy: v.policy, Family: f.String(),
		Reason: "the uplink is lost and the policy has another: entries deleted, TCP is reset at its next packet",
		TookMS: control.Millis(took),
	}
	if closed > 0 {
		count := int64(closed)
		detail.Count = &count
		detail.Reason += ", own sockets closed"
	}
	if err != nil {
		detail.Action, detail.Reason = "failed", "not all sessions were moved: "+err.Error()
	}
	return control.Event{Time: control.At(time.Now()), Detail: detail}
}

// letGo hands the pairs to the mover that were lost since the last time, in the
// families whose routes the kernel holds: flows are not sent away before there is
// a way for them.
func (l *loop) letGo(holds [2]bool) {
	var moves []move
	for _, f := range failover.Families {
		if !holds[f] {
			continue
		}
		for _, v := range l.setup.moves(l.picture, *l.intent, f) {
			if !slices.Contains(l.released[f], v.pair) {
				moves = together(moves, v)
			}
		}
		l.released[f] = l.setup.lost(*l.intent, f)
	}
	for _, v := range moves {
		if !l.mover.add(v) {
			l.log.Error("sessions are not moved", "uplink", v.uplink, "reason", "too many moves wait")
		}
	}
}

// together adds a move, to that of the other family where the same pair is lost in
// both: with many flows, it is looking for them that takes long.
func together(moves []move, v move) []move {
	i := slices.IndexFunc(moves, func(m move) bool { return m.pair == v.pair })
	if i < 0 {
		return append(moves, v)
	}
	moves[i].parts = append(moves[i].parts, v.parts...)
	return moves
}

// lost are the pairs that an intent lets go of.
func (s setup) lost(in failover.Intent, f failover.Family) []firewall.Pair {
	var out []firewall.Pair
	for _, policy := range in.Policies {
		for _, name := range policy.Family[f].Lost {
			out = append(out, s.pair(name, policy.Policy))
		}
	}
	return out
}

func (s setup) pair(uplink, policy string) firewall.Pair {
	return firewall.Pair{Uplink: s.lanes.Uplinks[uplink], Policy: s.lanes.Policies[policy]}
}

// moves are what there is to do for each of them.
func (s setup) moves(p picture, in failover.Intent, f failover.Family) []move {
	var out []move
	for _, policy := range in.Policies {
		for _, name := range policy.Family[f].Lost {
			out = append(out, s.move(p, policy, f, name))
		}
	}
	return out
}

func (s setup) move(p picture, policy failover.PolicyIntent, f failover.Family, name string) move {
	v := move{layout: s.layout, uplink: name, policy: policy.Policy, pair: s.pair(name, policy.Policy)}
	todo := part{family: f}
	// Sockets have no policy: they go when the default policy lets go.
	if v.pair.Policy == failover.DefaultPolicyLane {
		for _, a := range p.last[name].addresses[f] {
			todo.addresses = append(todo.addresses, a.Addr())
		}
	}
	for _, rung := range policy.Family[f].Rungs {
		for _, share := range rung.Shares {
			if share.Uplink != name {
				todo.ways = append(todo.ways, p.links[share.Uplink].Interface)
			}
		}
	}
	v.parts = []part{todo}
	return v
}
