package config

import (
	"errors"
	"fmt"
	"swerve/target"
)

// readTarget reads a target.
func readTarget(d *decoder, n node) (target.Target, bool) {
	s, ok := d.text(n, target.Forms)
	if !ok {
		return target.Target{}, false
	}
	t, err := target.Parse(s)
	if e, bad := errors.AsType[*target.Error](err); bad {
		d.wrong(n, show(s)+" "+wrongTarget(e), e.Right)
	}
	return t, err == nil
}

// wrongTarget is what is wrong with a target, in the form of this package's
// problems.
func wrongTarget(e *target.Error) string {
	if e.Value == "" {
		return e.Wrong
	}
	return e.Wrong + " " + show(e.Value)
}

// readTargets reads the targets of a probe and finds those that are there twice.
func readTargets(d *decoder, n node) ([]target.Target, bool) {
	list, ok := oneOrMany(maxTargets, readTarget)(d, n)
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
