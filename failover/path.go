package failover

import "time"

// path is one uplink in one family: what is probed and judged. Others read it;
// only its own methods change it.
type path struct {
	up       *uplink
	family   Family
	cfg      FamilyConfig
	targets  targets
	air      air
	schedule schedule

	// Health. base is the state in which a suspicion found the path, baseReason
	// and baseSince are that state's: an unfounded suspicion leaves them unchanged.
	state, base State
	reason      string
	since       Instant
	baseReason  string
	baseSince   Instant
	// suspicions counts the suspicions since the start.
	suspicions uint64
	// evidence is where the evidence for the present state starts: when the first
	// unanswered probe was sent, or the kernel's event; never where it has no meaning.
	evidence Instant
	// paused is by how much pauses of this machine have postponed silent.
	paused time.Duration
	// seen: the family is, or once was, offered here.
	seen bool
	// proven: a quorum has answered at some time since the start.
	proven bool
	// vouched: an earlier run may have left sessions on it.
	vouched bool
	// gap is a lapse of its link.
	gap gap
	// withdrawn is since when its gateway's route is gone; never while it stands.
	// looked: that was a reason for suspicion.
	withdrawn Instant
	looked    bool
	// cause of a suspicion that is yet to be acted on; empty for none.
	cause string
	// silent is when the first unanswered probe, or packet, of the present silence
	// was sent.
	silent Instant
	// drained is when what waited to be read during a pause has been: a down waits.
	drained Instant
	// mark is the step after which answers count for the next judgement,
	// doubted the same for the whole of a suspicion and what follows it.
	mark, doubted uint64
	// lateSent is when the newest late probe was sent, cameAt when the path last
	// began to answer.
	lateSent, cameAt Instant
	// suspectAt is when the suspicion, or its latest renewal, began.
	suspectAt Instant
	answered  Instant // the last time
	// received is when established flows last received from two hosts at least, heard
	// when from any.
	received, heard Instant
	// delay is the round trip time of the last answer, however late it was.
	delay    time.Duration
	unsent   unsent
	policing policing
	burst    burst
	recovery recovery
	patience patience
	// silences are those of the last day; heldOff is how long one has to last before it is
	// a verdict.
	silences silences
	heldOff  time.Duration
	// lapses is the patience with gaps, unless that with silence is longer.
	lapses  patience
	damping damping
	brown   brownOut
	window  window
	limits  limits

	// touched asks for the path to be judged and probed in this step; whoever
	// changes it sets it. due is when that is next needed anyway.
	touched bool
	due     Instant
}

func newPath(u *uplink, f Family) path {
	p := path{
		up: u, family: f, state: Unknown, evidence: never, silent: never, drained: never, suspectAt: never, answered: never,
		lateSent: never, cameAt: never, received: never, heard: never, withdrawn: never, recovery: noRecovery, unsent: noneUnsent, policing: noPolicing, touched: true, due: forever,
	}
	p.schedule.fastUntil, p.schedule.movedAt = never, never
	p.burst.ended = never
	p.damping.heldUntil = never
	p.silences.lesson.due = never
	return p
}

// miss counts a late probe, and reports whether an answer was expected: from a
// target that answers, or where no other one does, or while a suspicion is judged.
func (p *path) miss(f *flight) (t *target, expected bool) {
	t = &p.targets[f.target]
	expected = t.misses < failing || p.state == Suspect || p.state == Shunned ||
		p.targets.count((*target).answering) == 0
	if t.fresh < f.sent {
		t.tried = true
		t.misses++
		t.hits = 0
	}
	p.lateSent = max(p.lateSent, f.sent)
	return t, expected
}

// suspect records that what was sent at an instant has no answer: a reason for
// suspicion where nothing indicated a fault so far.
func (p *path) suspect(sent Instant, cause string) {
	switch p.state {
	case Suspect, Shunned:
	case Unknown, Up, Degraded, Recovering:
		if p.cause != "" || p.stranger() {
			return
		}
		p.cause = cause
	case Absent, Down:
		return
	}
	if p.silent == never {
		p.silent = sent
	}
}

// traffic handles a hint. Traffic that leaves for longer than an answer takes,
// while nothing is received and no probe is answered either, is a reason for
// suspicion.
func (p *path) traffic(t *turn, ev Traffic) {
	p.received = max(p.received, min(ev.Received, t.now))
	p.heard = max(p.heard, p.received, min(ev.Heard, t.now))
	p.touched = true
	silence := t.now - ev.Unanswered
	if ev.Unanswered < 0 || silence <= p.targets.slowest(p.up.cfg.Probe.LostAfter) || !p.schedule.probing ||
		p.provenSince(ev.Unanswered) {
		return
	}
	if silence >= min(p.patience.now(), unansweredAfter) {
		p.unsent.unanswered = t.now
	}
	p.suspect(ev.Unanswered, "traffic leaves and nothing returns for "+span(silence))
}

// neighborFailed handles a gateway that does not resolve: a reason for suspicion.
func (p *path) neighborFailed(t *turn) {
	p.up.reread(t)
	p.touched = true
	p.unsent.unresolved = t.now
	if p.schedule.probing && p.cause == "" && !p.stranger() {
		p.cause = "the gateway does not resolve"
	}
}

