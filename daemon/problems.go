package daemon

import (
	"slices"

	"swerve/control"
	"swerve/failover"
)

// problems are those that stand now, beside the ones that follow from the
// uplinks' health. Since when is kept as an instant: the wall clock may be set.
type problems struct {
	now      func() failover.Instant
	standing []standing
}

// standing is a problem and since when it stands; the Since of the problem itself
// is not looked at.
type standing struct {
	control.Problem
	since failover.Instant
}

// set makes a problem stand while there is a cause, and go when there is none.
// One that stood already keeps its time.
func (p *problems) set(object, code string, severity control.Severity, cause error, remedy string) {
	var found []control.Problem
	if cause != nil {
		found = []control.Problem{{Code: code, Severity: severity, Object: object, Text: cause.Error(), Remedy: remedy}}
	}
	p.replace(func(old control.Problem) bool { return old.Code == code && old.Object == object }, found)
}

// setAll makes these problems stand of those that have a code, and no others.
func (p *problems) setAll(code string, found []control.Problem) {
	p.replace(func(old control.Problem) bool { return old.Code == code }, found)
}

// add makes problems stand that were found elsewhere.
func (p *problems) add(found []control.Problem) {
	p.replace(func(control.Problem) bool { return false }, found)
}

// replace has those that stand and are meant give way to what was found. Of one
// object and code the time is kept.
func (p *problems) replace(meant func(control.Problem) bool, found []control.Problem) {
	before := p.standing
	p.standing = slices.DeleteFunc(slices.Clone(before), func(s standing) bool { return meant(s.Problem) })
	for _, f := range found {
		now := standing{f, p.now()}
		same := func(s standing) bool { return s.Code == f.Code && s.Object == f.Object }
		if i := slices.IndexFunc(before, same); i >= 0 {
			now.since = before[i].since
		}
		p.standing = append(p.standing, now)
	}
}

// told are the problems with their times as the wall clock goes now.
func (p *problems) told(clock control.Clock) []control.Problem {
	var out []control.Problem
	for _, s := range p.standing {
		s.Since = control.At(clock(s.since))
		out = append(out, s.Problem)
	}
	return out
}
