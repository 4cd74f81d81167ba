package daemon

import (
	"slices"
	"sync"

	"swerve/control"
	"swerve/failover"
)

// problems holds the standing problems, except those that follow from the uplinks'
// health. Each has one source, and a source replaces only its own. It may be used
// by several goroutines.
type problems struct {
	now func() failover.Instant

	mu       sync.Mutex
	standing []standing
}

// standing is a problem with its source and the instant since when it stands. That
// is an instant rather than the problem's own Since because the wall clock may be
// set.
type standing struct {
	control.Problem
	source string
	since  failover.Instant
}

// set adds a problem if there is a cause, and clears it if there is none.
func (p *problems) set(object, code string, severity control.Severity, cause error, remedy string) {
	var found []control.Problem
	if cause != nil {
		found = []control.Problem{{Code: code, Severity: severity, Object: object, Text: cause.Error(), Remedy: remedy}}
	}
	p.replace(code+" "+object, found)
}

// replace makes these the only problems of a source. One that already stood, with
// the same object and code, keeps its time.
func (p *problems) replace(source string, found []control.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.standing
	p.standing = slices.DeleteFunc(slices.Clone(before), func(s standing) bool { return s.source == source })
	for _, f := range found {
		now := standing{f, source, p.now()}
		same := func(s standing) bool { return s.Code == f.Code && s.Object == f.Object }
		if i := slices.IndexFunc(before, same); i >= 0 {
			now.since = before[i].since
		}
		p.standing = append(p.standing, now)
	}
}

// list returns the problems that stand, with their times as a clock converts them.
func (p *problems) list(clock control.Clock) []control.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []control.Problem
	for _, s := range p.standing {
		s.Since = control.At(clock(s.since))
		out = append(out, s.Problem)
	}
	return out
}
