package daemon

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"swerve/control"
	"swerve/failover"
)

// placements are the uplinks by which each policy's traffic goes, as far as that was
// told: by the event of the start, by switches, and by placed.
type placements map[outage][]string

func placementsOf(view failover.View) placements {
	out := placements{}
	for _, p := range view.Policies {
		for _, f := range failover.Families {
			var names []string
			for _, share := range p.Family[f] {
				names = append(names, share.Uplink)
			}
			out[outage{p.Name, f}] = names
		}
	}
	return out
}

// moved returns what is to be told of policies whose traffic goes by other uplinks than
// was told. It is no switch where nothing had worked before, as after a start with a dead
// uplink.
func (told placements) moved(now placements, uplinks []failover.UplinkView) []control.DaemonDetail {
	var out []control.DaemonDetail
	for key, names := range now {
		before, known := told[key]
		if !known || len(names) == 0 || slices.Equal(names, before) {
			continue
		}
		reason := "by " + strings.Join(names, " and ")
		for _, u := range uplinks {
			if s := u.Family[key.family]; !s.State.Answering() && slices.Contains(before, u.Name) {
				reason += fmt.Sprintf("; %s: %s", u.Name, cmp.Or(s.Reason, s.State.String()))
			}
		}
		out = append(out, key.detail("placed", reason))
	}
	slices.SortFunc(out, func(a, b control.DaemonDetail) int {
		return strings.Compare(a.Object+a.Family, b.Object+b.Family)
	})
	return out
}

// placed tells of traffic that goes by other uplinks without a switch.
func (r *reporter) placed(view failover.View, acts bool) {
	if !acts || r.told == nil { // told by started first
		return
	}
	now := placementsOf(view)
	for _, d := range r.told.moved(now, view.Uplinks) {
		r.log.Info(d.Object+" placed", slog.String("event", "daemon"), slog.String("family", d.Family), slog.String("reason", d.Reason))
		r.events.Publish(control.Event{Detail: d})
	}
	r.told = now
}
