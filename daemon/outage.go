package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"swerve/control"
	"swerve/failover"
)

// outage names a policy that is offline in a family: some uplink answered, and then all
// of them are down, so that traffic stays where it is, and no switch tells of it.
type outage struct {
	policy string
	family failover.Family
}

// outages remembers which policies are offline.
type outages struct {
	// worked are those for which some uplink has answered since this start; began is
	// since when they are offline.
	worked map[outage]bool
	began  map[outage]failover.Instant
}

func newOutages() outages {
	return outages{worked: map[outage]bool{}, began: map[outage]failover.Instant{}}
}

// observe compares the policies with what was so before, and returns what is to be told.
func (o outages) observe(view failover.View, policies []failover.Policy, now failover.Instant) []control.DaemonDetail {
	var out []control.DaemonDetail
	known := map[outage]bool{}
	for _, p := range policies {
		for _, f := range failover.Families {
			key := outage{p.Name, f}
			known[key] = true
			answers, silent := membersOf(view, policies, p, f)
			began, offline := o.began[key]
			switch {
			case len(answers) > 0 && offline:
				delete(o.began, key)
				out = append(out, key.detail("online", fmt.Sprintf("%s answers; none did for %s",
					answers[0], (now-began).Round(100*time.Millisecond))))
			case len(answers) > 0:
				o.worked[key] = true
			case len(silent) > 0 && o.worked[key] && !offline:
				o.began[key] = now
				what := "no uplink answers: "
				if p.Block {
					what = "no uplink answers, so new flows are refused: "
				}
				out = append(out, key.detail("offline", what+strings.Join(silent, "; ")))
			}
		}
	}
	for key := range o.worked {
		if !known[key] {
			delete(o.worked, key)
			delete(o.began, key)
		}
	}
	return out
}

func (o outage) detail(action, reason string) control.DaemonDetail {
	return control.DaemonDetail{Action: action, Object: "policy " + o.policy, Family: o.family.String(), Reason: reason}
}

// membersOf returns the uplinks of a policy that answer in a family and, if none does
// and each is down, why each is.
func membersOf(view failover.View, policies []failover.Policy, p failover.Policy, f failover.Family) (answers, silent []string) {
	tiers := p.TiersOf(f)
	if !p.Block {
		tiers = slices.Concat(tiers, policies[0].TiersOf(f))
	}
	var hopeful bool
	for _, u := range view.Uplinks {
		in := slices.ContainsFunc(tiers, func(tier []failover.Share) bool {
			return slices.ContainsFunc(tier, func(s failover.Share) bool { return s.Uplink == u.Name })
		})
		switch s := u.Family[f]; {
		case !in || !u.Enabled || s.State == failover.Absent:
		case s.State.Answering():
			answers = append(answers, u.Name)
		case s.State == failover.Down:
			silent = append(silent, u.Name+": "+s.Reason)
		default:
			hopeful = true // shunned, or unknown
		}
	}
	if hopeful || len(answers) > 0 {
		silent = nil
	}
	return answers, silent
}

// outage tells which policies went offline, and which are back.
func (r *reporter) outage(view failover.View, policies []failover.Policy) {
	for _, d := range r.outages.observe(view, policies, r.clock.now()) {
		level := slog.LevelInfo
		if d.Action == "offline" {
			level = slog.LevelError
		}
		r.log.LogAttrs(context.Background(), level, d.Object+" "+d.Action, slog.String("event", "daemon"),
			slog.String("family", d.Family), slog.String("reason", d.Reason))
		r.events.Publish(control.Event{Detail: d})
	}
}
