package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/control"
	"swerve/failover"
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
	// last is the last repair, and pause what has to lie between it and the next.
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

// looked notes that the kernel was compared, and whether something was mended.
func (r *repairs) looked(now failover.Instant, mended bool) {
	r.at = 0
	switch {
	case mended && r.pause == 0:
		r.pause = repairFirst
	case mended:
		r.pause = min(2*r.pause, repairMost)
	case now-r.last > repairCalm:
		r.pause = 0
	}
	if mended {
		r.last = now
	}
}

// applied notes that the kernel was just read. The hints that our own changes
// raise come later, and cost one more look.
func (r *repairs) applied(failover.Instant) { r.at = 0 }

// mend compares the kernel with the goal and puts back what is missing.
func (l *loop) mend(now failover.Instant) {
	if l.intent == nil || !l.setup.hands() {
		l.repair.looked(now, false)
		return
	}
	if err := l.plant.look(l.setup.layout); err != nil {
		l.log.Warn("read the default routes of others", "err", err)
	}
	ops, filter, err := l.plant.drift(l.setup, l.picture, *l.intent)
	if err != nil {
		l.log.Warn("compare the kernel with the goal", "err", err)
	}
	if len(ops) == 0 && len(filter) == 0 {
		l.repair.looked(now, false)
		return
	}
	if len(filter) > 0 {
		if err := l.plant.refilter(l.setup, l.picture, *l.intent); err != nil {
			l.log.Error("repair the packet filter", "err", err)
		}
	}
	err = l.applyIntent()
	l.repair.looked(l.clock.now(), true)
	if err != nil {
		l.repair.hint(l.clock.now())
		return // nothing is restored; the error is a problem in the status
	}
	var lines []string
	for _, op := range ops {
		lines = append(lines, op.String())
	}
	l.repaired(slices.Concat(lines, filter), l.clock.now()-now)
}

// repairLines bounds what a repair's event tells.
const repairLines = 8

func (l *loop) repaired(what []string, took time.Duration) {
	count := int64(len(what))
	told := what
	if len(told) > repairLines {
		told = append(slices.Clone(told[:repairLines]), fmt.Sprintf("and %d more", len(what)-repairLines))
	}
	reason := "the kernel lacked: " + strings.Join(told, "; ")
	l.log.Warn("repaired", "count", count, "what", strings.Join(told, "; "))
	l.events.Publish(control.Event{Type: control.EventRepair, Detail: &control.Detail{
		Action: "restored", Object: "kernel", Reason: reason, Count: &count, TookMS: control.Millis(took),
	}})
}
