package failover

import "time"

// Many lines let only a few echo requests a second pass: routers protect themselves
// so, and providers their networks, while all other traffic is untouched. A burst, or
// the fast probing of a shunned path, then makes the silence that looks like an
// outage. If the path answers again soon after such a silence, twice in a minute, or
// if its regular probes are lost, a trial shows which it is: a series of probes that
// is much faster than the regular ones. A policer lets as many pass a second as
// before, a lossy line as large a share. Two such trials make the path policed: all
// its probes are then paced to what passes.

const (
	// trialProbes are sent in a trial, trialFaster times as fast as the regular ones, but
	// from leastTrial to mostTrial apart. The first ones, warmProbes, use up what the
	// policer has saved, and do not count.
	trialProbes = 40
	warmProbes  = 10
	trialFaster = 20
	leastTrial  = 2 * time.Millisecond
	mostTrial   = 16 * time.Millisecond
	// quickSilence is how long a silence may be that the probes themselves may have
	// caused; two of them within twoWithin lead to a trial.
	quickSilence = 3 * time.Second
	twoWithin    = time.Minute
	// suspiciousLoss is the loss of regular probes that leads to a trial.
	suspiciousLoss = 0.1
	// leastPassing is the share of regular probes that has to be answered for a trial
	// to tell anything, or none of them, which is up to nonePassing; leastPaced is the
	// least for a path that is paced already.
	leastPassing = 0.2
	nonePassing  = 0.03
	leastPaced   = 0.5
	// retryAfter is the time until the next trial after one that showed no policing,
	// renewAfter after one that did; confirmAfter is that until the second one.
	retryAfter   = 10 * time.Minute
	renewAfter   = 30 * time.Minute
	confirmAfter = 5 * time.Second
	// longTrialPause is the pause of this machine that makes a trial void.
	longTrialPause = 100 * time.Millisecond
	// tentativeGap is the time between two probes of a path while a trial is under way
	// or has to be confirmed by an answer, for answerWithin at most.
	tentativeGap = 300 * time.Millisecond
	answerWithin = 5 * time.Second
	// pacedShare is the share of what passes that is used, mostGap the greatest time
	// between two probes.
	pacedShare = 0.7
	mostGap    = 2500 * time.Millisecond
	// pacedBurst is the number of late probes by which a suspicion of a paced path is
	// confirmed. Chance makes them late as rarely as a burst of nine on one path in
	// thousands of suspicions; more would take too long.
	pacedBurst = 4
	// leastOfPace is the number of samples after which a pace is judged by their loss.
	leastOfPace = 10
)

// trialStage is how far a trial has come. The set is closed.
type trialStage uint8

const (
	noTrial trialStage = iota
	sendingTrial
	// awaitingProof: hardly any of it was answered, which is policing if the path
	// works.
	awaitingProof
)

// policing is what is known of a limit on a path's echo requests.
type policing struct {
	// gap is the time between any two probes of the path; 0 where they are not paced.
	// next is when the next one may leave.
	gap  time.Duration
	next Instant
	// spacingBefore is the gap before the trial.
	spacingBefore time.Duration
	// rate is how many passed a second in the latest trial that showed a limit;
	// confirmed that a second trial showed one too.
	rate      float64
	confirmed bool
	stage     trialStage
	// left counts the probes of the trial that are still to be sent, open those that
	// count and have no outcome yet, passed those that were answered.
	left, open, passed int
	turn               int // the target of the last
	// sendAt is when the next one is due; first and last are when those that count
	// were sent.
	sendAt, first, last Instant
	// stageEnd ends the stage whatever happens.
	stageEnd Instant
	// quick is when the last quick silence ended; notBefore is when the next trial may
	// begin, wanted that one is to begin then.
	quick, notBefore Instant
	// unpoliced is when the last trial has shown that what is lost is the line's; never
	// where none has since the path was last paced.
	unpoliced Instant
	wanted    bool
}

var noPolicing = policing{quick: never, notBefore: never, unpoliced: never}

// paced reports whether the path's probes are paced.
func (l *policing) paced() bool { return l.gap > 0 }

