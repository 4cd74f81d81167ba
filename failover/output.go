package failover

import (
	"slices"
	"time"
)

// Output is what a step asks of the caller to do.
type Output struct {
	// Probes to send now, in this order.
	Probes []Probe
	// Intent is the new goal for the kernel; nil when it did not change.
	Intent *Intent
	// Records of what was decided in this step and why, in order of decision.
	Records []Record
	// Reread names the uplinks whose link should be read from the kernel now.
	Reread []string
	// Wake is the instant at which the next Tick is due; always after the
	// step's own.
	Wake Instant
}

// ProbeID identifies a probe of one engine. The first is 1.
type ProbeID uint64

// Probe is one packet or request to send, by one uplink to one target.
type Probe struct {
	ID     ProbeID
	Uplink string
	Family Family
	// Target as the configuration writes it.
	Target string
	// Brief probes are many in a short time, by a path that is down already: an answer
	// after they are lost tells nothing that a regular one's does not tell as well.
	Brief bool
}

// Intent is the complete goal for the kernel; applying one again changes nothing.
type Intent struct {
	// Generation counts the intents of an engine from 1.
	Generation uint64
	// Policies in configuration order, the default policy first.
	Policies []PolicyIntent
}

// PolicyIntent is the goal for one policy.
type PolicyIntent struct {
	Policy string
	Family [2]Ladder
}

// Ladder is a policy's order in one family.
type Ladder struct {
	// Rungs, best first. Only uplinks whose link is routable in the family have
	// a place. Empty where no uplink offers the family.
	Rungs []Rung
	// Lost names, sorted by preference, the uplinks whose sessions of this
	// policy have to move, whether routable or not.
	Lost []string
	// Drained are those of Lost that are not down: their drain after a failback is over.
	Drained []string
	// Avoided names the uplinks with a place to which new flows do not go, while
	// there are others: the drained ones and the silent ones.
	Avoided []string
	// Spare names the uplink of the next rung, which may carry what the first one does not
	// reach: it is up, or nothing is known of it yet, and the first rung is a single uplink
	// that is not silent. Of a shared rung it is the one with the greatest weight. Empty where
	// there is none.
	Spare string
	// Block: where no rung can carry, traffic is blocked instead of using other routes.
	Block bool
	// Blocked: it is a blocking policy's, and all of its uplinks are down.
	Blocked bool
}

// Rung is one step of a ladder: an uplink, or several that share the load.
type Rung struct{ Shares []Share }

// Moves reports whether new flows of some policy go by other uplinks than they did by
// the intent before, or by other shares.
func (in *Intent) Moves(before *Intent) bool {
	return slices.ContainsFunc(in.Policies, func(p PolicyIntent) bool {
		i := slices.IndexFunc(before.Policies, func(b PolicyIntent) bool { return b.Policy == p.Policy })
		return i >= 0 && slices.ContainsFunc(Families[:], func(f Family) bool {
			return !slices.Equal(p.Family[f].first().Shares, before.Policies[i].Family[f].first().Shares)
		})
	})
}

// first is the best rung, without any uplink where there is none.
func (l Ladder) first() Rung {
	if len(l.Rungs) == 0 {
		return Rung{}
	}
	return l.Rungs[0]
}

// clone copies an intent, so that the copy may belong to the caller.
func (in *Intent) clone() *Intent {
	c := &Intent{Generation: in.Generation}
	for _, p := range in.Policies {
		q := PolicyIntent{Policy: p.Policy}
		for f, l := range p.Family {
			q.Family[f] = Ladder{
				Lost: slices.Clone(l.Lost), Drained: slices.Clone(l.Drained), Avoided: slices.Clone(l.Avoided), Spare: l.Spare, Block: l.Block, Blocked: l.Blocked,
			}
			for _, r := range l.Rungs {
				q.Family[f].Rungs = append(q.Family[f].Rungs, Rung{Shares: slices.Clone(r.Shares)})
			}
		}
		c.Policies = append(c.Policies, q)
	}
	return c
}

