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
		wrong := e.Wrong
		if e.Value != "" {
			wrong += " " + show(e.Value)
		}
		d.wrong(n, show(s)+" "+wrong, e.Right)
	}
	return t, err == nil
}

// readTargets reads the targets of a probe section. Each target after the first that
// probes the same is a problem.
func readTargets(d *decoder, n node) ([]target.Target, bool) {
	list, ok := oneOrMany(maxTargets, readTarget)(d, n)
	first := map[string]int{}
	for i, t := range list {
		if t.Method == "" {
			continue
		}
		if before, twice := first[t.Key()]; twice {
			d.wrongAt(indexPath(n.path, i), fmt.Sprintf("%s probes the same as %s before it", show(t.Text), show(list[before].Text)),
				"each method, address and port once")
			ok = false
			continue
		}
		first[t.Key()] = i
	}
	return list, ok
}
