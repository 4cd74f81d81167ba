package failover

import (
	"slices"
	"time"
)

// How long the silences of a line are teaches how long one has to be to mean anything.
// The longest ones of each hour are remembered for a day. From them follow the patience,
// where the configuration leaves it to be learnt, and how long the first verdict holds
// off so that the line's usual short stalls are no verdict at all.

const (
	// rememberedHours is how many whole hours with evidence are remembered.
	rememberedHours = 24
	// ofHour is how many silences of an hour are: the third longest is one that
	// happens, with those above it, some fifty times a day.
	ofHour = 3
	// mostProof bounds the time for which the answer of a regular probe is evidence
	// that there was no silence: where probes are rarer, a short one was not seen.
	mostProof = 500 * time.Millisecond
	// leastLearnt is the least patience that can be learnt.
	leastLearnt = 200 * time.Millisecond
	// mostHeldOff bounds by how much the first verdict can be held off.
	mostHeldOff = 500 * time.Millisecond
	// settled is how long a line must be well after a silence for it to teach: what goes
	// on afterwards is loss, and no length of it would be one to wait for.
	settled = 5 * time.Second
	// warmUp is the time after the link came in which an answer may be slow for reasons
	// that are over then, such as a radio that attaches.
	warmUp = 10 * time.Second
	// precision of what is remembered.
	precision = 10 * time.Millisecond
)

// Hour has the longest silences of an hour with evidence, the longest first; 0 where
// there were fewer. They last from the first unanswered sending to the first answer.
type Hour [ofHour]time.Duration

// silences are the longest silences of a path in the last day.
type silences struct {
	// hours are the whole ones, oldest first.
	hours []Hour
	// present is the hour that goes on, and evidence how much of it there is so far.
	present  Hour
	evidence time.Duration
	lesson   lesson
}

// lesson is what a silence teaches if nothing follows it.
type lesson struct {
	// due is when it counts; never for none.
	due    Instant
	length time.Duration
	// doubles: it was a down and only a stall.
	doubles bool
}

// prove counts evidence that there was no silence for some time, and reports whether
// that completes an hour.
func (s *silences) prove(by time.Duration) bool {
	s.evidence += by
	if s.evidence < time.Hour {
		return false
	}
	s.evidence = 0
	s.hours = append(s.hours, s.present)
	s.hours = s.hours[max(0, len(s.hours)-rememberedHours):]
	s.present = Hour{}
	return true
}

// add remembers a silence.
func (s *silences) add(length time.Duration) {
	length = (length + precision - 1).Truncate(precision)
	for i, other := range s.present {
		if length > other {
			s.present[i], length = length, other
		}
	}
}

// addDelayed remembers a silence that a full queue, or another way, made. That is waited for
// while it lasts, so its length teaches nothing; but a line that has such is none on which a
// short silence means much.
func (s *silences) addDelayed(length time.Duration) {
	s.present[0] = max(s.present[0], min(length, leastLearnt))
}

// list returns what is remembered, the present hour last; nil for nothing.
func (s *silences) list() []Hour {
	if len(s.hours) == 0 && s.present == (Hour{}) {
		return nil
	}
	return append(slices.Clone(s.hours), s.present)
}

// restore continues with what was remembered before a restart.
func (s *silences) restore(list []Hour) {
	if len(list) == 0 {
		return
	}
	whole := list[:len(list)-1]
	s.hours = slices.Clone(whole[max(0, len(whole)-rememberedHours):])
	s.present = list[len(list)-1]
}

// patience returns how long to wait for an answer before sessions are moved; first is
// that of a line of which too little is known. A day without a longer silence makes it
// two and a half times the longest one. A stall that was seen twice in a day should be
// no down, so it is a quarter longer than the second longest in any case.
func (s *silences) patience(first time.Duration) time.Duration {
	longest, second := s.present[0], s.present[1]
	for _, h := range s.hours {
		second = max(second, min(longest, h[0]), h[1])
		longest = max(longest, h[0])
	}
	wait := first
	if len(s.hours) == rememberedHours {
		wait = min(max(leastLearnt, longest*5/2), first)
	}
	return max(wait, min(second*5/4, mostPatience))
}

