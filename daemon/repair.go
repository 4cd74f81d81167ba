package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
)

// The pace of repairs. Other programs delete in bursts, and one repair should
// cover a burst; where one deletes again and again, each repair waits longer,
// so that two programs do not wear the machine out between them.
const (
	repairAfter = 20 * time.Millisecond
	repairFirst = 100 * time.Millisecond
	repairMost  = 10 * time.Second
	repairCalm  = time.Minute
)

// repairs paces the looks at the kernel that hints ask for.
type repairs struct {
	// at is when to look; 0 for no reason to.
	at failover.Instant
	// last is the last try to mend, and pause what has to lie between it and the next.
	last  failover.Instant
	pause time.Duration
}

// hint notes that the kernel may hold something else than it should.
func (r *repairs) hint(now failover.Instant) {
	if r.at == 0 {
		r.at = max(now+repairAfter, r.last+r.pause)
	}
}

// due reports whether it is time to look.
func (r *repairs) due(now failover.Instant) bool { return r.at != 0 && now >= r.at }

// next is when to look, far away when there is no reason to.
func (r *repairs) next() failover.Instant {
	if r.at == 0 {
		return 1 << 62
	}
	return r.at
}

// looked notes that the kernel was compared, and whether something was to be done.
func (r *repairs) looked(now failover.Instant, needed bool) {
	r.at = 0
	if now-r.last > repairCalm {
		r.pause = 0
	}
	if needed {
		r.pause = min(max(2*r.pause, repairFirst), repairMost)
		r.last = now
	}
}

// taken is what others took from the kernel and is not back yet.
type taken struct {
	lines []string
	since failover.Instant
}

// mend compares the kernel with the goal, and applies that again where something
// is missing or was refused before.
func (l *loop) mend(now failover.Instant) {
	if l.intent == nil || !l.setup.hands() {
		l.repair.looked(now, false)
		return
	}
	l.plant.settled = nil
	l.plant.settle(l.setup.interfaces(l.picture))
	ops, filter, unread := l.plant.drift(l.setup, l.picture, *l.intent)
	moved, unseen := l.plant.look(l.setup.layout)
	err := errors.Join(unread, unseen)
	if err != nil {
		l.log.Warn("compare the kernel with the goal", "err", err)
	}
	if !l.refused {
		// Else what is missing may be what the kernel did not take from us.
		l.taken = taken{lines: missing(ops, filter), since: now}
	}
	needed := err != nil || len(ops)+len(filter) > 0 || l.refused || l.plant.unset != nil
	l.repair.looked(now, needed)
	if needed || moved {
		l.applyIntent()
		return
	}
	l.judgeSettings()
}

// missing lists the packet filter's part first: it is short, and most by weight.
func missing(ops []routing.Op, filter []string) []string {
	lines := slices.Clone(filter)
	for _, op := range ops {
		lines = append(lines, op.String())
	}
	return lines
}

// repairLines bounds what a repair's event tells.
const repairLines = 8

// repaired tells that what others took is back.
func (l *loop) repaired(what taken, now failover.Instant) {
	count := int64(len(what.lines))
	told := what.lines
	if len(told) > repairLines {
		told = append(slices.Clone(told[:repairLines]), fmt.Sprintf("and %d more", len(what.lines)-repairLines))
	}
	reason := "the kernel lacked: " + strings.Join(told, "; ")
	l.log.Warn("repaired", "count", count, "what", strings.Join(told, "; "))
	l.events.Publish(control.Event{Detail: control.RepairDetail{
		Action: "restored", Object: "kernel", Reason: reason, Count: &count, TookMS: control.Millis(now - what.since),
	}})
}
