package failover

import "time"

// uplink is what the engine holds of one uplink.
type uplink struct {
	index int
	cfg   Uplink
	// known: its link was told at least once.
	known bool
	link  Link
	// ifname is the interface's last known name, for the reason when it is gone.
	ifname string
	paths  [2]path
	bucket bucket
	// carries: it is in the first rung of some ladder.
	carries bool
	drained override
	reread  Instant
}

// path is one uplink in one family: what is probed and judged. The themes of
// its fields have their own files: flight.go, burst.go, window.go, health.go.
type path struct {
	up      *uplink
	family  Family
	cfg     FamilyConfig
	targets []target
	// epoch counts the times that what was in the air became void.
	epoch uint32
	open  []ProbeID

	// The schedule.
	interval time.Duration
	phase    time.Duration
	probing  bool
	fastNext Instant
	fastTurn int
	// fastUntil ends the fast probing that follows a down.
	fastUntil Instant

	// Health.
	state, base State
	reason      string
	since       Instant
	// baseReason and baseSince are those of base: a suspicion that comes to
	// nothing leaves them as they were.
	baseReason string
	baseSince  Instant
	// evidence is where the evidence of the present state starts: the first
	// unanswered sending, or the kernel's event; never where it has no meaning.
	evidence Instant
	seen     bool
	// proven: a quorum has answered at some time since the start.
	proven bool
	// cause of a suspicion that is yet to be acted on; empty for none.
	cause string
	// silent is the first unanswered sending of the present silence.
	silent Instant
	// mark is the step after which answers count for the next judgement,
	// doubted the same for the whole of a suspicion and what follows it.
	mark, doubted uint64
	// lateSent is the newest sending that was late, cameAt when the path last
	// began to answer.
	lateSent, cameAt Instant
	// suspectAt is when the suspicion, or its latest renewal, began.
	suspectAt Instant
	answered  Instant
	burst     burst
	recovery  recovery
	patience  patience
	damping   damping
	window    window
	// calm is the version of the window that was found within all limits: it need
	// not be judged again before it changes.
	calm uint64
	// worst is the figure that was last over its limit.
	worst int
	// received is when established flows last received.
	received Instant

	touched bool
	due     Instant
}

// target is one probe target of a path.
type target struct {
	name string
	rtt  estimate
	next Instant
	// tried: a probe was answered or late. misses counts the late probes since
	// the last answer, hits the answers since the last miss.
	tried        bool
	misses, hits int
	// fresh is the newest sending that was answered, answeredAt the step of the
	// last answer.
	fresh      Instant
	answeredAt uint64
	// lastRTT is that of the regular probe before; 0 for none.
	lastRTT time.Duration
	aside   bool
	// ask counts the probes still to send because another uplink misses it.
	ask     int
	askNext Instant
}

// failing is how many misses in a row make a target one that does not answer.
const failing = 3

// answering reports whether the target is taken to answer.
func (t *target) answering() bool { return t.tried && t.fresh != never && t.misses < failing }

// active counts the targets that are not set aside.
func (p *path) active() int {
	n := 0
	for i := range p.targets {
		if !p.targets[i].aside {
			n++
		}
	}
	return n
}

// quorum is how many targets must answer, among those not set aside.
func (p *path) quorum() int { return max(1, min(p.cfg.Quorum, p.active())) }

// count counts the targets not set aside for which f holds.
func (p *path) count(f func(*target) bool) int {
	n := 0
	for i := range p.targets {
		if t := &p.targets[i]; !t.aside && f(t) {
			n++
		}
	}
	return n
}

// answeredSince reports whether a quorum of targets answered after a step.
func (p *path) answeredSince(seq uint64) bool {
	n := p.count(func(t *target) bool { return t.answeredAt > seq && t.misses == 0 })
	return n >= p.quorum()
}

// provenSince reports whether a quorum answered probes sent at or after an
// instant. Where nothing is probed the link's word is all there is.
func (p *path) provenSince(at Instant) bool {
	if len(p.targets) == 0 {
		return true
	}
	return p.count(func(t *target) bool { return t.fresh >= at }) >= p.quorum()
}

// class is the state by which the path is ranked: a suspicion changes nothing.
func (p *path) class() State {
	if p.state == Suspect {
		return p.base
	}
	return p.state
}

// live reports whether traffic may be on the path as far as is known.
func (p *path) live() bool { return p.class().Answering() || p.class() == Unknown }

// routable reports whether the path can have a place in a ladder.
func (p *path) routable() bool {
	return p.up.cfg.Enabled && p.cfg.Enabled && p.up.known && p.up.link.Routable(p.family)
}

// cut reports whether the kernel itself says that nothing can pass.
func (p *path) cut() bool { return !p.routable() || !p.up.link.Carrier }
