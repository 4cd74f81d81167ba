package failover

import "time"

// Event is something that happened, handed to [Engine.Step]. The set is closed.
type Event interface{ event() }

// Tick is the passing of time alone.
type Tick struct{}

// Configure replaces the configuration. Uplinks that stay keep what is known
// of them.
type Configure struct{ Config Config }

// Adopt tells, once and before any link is known, what the kernel holds from
// an earlier run, so that a restart moves nothing.
type Adopt struct {
	// Carrying names, by policy, the uplinks of the first rung in each family.
	Carrying map[string][2][]string
	// Lost names the uplinks whose sessions had been moved, by policy and family.
	Lost map[string][2][]string
	// Patience is what was learnt by uplink and family, as the view told it
	// last; 0 or an unknown name for none. It may be nil.
	Patience map[string][2]time.Duration
}

// LinkChanged tells an uplink's link as it was just read.
type LinkChanged struct {
	Uplink string
	Link   Link
}

// ProbeSent tells that a probe has left this machine. The step's instant is
// the time of sending.
type ProbeSent struct{ ID ProbeID }

// ProbeAnswered tells that a probe's answer came in.
type ProbeAnswered struct {
	ID ProbeID
	// RTT is the time from sending to answer, above 0.
	RTT time.Duration
}

// ProbeNotSent tells that a probe could not be sent, which is a reason to look
// but no evidence about the path.
type ProbeNotSent struct {
	ID ProbeID
	// Cause in words, for the evidence.
	Cause string
}

// Traffic is a hint from passing traffic.
type Traffic struct {
	Uplink string
	Family Family
	// Unanswered is when the first packet left after which nothing came back;
	// negative where nothing waits for an answer.
	Unanswered Instant
	// Received is when established flows last received; negative while unknown.
	Received Instant
}

// NeighborFailed tells that the kernel could not resolve the gateway.
type NeighborFailed struct {
	Uplink string
	Family Family
}

// Applied tells what came of an intent. It changes nothing for the engine: what is
// right for the uplinks does not depend on what a kernel takes. It is there so that
// a recorded sequence of events is whole.
type Applied struct {
	Generation uint64
	// Err is empty when the kernel holds the intent, else says what it refused.
	Err string
}

// Operator is a word of the operator's hand.
type Operator struct {
	// Verb is one of Switch, Drain and Resume.
	Verb OperatorVerb
	// Uplink that is meant; empty with Resume means all.
	Uplink string
	// Policy that is meant; empty means all.
	Policy string
	// Until is the instant at which it ends by itself; 0 for never.
	Until Instant
}

// OperatorVerb is what the operator asks for.
type OperatorVerb uint8

// The operator's verbs.
const (
	// Switch puts the uplink first while it is viable.
	Switch OperatorVerb = iota
	// Drain keeps new flows away from the uplink and moves none.
	Drain
	// Resume takes both back.
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
func (NeighborFailed) event() {}
func (Applied) event()        {}
func (Operator) event()       {}