// silenceEnded notes a silence that ended by an answer.
func (l *policing) silenceEnded(now Instant, silence time.Duration) {
	if silence > quickSilence {
		return
	}
	if l.quick != never && now-l.quick <= twoWithin {
		l.wanted = true
	}
	l.quick = now
}

// review begins a trial where one is due, and draws the conclusions of one that has
// ended.
func (l *policing) review(t *turn, p *path) {
	switch l.stage {
	case noTrial:
		l.adapt(t, p)
		if l.due(t.now, p) {
			l.begin(t, p)
		}
	case sendingTrial:
		if l.left > 0 && t.now < l.stageEnd || l.open > 0 && t.now < l.stageEnd {
			return
		}
		l.evaluate(t, p)
	case awaitingProof:
		switch {
		case p.provenSince(l.stageEnd - answerWithin):
			l.found(t, p)
		case t.now >= l.stageEnd:
			l.release(t, p, retryAfter/10)
		}
	}
}

// due reports whether a trial is to begin. It needs a path that answers at the usual
// speed: in a full queue nearly all is lost as well.
func (l *policing) due(now Instant, p *path) bool {
	passing, known := l.share(p)
	why := false
	switch {
	case l.paced():
		why = known && passing >= leastPaced
	case l.wanted:
		// Where bursts and fast probing take all that passes, no regular probe does.
		why = !known || passing >= leastPassing || passing <= nonePassing
	default:
		why = known && passing >= leastPassing && passing <= 1-suspiciousLoss
	}
	return why && now >= l.notBefore && p.schedule.probing && p.schedule.interval <= quickSilence && !p.gap.open && !p.unsent.blind &&
		p.class().Answering() && p.state != Suspect && p.delay < leastQueueing && p.up.bucket.holds(now, 2*trialProbes)
}

// share returns the share of the regular probes that were answered, once there are
// enough of them.
func (l *policing) share(p *path) (share float64, known bool) {
	if w := &p.window; w.known() || l.paced() && w.n >= leastOfPace {
		return 1 - w.total.loss(), true
	}
	return 0, false
}

func (l *policing) begin(t *turn, p *path) {
	l.stage, l.left, l.open, l.passed, l.sendAt, l.wanted = sendingTrial, trialProbes, 0, 0, t.now, false
	l.stageEnd = t.now + trialProbes*mostTrial + p.up.cfg.Probe.LostAfter + quickSilence
	l.spacingBefore = l.gap
	if l.gap == 0 {
		l.gap = tentativeGap
	}
	p.burst.close(t.now)
	p.touched = true
}

// send requests the probe of a trial that is due.
func (l *policing) send(t *turn, p *path, fs *flights) {
	if l.stage != sendingTrial || l.left == 0 || t.now < l.sendAt {
		return
	}
	l.sendAt = t.now + trialSpacing(p)
	for range p.targets {
		l.turn = (l.turn + 1) % len(p.targets)
		if !p.targets[l.turn].aside {
			break
		}
	}
	kind := warming
	if l.left <= trialProbes-warmProbes {
		kind = trial
		if l.left == trialProbes-warmProbes {
			l.first = t.now
		}
		l.last = t.now
		l.open++
	}
	l.left--
	p.up.bucket.spend(t.now)
	fs.request(t, p, l.turn, kind)
}

// trialSpacing is the time between two probes of a trial of a path.
func trialSpacing(p *path) time.Duration {
	regular := p.schedule.interval / time.Duration(max(1, p.targets.active()))
	return min(max(regular/trialFaster, leastTrial), mostTrial)
}

// conclude counts a probe of the trial that is late or answered, or was not sent.
func (l *policing) conclude(f *flight, answered bool) {
	if f.kind != trial || f.late || l.stage != sendingTrial {
		return
	}
	l.open--
	if answered {
		l.passed++
	}
}

