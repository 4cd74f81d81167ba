package daemon

import (
	"fmt"
	"time"

	"swerve/failover"
)

// debts is, by uplink and family, what keeps it from being up at its first answer.
type debts map[string]map[string]owed

// owed is what an uplink owes in a family, as a [failover.Hold] with a date.
type owed struct {
	Owes   bool    `json:"owes"`
	Points float64 `json:"points,omitempty"`
	// HeldMS is for how long from Since it is held back, in milliseconds.
	HeldMS int64 `json:"held_ms,omitempty"`
	// Since is when the points were counted, by the wall clock; zero without points.
	Since time.Time `json:"since,omitzero"`
}

// mostHeld bounds HeldMS: more than the longest that the configuration allows.
const mostHeld = 30 * 24 * time.Hour

// isValid reports whether this version can have written the hold.
func (h owed) isValid() bool {
	return h.Points >= 0 && h.Points <= 100 && h.HeldMS >= 0 && h.HeldMS <= mostHeld.Milliseconds()
}

// owedOf returns what is kept of a hold. The date of before stays as long as it says
// the same, so that nothing is written while nothing happens, unless the wall clock
// was set since.
func owedOf(h failover.Hold, before owed, today time.Time) owed {
	now := owed{Owes: h.Owes, Points: h.Points, HeldMS: h.Held.Milliseconds()}
	if h.Points == 0 {
		return now
	}
	now.Since = storedTime(today.Add(-h.Age))
	if before.Points == now.Points && before.HeldMS == now.HeldMS && now.Since.Sub(before.Since).Abs() <= time.Minute {
		now.Since = before.Since
	}
	return now
}

// check rejects what this version could not have written.
func (all debts) check() error {
	for name, families := range all {
		for family, h := range families {
			if !h.isValid() {
				return fmt.Errorf("hold %+v of uplink %q in %s is out of range", h, name, family)
			}
		}
	}
	return nil
}

// updated returns what the view's uplinks owe; nil for nothing.
func (all debts) updated(view failover.View, today time.Time) debts {
	var out debts
	for _, u := range view.Uplinks {
		for _, f := range failover.Families {
			h := owedOf(u.Family[f].Hold, all[u.Name][f.String()], today)
			if h == (owed{}) {
				continue
			}
			if out == nil {
				out = debts{}
			}
			if out[u.Name] == nil {
				out[u.Name] = map[string]owed{}
			}
			out[u.Name][f.String()] = h
		}
	}
	return out
}

// after returns what the uplinks owe, by name and family. A time in the future,
// recorded before the wall clock was set, counts as now; what is owed without a date
// is owed whatever the clock says.
func (all debts) after(today time.Time) map[string][2]failover.Hold {
	out := map[string][2]failover.Hold{}
	for name, families := range all {
		var both [2]failover.Hold
		for _, f := range failover.Families {
			if h, ok := families[f.String()]; ok {
				both[f] = failover.Hold{
					Owes: h.Owes, Points: h.Points, Held: time.Duration(h.HeldMS) * time.Millisecond,
					Age: min(max(0, today.Sub(h.Since)), mostHeld),
				}
			}
		}
		out[name] = both
	}
	return out
}
