package failover

import (
	"slices"
	"time"
)

// uplink is what the engine holds of one uplink, apart from its health.
type uplink struct {
	index int // in the configuration
	cfg   Uplink
	// failbackAfter is Failback.After, for how long its paths must prove themselves.
	failbackAfter time.Duration
	// known: its link was reported at least once.
	known bool
	link  Link
	// ifname is the interface's last known name, for the reason when it is gone.
	ifname string
	paths  [2]path
	meter  meter
	bucket bucket
	// carries: it is in the first rung of some ladder.
	carries bool
	// rereadAt is when its link was last asked for.
	rereadAt Instant
}

// linkChanged stores a link as it was read. A family that becomes usable by it is
// probed at once; one that no longer is has nothing in flight.
func (u *uplink) linkChanged(t *turn, l Link) {
	if u.known && u.link.Equal(l) {
		return
	}
	before := u.link
	if before.Index != l.Index {
		u.meter = meter{}
	}
	u.known, u.link = true, l
	if l.Interface != "" {
		u.ifname = l.Interface
	}
	for _, f := range Families {
		u.paths[f].seen = u.paths[f].seen || l.Family[f].Offered()
	}
	for _, f := range Families {
		u.paths[f].followLink(t, &before.Family[f])
		u.paths[f].attend(t, before.Index != l.Index || !before.Family[f].sameWay(l.Family[f]))
	}
	t.reselect = true
}

// reread asks the caller to read the link again, at most once each 100 ms.
func (u *uplink) reread(t *turn) {
	if t.now-u.rereadAt >= 100*time.Millisecond {
		u.rereadAt = t.now
		t.out.Reread = append(t.out.Reread, u.cfg.Name)
	}
}

// spacing is the time between two extra probes to a target.
func (u *uplink) spacing() time.Duration { return max(u.cfg.Probe.Burst.Spacing, time.Millisecond) }

func (u *uplink) interfaceIs(what string) string {
	if u.ifname == "" {
		return "interface is " + what
	}
	return "interface " + u.ifname + " is " + what
}

// uplinks are all those configured, in their order. Its methods are what concerns
// several of them at once: what one path shows is compared with the others here.
type uplinks []*uplink

// find returns the uplink of a name, or nil. There are at most 63.
func (us uplinks) find(name string) *uplink {
	for _, u := range us {
		if u.cfg.Name == name {
			return u
		}
	}
	return nil
}

// path returns an uplink's path in a family, or nil when there is none.
func (us uplinks) path(name string, f Family) *path {
	if u := us.find(name); u != nil && f <= IPv6 {
		return &u.paths[f]
	}
	return nil
}

// allReported reports whether the link of each enabled uplink is known.
func (us uplinks) allReported() bool {
	return !slices.ContainsFunc(us, func(u *uplink) bool { return !u.known && u.cfg.Enabled })
}

// anotherAnswers reports whether an uplink other than one answers in a family.
func (us uplinks) anotherAnswers(u *uplink, f Family) bool {
	for _, o := range us {
		if o != u && o.cfg.Enabled && o.paths[f].class().Answering() {
			return true
		}
	}
	return false
}

// lastCallTime is how long an uplink that has just begun to answer waits for the
// last call of the others at most, in case they cannot even send.
const lastCallTime = time.Second

// lastCall probes the silent paths of a family at once when one begins to answer:
// what failed together returns at about the same time. Before traffic leaves a
// silent path for one that has just come, a probe that was sent after the latter's
// first answer must be late (see selector.lastCallFailed).
func (us uplinks) lastCall(t *turn, came *path) {
	for _, u := range us {
		p := &u.paths[came.family]
		if p == came || p.state != Down || !p.schedule.probing || p.schedule.fastUntil >= t.now+lastCallTime {
			continue
		}
		p.schedule.fastUntil, p.schedule.fastNext = t.now+lastCallTime, t.now
		p.touched = true
	}
}

// A target that fails by every uplink that otherwise answers is itself at fault.
// It is set aside: it counts neither for the quorum nor for the window, until it
// answers again.

const (
	// asideMisses is how many misses in a row it takes, on all uplinks together.
	asideMisses = 6
	// asideHits is how many answers in a row bring a target back.
	asideHits = 3
)

// compareTarget handles a target that does not answer by one path: the other
// uplinks are asked about it, and when it fails by all of them it is set aside.
func (us uplinks) compareTarget(t *turn, p *path, tg *target) {
	if tg.aside || !p.schedule.probing || !p.targets.othersAnswer(tg) {
		return
	}
	total := 0
	for _, u := range us {
		q := &u.paths[p.family]
		o := q.targets.find(tg.name)
		if o == nil || !q.schedule.probing || !q.class().Answering() && !q.targets.othersAnswer(o) {
			continue // what answers in part, below its quorum, counts
		}
		if alone := q.targets.active() < 2 && o.misses >= failing; alone {
			continue
		}
		if o.misses < failing || !q.targets.othersAnswer(o) {
			if q != p && (tg.misses == failing || tg.misses == asideMisses) {
				q.inquire(t, o)
			}
			return
		}
		total += o.misses
	}
	if total >= asideMisses {
		us.setAside(t, p.family, tg.name, true)
	}
}

// inquire probes one target of the path, and the others to compare it with.
func (p *path) inquire(t *turn, tg *target) {
	tg.ask = failing
	tg.askNext = t.now
	p.startBurst(t)
	p.touched = true
}

// setAside sets a target aside on all uplinks, or brings it back. What is in the
// windows of it is removed.
func (us uplinks) setAside(t *turn, f Family, name string, aside bool) {
	for _, u := range us {
		u.paths[f].setAside(name, aside)
	}
	t.rejudge = true
}

// setAside sets a target aside, or brings it back. The last target of a path stays:
// without it nothing could show that the path answers again.
func (p *path) setAside(name string, aside bool) {
	if aside && p.targets.active() < 2 {
		return
	}
	for i := range p.targets {
		if tg := &p.targets[i]; tg.name == name && tg.aside != aside {
			tg.aside = aside
			p.window.drop(i)
			p.touched = true
		}
	}
}