// evaluate ends the sending of a trial.
func (l *policing) evaluate(t *turn, p *path) {
	const counted = trialProbes - warmProbes
	passing := float64(l.passed) / counted
	share, known := l.share(p)
	// What passed of the regular probes passes at least.
	spacing := max(p.schedule.interval/time.Duration(max(1, p.targets.active())), l.spacingBefore)
	least := share / spacing.Seconds()
	if !known || share <= nonePassing {
		share, least = leastPaced, 0
	}
	if l.left > 0 || l.open > 0 || passing > share/3 || p.delay >= leastQueueing {
		shown := l.left == 0 && l.open == 0 && p.delay < leastQueueing
		l.release(t, p, retryAfter)
		if shown {
			l.unpoliced = t.now
		}
		return
	}
	l.rate = max(1, least, float64(l.passed)/(l.last-l.first+trialSpacing(p)).Seconds())
	l.stage, l.stageEnd = awaitingProof, t.now+answerWithin
}

// found concludes that the path is policed: what was lost before says nothing.
func (l *policing) found(t *turn, p *path) {
	second := l.gap != tentativeGap
	l.stage = noTrial
	l.pace()
	l.notBefore = t.now + confirmAfter
	if second {
		l.confirmed = true
		l.notBefore = t.now + renewAfter
	}
	p.window.reset(len(p.targets))
	p.touched = true
}

// release ends the pacing.
func (l *policing) release(t *turn, p *path, again time.Duration) {
	*l = policing{quick: never, notBefore: t.now + again, turn: l.turn, unpoliced: never}
	if p.burst.open {
		p.burst.close(t.now)
		if p.state == Suspect {
			p.startBurst(t)
		}
	}
	p.touched = true
}

// adapt slows a paced path down whose probes are still lost. At the slowest pace, or
// where hardly any is answered, the loss is the line's.
func (l *policing) adapt(t *turn, p *path) {
	share, known := l.share(p)
	switch {
	case !l.paced() || !known:
	case share < leastPassing, share < leastPaced && l.gap >= mostGap:
		l.release(t, p, retryAfter)
	case share < 1-2*suspiciousLoss && l.gap < mostGap:
		l.rate = share / l.gap.Seconds()
		l.pace()
		p.window.reset(len(p.targets))
	}
}

// pace spaces the probes by what passes.
func (l *policing) pace() {
	l.gap = min(time.Duration(float64(time.Second)/(l.rate*pacedShare)), mostGap)
}

// sendPaced requests the one probe of a paced path that may leave now: of the target
// that waits longest, and a regular one if it is due.
func (l *policing) sendPaced(t *turn, p *path, fs *flights) {
	hurry := p.burst.open && p.burst.rounds > 0 || fastInterval(p, t.now) > 0
	next := -1
	for i := range p.targets {
		tg := &p.targets[i]
		tg.ask = 0
		if (next < 0 || tg.next < p.targets[next].next) && !(tg.aside && tg.next > t.now) {
			next = i
		}
	}
	if t.now < l.next || next < 0 || p.targets[next].next > t.now && !hurry {
		return
	}
	l.next = t.now + l.gap
	kind := regular
	if p.targets[next].next > t.now {
		kind = extra
	}
	p.targets[next].next = p.schedule.slot(next, len(p.targets), max(t.now, p.targets[next].next))
	if p.burst.open {
		p.burst.rounds = max(p.burst.rounds-1, 0)
	}
	fs.request(t, p, next, kind)
}

// plan returns when the next probe of a paced path, or of a trial, is due.
func (l *policing) plan(now Instant, p *path) Instant {
	due := forever
	if l.stage == sendingTrial && l.left > 0 {
		due = l.sendAt
	}
	switch {
	case l.stage != noTrial:
		due = min(due, max(l.stageEnd, now+1))
	case l.wanted || l.gap > 0:
		if l.notBefore > now {
			due = l.notBefore
		}
	}
	if l.gap == 0 {
		return due
	}
	next := forever
	for i := range p.targets {
		next = min(next, p.targets[i].next)
	}
	if p.burst.open && p.burst.rounds > 0 || fastInterval(p, now) > 0 {
		next = now
	}
	return min(due, max(next, l.next, now+1))
}

// postpone ends a trial that was under way in a pause of this machine: after that what
// waited is sent at once.
func (l *policing) postpone(t *turn, p *path, by time.Duration) {
	if l.stage == sendingTrial && by > longTrialPause {
		l.release(t, p, confirmAfter)
	}
}
