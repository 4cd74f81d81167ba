package daemon

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"swerve/control"
	"swerve/failover"
)

// Status implements control.Backend. The counters are those of the moment; all
// else is as the loop left it.
func (l *loop) Status() *control.Status {
	shared := l.shared.Load()
	if shared == nil {
		return nil
	}
	s := *shared
	s.Now = control.At(l.clock.today())
	s.Uplinks = slices.Clone(shared.Uplinks)
	for i := range s.Uplinks {
		s.Uplinks[i].Counters = l.traffic.of(s.Uplinks[i].Name)
	}
	return &s
}

// share leaves a copy of what holds now for everybody to read, without counters.
func (l *loop) share(view failover.View) {
	s := &control.Status{
		Software: l.software,
		Daemon: control.Daemon{
			PID: os.Getpid(), Since: control.At(l.clock.wall(0)), Config: l.path, Generation: l.generation,
		},
		SwitchesTotal: l.told,
	}
	if l.last != nil {
		change := control.SwitchOf(l.last.record, l.last.took, l.clock.wall)
		s.LastSwitch = &change
	}
	for _, u := range view.Uplinks {
		out := control.UplinkOf(u, l.clock.wall)
		out.Interface = cmp.Or(out.Interface, l.configuredInterface(u.Name))
		s.Uplinks = append(s.Uplinks, out)
	}
	for _, p := range view.Policies {
		s.Policies = append(s.Policies, control.PolicyOf(p))
	}
	s.Problems = append(s.Problems, l.problems.told(l.clock.wall)...)
	s.Problems = append(s.Problems, control.HealthProblems(s.Uplinks, s.Policies)...)
	control.SortProblems(s.Problems)
	l.shared.Store(s)
	l.notify.status(summary(view))
}

// configuredInterface is how the configuration names an uplink's interface.
func (l *loop) configuredInterface(uplink string) string {
	for _, u := range l.setup.uplinks {
		if u.Name == uplink {
			return u.Interface
		}
	}
	return ""
}

// summary is one line for systemd: who carries, and who does not answer.
func summary(view failover.View) string {
	var parts []string
	for _, f := range failover.Families {
		if len(view.Policies) == 0 {
			break
		}
		var names []string
		for _, share := range view.Policies[0].Family[f] {
			names = append(names, share.Uplink)
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%s by %s", f, strings.Join(names, " and ")))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "no uplink has an address and a gateway")
	}
	for _, u := range view.Uplinks {
		for _, f := range failover.Families {
			if state := u.Family[f].State; state == failover.Down || state == failover.Degraded {
				parts = append(parts, fmt.Sprintf("%s %s in %s", u.Name, state, f))
			}
		}
	}
	return strings.Join(parts, ", ")
}

// remember keeps what the state file should know of the uplinks, and tells when
// it cannot.
func (l *loop) remember(view failover.View) {
	l.store.see(view)
	l.problems.set(l.store.folder, "state-unreadable", control.Info, l.store.unread,
		"nothing: the daemon began without it, and keeps it beside the new one, with .bad at its end")
	l.problems.set(l.store.folder, "state-unwritable", control.Warning, l.store.unwritten,
		"make room or give the daemon the folder; it runs on, and a restart may give other numbers")
}
