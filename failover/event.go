package failover

import "time"

// Event is something that happened, passed to [Engine.Step]. The set is closed.
type Event interface{ event() }

// Tick reports nothing but the time.
type Tick struct{}

// Configure replaces the configuration. Uplinks that stay, by name, keep what is
// known of them.
type Configure struct {
	Config Config
	// Renamed has the former names of uplinks, and RenamedPolicies of policies, by
	// their new ones: they keep what is known of them, and so does what the operator
	// wants of them. Both may be nil. An uplink whose name another one takes, and which
	// has no new one, is removed.
	Renamed, RenamedPolicies map[string]string
}

// Adopt reports, once and before any link is known, what the kernel holds from
// an earlier run, so that a restart moves nothing.
type Adopt struct {
	// Carrying names, by policy, the uplinks of the first rung in each family.
	Carrying map[string][2][]string
	// Overflow names, by policy, the uplinks to which new flows went instead of those in
	// Carrying, because these were full. It may be nil.
	Overflow map[string][2][]string
	// Lost names the uplinks whose sessions had been moved, by policy and family.
	Lost map[string][2][]string
	// Departed are, by policy, the uplinks that failbacks had left and whose sessions were
	// drained, as the last view of the earlier run had it. It may be nil.
	Departed map[string][2][]Departed
	// Patience is what was learnt, by uplink and family, as the last view of the
	// earlier run had it; 0 for none. It may be nil.
	Patience map[string][2]time.Duration
	// Lapses is the same of the patience with missing sources and gateways.
	Lapses map[string][2]time.Duration
	// Holds is what uplinks owed, by family, as the last view of the earlier run had
	// it, with its age of now. It may be nil.
	Holds map[string][2]Hold
}

// Departed is an uplink that a failback left so long ago.
type Departed struct {
	Uplink string
	Age    time.Duration
}

// Hold is what keeps a path from being up at its first answer after a restart.
type Hold struct {
	// Owes: it was down, and has not been up since.
	Owes bool
	// Points of damping as they were counted at its last down; 0 for none worth keeping.
	// Age is for how long ago that was, Held for how long from then it is held back; 0
	// for not at all.
	Points    float64
	Age, Held time.Duration
}

// LinkChanged reports an uplink's link as it was just read.
type LinkChanged struct {
	Uplink string
	Link   Link
}

// ProbeSent reports that a probe has left this machine. The step's instant is
// the time of sending.
type ProbeSent struct{ ID ProbeID }

// ProbeAnswered reports that a probe's answer was received.
type ProbeAnswered struct {
	ID ProbeID
	// RTT is the time from sending to answer, above 0.
	RTT time.Duration
}

// ProbeNotSent reports that a probe could not be sent, which is a reason to read
// the link and to probe again but no evidence about the path.
type ProbeNotSent struct {
	ID ProbeID
	// Cause in words, for whoever records the events.
	Cause string
	// Errno names the kernel's error, as EPERM; empty where there was none.
	Errno string
}

// Traffic is a hint from passing traffic.
type Traffic struct {
	Uplink string
	Family Family
	// Unanswered is when the first packet left after which nothing was received;
	// negative where no packet is unanswered.
	Unanswered Instant
	// Received is when established flows last received; negative while unknown.
	// From two remote hosts at least: a single one may be the provider's.
	Received Instant
	// Heard is when they last received anything new, from a single remote host at
	// least, while no other one was asked in vain; negative while unknown.
	Heard Instant
}

// Load reports the byte counters of interfaces, all read at the step's instant. They need
// be read only where an uplink has a rate and a policy overflows: four times a second, and
// more often for a second after the output has asked for one of these to be reread.
type Load struct{ Counts []Count }

// Count is what an uplink's interface has received and sent since it exists, in bytes.
type Count struct {
	Uplink string
	Rx, Tx uint64
}

// NeighborFailed reports that the kernel could not resolve the gateway.
type NeighborFailed struct {
	Uplink string
	Family Family
}

// Operator is a command of the operator.
type Operator struct {
	// Verb is one of Switch, Drain and Resume.
	Verb OperatorVerb
	// Uplink that the command is about; with Resume empty for all.
	Uplink string
	// Policy that a Switch is about; empty for all.
	Policy string
	// Until is the instant at which the command ends by itself; 0 for never.
	Until Instant
}

// Recall replaces what the operator has commanded by what a daemon remembers of it: at
// a start, and when it learns that its clock was wrong.
type Recall struct{ Commands []Command }

// Command is a command of the operator that stands.
type Command struct {
	// Verb is Switch or Drain; Resume of an uplink that is to be resumed once it is up.
	Verb   OperatorVerb
	Uplink string
	// Policy of a Switch; All: it was commanded for all of them.
	Policy string
	All    bool
	// Until is the instant at which it ends by itself; 0 for never.
	Until Instant
}

// OperatorVerb is what the operator commands.
type OperatorVerb uint8

// The operator's verbs.
const (
	// Switch puts the uplink first while it is viable.
	Switch OperatorVerb = iota
	// Drain keeps new flows off the uplink and moves no session.
	Drain
	// Resume ends both, and the hold by damping, whose penalty is forgotten. An uplink
	// that is recovering still has to be good for its time.
	Resume
)

func (Tick) event()           {}
func (Configure) event()      {}
func (Adopt) event()          {}
func (LinkChanged) event()    {}
func (ProbeSent) event()      {}
func (ProbeAnswered) event()  {}
func (ProbeNotSent) event()   {}
func (Traffic) event()        {}
func (Load) event()           {}
func (NeighborFailed) event() {}
func (Operator) event()       {}
func (Recall) event()         {}