func (l Ladder) equal(o Ladder) bool {
	return l.Block == o.Block && l.Blocked == o.Blocked && l.Spare == o.Spare && slices.Equal(l.Lost, o.Lost) && slices.Equal(l.Drained, o.Drained) && slices.Equal(l.Avoided, o.Avoided) &&
		slices.EqualFunc(l.Rungs, o.Rungs, func(a, b Rung) bool { return slices.Equal(a.Shares, b.Shares) })
}

// has reports whether the rung holds an uplink.
func (r Rung) has(name string) bool {
	for _, s := range r.Shares {
		if s.Uplink == name {
			return true
		}
	}
	return false
}

// SwitchKind is why the uplinks of new flows changed.
type SwitchKind uint8

// The kinds of a switch.
const (
	// Failover: forced, since the previous uplink was no longer viable.
	Failover SwitchKind = iota
	// Return: the failback to a preferred uplink.
	Return
	// Switchover: planned, by the operator or because of a better state.
	Switchover
)

// Record is one decision, with its evidence.
type Record struct {
	At Instant
	// Exactly one of these is set.
	Health   *HealthChange
	Switch   *SwitchChange
	Overflow *OverflowChange
}

// HealthChange is a transition of one uplink in one family.
type HealthChange struct {
	Uplink   string
	Family   Family
	From, To State
	// Doubt: a suspicion, or its end without a consequence.
	Doubt bool
	// Reason in words with its figures, such as "0 of 3 targets answer for 182ms".
	Reason string
	// Evidence is the time from the first unanswered sending, or the kernel's
	// event, until this verdict; negative where that has no meaning.
	Evidence time.Duration
	// Paused is for how long this machine stood still meanwhile, which Evidence leaves out.
	Paused time.Duration
}

// SwitchChange is a change of the uplinks that carry a policy's new flows.
type SwitchChange struct {
	Policy   string
	Family   Family
	Kind     SwitchKind
	From, To []string
	Reason   string
	// Evidence as in HealthChange, of the change that caused the switch.
	Evidence time.Duration
	// ByConfig: the uplinks were left since the configuration does not have them any more,
	// or not there.
	ByConfig bool
	// Generation of the intent that carries it out.
	Generation uint64
}

// OverflowChange says that a policy's new flows go to other uplinks since those that
// carry it are full, or that they do so no more. It is no switch.
type OverflowChange struct {
	Policy string
	Family Family
	Phase  OverflowPhase
	// From are the uplinks that carry, To those to which new flows go now; none at the end.
	From, To []string
	// Limit is the policy's.
	Limit float64
	// Loads are those of the policy's tiers that are measured, in their order.
	Loads  []TierLoad
	Reason string
	// Generation of the intent that carries it out.
	Generation uint64
}

// TierLoad is what the live uplinks of a tier carry.
type TierLoad struct {
	Uplinks []string
	// Share of their rates, over 1 s; Up, where that is what they send.
	Share float64
	Up    bool
	// Full: the share was over the limit, and has not been well under it for long enough.
	Full bool
}

// OverflowPhase is what an overflow does.
type OverflowPhase uint8

// The phases of an overflow. It changes when new flows go to other uplinks than before,
// since these are full or silent.
const (
	OverflowBegins OverflowPhase = iota
	OverflowChanges
	OverflowEnds
)

var phaseNames = [...]string{"begin", "change", "end"}

// String returns "begin", "change" or "end", as in events.
func (p OverflowPhase) String() string { return phaseNames[p] }

var kindNames = [...]string{"failover", "failback", "switchover"}

// String returns "failover", "failback" or "switchover", as in status.
func (k SwitchKind) String() string { return kindNames[k] }

// MarshalText implements encoding.TextMarshaler by String.
func (k SwitchKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