// answer counts an answer for its target, and for the window where it is that of
// a regular probe.
func (p *path) answer(t *turn, f *flight, rtt time.Duration) *target {
	if f.kind == regular && p.answered != never && p.silences.prove(min(t.now-p.answered, mostProof)) {
		applySilences(p)
	}
	tg := &p.targets[f.target]
	tg.tried = true
	tg.misses = 0
	tg.hits++
	tg.fresh = max(tg.fresh, f.sent)
	tg.answeredAt = t.step
	tg.fault = Fault{}
	p.answered = t.now
	p.delay = min(rtt, mostDelay)
	p.touched = true
	if !tg.rtt.known() {
		tg.ask = acquaintance
		tg.askNext = t.now + p.up.spacing()
	}
	if f.kind != fast {
		tg.rtt.add(min(rtt, p.up.cfg.Probe.LostAfter))
	}
	switch {
	case f.kind != regular:
	case f.lost:
		// It was not lost but late.
		p.window.amend(f.lostAt, int(f.target), rtt, tg.deviation(rtt))
	default:
		p.sample(t.now, int(f.target), rtt)
	}
	if tg.rtt.samples > acquaintance {
		tg.ask = 0
	}
	return tg
}

// sample adds a regular probe's outcome to the window; rtt is 0 when the probe
// was lost. What a path loses before its first answer is no loss of the line.
func (p *path) sample(now Instant, target int, rtt time.Duration) {
	if rtt == 0 && p.stranger() {
		return
	}
	t := &p.targets[target]
	dev := time.Duration(-1)
	if rtt > 0 {
		dev = t.deviation(rtt)
	}
	if !t.aside {
		p.window.push(sample{at: now, rtt: rtt, dev: dev, target: target}, p.up.cfg.Health.Window)
	}
}

// deviation returns the difference of an RTT to the previous one, negative for none,
// and keeps it for the next.
func (t *target) deviation(rtt time.Duration) time.Duration {
	dev := time.Duration(-1)
	if t.lastRTT > 0 {
		dev = (rtt - t.lastRTT).Abs()
	}
	t.lastRTT = rtt
	return dev
}

// flush makes the probes in flight void: the conditions under which they were
// sent are gone.
func (p *path) flush() {
	p.air.epoch++
	p.air.open = p.air.open[:0]
	p.cause = ""
	p.silent, p.paused = never, 0
}

// quorum is how many targets must answer, among those not set aside.
func (p *path) quorum() int { return max(1, min(p.cfg.Quorum, p.targets.active())) }

// answeredSince reports whether a quorum of targets answered after a step.
func (p *path) answeredSince(step uint64) bool { return p.targets.answered(step) >= p.quorum() }

// provenSince reports whether a quorum answered probes sent at or after an
// instant. Where nothing is probed the state of the link is all that is known.
func (p *path) provenSince(at Instant) bool {
	if len(p.targets) == 0 {
		return true
	}
	return p.targets.count(func(t *target) bool { return t.fresh >= at }) >= p.quorum()
}

// class is the state by which the path is ranked: a suspicion changes nothing.
func (p *path) class() State {
	state := p.state
	if state == Suspect {
		state = p.base
	}
	if p.state == Down && p.brown.heard && !p.cut() {
		return Degraded // it answers, with much loss
	}
	if state == Unknown && p.unsent.blind {
		return p.unsent.base
	}
	return state
}

// routable reports whether the path can have a place in a ladder.
func (p *path) routable() bool {
	return p.up.cfg.Enabled && p.cfg.Enabled && p.up.known &&
		(p.up.link.Routable(p.family) || p.gap.open && p.up.link.Lapsed(p.family))
}

// cut reports whether the kernel itself says that nothing can pass.
func (p *path) cut() bool { return !p.routable() || !p.up.link.Carrier }

// target is one probe target of a path.
type target struct {
	name string
	rtt  estimate
	next Instant // of its regular probes
	// tried: a probe was answered or late. misses counts the late probes since
	// the last answer, hits the answers since the last miss.
	tried        bool
	misses, hits int
	// fresh is when the newest probe that was answered was sent, answeredAt the
	// step of the last answer.
	fresh      Instant
	answeredAt uint64
	// lastRTT is that of the previous regular probe; 0 for none.
	lastRTT time.Duration
	// aside: it fails by every uplink and counts for nothing meanwhile.
	aside bool
	// unsent counts the probes that could not be sent since the last one that was, the
	// latest for the reason in errno and cause.
	unsent       int
	errno, cause string
	// fault of its latest probe.
	fault Fault
	// ask counts the inquiries left to send to it, askNext is when.
	ask     int
	askNext Instant
}

// failing is how many misses in a row make a target one that does not answer.
const failing = 3

// answering reports whether the target is considered to answer.
func (t *target) answering() bool { return t.tried && t.fresh != never && t.misses < failing }

// targets are all those of a path. Those set aside count for nothing.
type targets []target

// find returns the target of a name, or nil.
func (ts targets) find(name string) *target {
	for i := range ts {
		if ts[i].name == name {
			return &ts[i]
		}
	}
	return nil
}

// active counts the targets that are not set aside.
func (ts targets) active() int {
	n := 0
	for i := range ts {
		if !ts[i].aside {
			n++
		}
	}
	return n
}

// count counts the targets not set aside for which f holds.
func (ts targets) count(f func(*target) bool) int {
	n := 0
	for i := range ts {
		if t := &ts[i]; !t.aside && f(t) {
			n++
		}
	}
	return n
}

// answered counts the targets that answered after a step and missed nothing since.
func (ts targets) answered(step uint64) int {
	return ts.count(func(t *target) bool { return t.answeredAt > step && t.misses == 0 })
}

// othersAnswer reports whether the path answers apart from one target: another
// one's latest probe was answered, and not before the silence of this one began.
func (ts targets) othersAnswer(t *target) bool {
	for i := range ts {
		o := &ts[i]
		if o != t && !o.aside && o.misses == 0 && o.fresh > t.fresh {
			return true
		}
	}
	return false
}
