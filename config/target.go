package config

import (
	"errors"
	"fmt"

	"swerve/failover"
)

// target reads a target.
func target(d *decoder, n node) (failover.Target, bool) {
	s, ok := d.text(n, failover.TargetForms)
	if !ok {
		return failover.Target{}, false
	}
	t, err := failover.ParseTarget(s)
	if e, bad := errors.AsType[*failover.TargetError](err); bad {
		d.wrong(n, show(s)+" "+wrongTarget(e), e.Right)
	}
	return t, err == nil
}

// wrongTarget is what is wrong with a target, in the form of this package's
// problems.
func wrongTarget(e *failover.TargetError) string {
	if e.Value == "" {
		return e.Wrong
	}
	return e.Wrong + " " + show(e.Value)
}

// targets reads the targets of a probe and finds those that are there twice.
func targets(d *decoder, n node) ([]failover.Target, bool) {
	list, ok := oneOrMany(maxTargets, target)(d, n)
	first := map[string]int{}
	for i, t := range list {
		if t.Method == "" {
			continue
		}
		if before, twice := first[t.Key()]; twice {
			d.wrongAt(indexPath(n.path, i), fmt.Sprintf("%s asks the same as %s before it", show(t.Text), show(list[before].Text)),
				"each method, address and port once")
			ok = false
			continue
		}
		first[t.Key()] = i
	}
	return list, ok
}