// holdOff returns for how long a silence has to last before it is a verdict: so long
// that the silences which a line has time and again are none, except two an hour. Those
// that are too long to wait for hold nothing off.
func (s *silences) holdOff() time.Duration {
	var usual time.Duration
	for _, h := range append(s.hours[:len(s.hours):len(s.hours)], s.present) {
		if often := h[ofHour-1]; heldOff(often) <= mostHeldOff {
			usual = max(usual, often)
		}
	}
	if usual == 0 {
		return 0
	}
	return heldOff(usual)
}

// heldOff leaves a margin above a silence that happens often.
func heldOff(silence time.Duration) time.Duration { return silence*11/10 + 20*time.Millisecond }

// silenceEnded notes what the silence that has just ended by an answer will teach, if
// the line is well from now on. An outage teaches nothing, nor do the first moments of a
// link, nor a silence among losses.
func silenceEnded(p *path, now Instant) {
	stalled := p.state == Down && p.recovery.lacked == nil && now <= p.recovery.stallUntil
	if p.silent == never || p.gap.healed || p.unsent.blind || p.base == Degraded || p.state == Down && !stalled ||
		warmingUp(p) || p.window.lossy(p.silent, p.up.cfg.Probe.LostAfter) {
		return
	}
	l := &p.silences.lesson
	if l.due == never {
		*l = lesson{due: now + settled}
	}
	l.length = max(l.length, now-p.silent)
	l.doubles = l.doubles || stalled
}

// learn draws the lesson of a silence, once the line was well since, or not.
func learn(p *path, now Instant) {
	l := p.silences.lesson
	if now < l.due || l.due == never {
		return
	}
	p.silences.lesson = lesson{due: never}
	if p.window.lostSince(l.due-settled+p.up.cfg.Probe.LostAfter) >= mostLostAfter {
		return
	}
	before := p.patience.now()
	if p.delay < leastQueueing {
		p.silences.add(l.length)
	} else {
		p.silences.addDelayed(l.length)
	}
	applySilences(p)
	if l.doubles {
		p.patience.raise(now, 2*before)
	}
}

// applySilences makes what is remembered take effect, where the configuration leaves the
// times to be learnt.
func applySilences(p *path) {
	p.patience.least, p.heldOff = configuredPatience(p), 0
	if p.up.cfg.Health.LearnPatience {
		p.patience.least = p.silences.patience(p.patience.least)
		p.heldOff = min(p.silences.holdOff(), p.patience.least)
	}
}

// configuredPatience is that of the configuration, before anything is learnt.
func configuredPatience(p *path) time.Duration {
	return max(p.up.cfg.Health.Patience, time.Millisecond)
}

// warmingUp reports whether the present silence began while the link was new.
func warmingUp(p *path) bool {
	return p.silent != never && p.silent < p.schedule.began+warmUp
}

const (
	// lossySpan is the time before a silence that tells whether it was one among losses:
	// lossyShare of the probes, and lossyLeast of them at least, were lost.
	lossySpan  = 10 * time.Second
	lossyShare = 0.1
	lossyLeast = 4
	// mostLostAfter is how many losses in the time after a silence make it no lesson.
	mostLostAfter = 3
)

// lossy reports whether the time before an instant was one of losses. A lost sample is
// in the window once it is older than lostAfter.
func (w *window) lossy(before Instant, lostAfter time.Duration) bool {
	lost, n := 0, 0
	for s := range w.latest() {
		sent := s.at - s.rtt
		if s.rtt == 0 {
			sent = s.at - lostAfter
		}
		if sent < before-lossySpan-lostAfter {
			break
		}
		if sent >= before || sent < before-lossySpan {
			continue
		}
		n++
		if s.rtt == 0 {
			lost++
		}
	}
	return lost >= lossyLeast && float64(lost) >= lossyShare*float64(n)
}

// lostSince counts the samples that were lost since an instant.
func (w *window) lostSince(at Instant) int {
	lost := 0
	for s := range w.latest() {
		if s.at < at {
			break
		}
		if s.rtt == 0 {
			lost++
		}
	}
	return lost
}
