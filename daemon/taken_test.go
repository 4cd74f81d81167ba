package daemon

import (
	"errors"
	"strings"
	"testing"
	"time"

	"swerve/config"
	"swerve/control"
)

// What a running daemon uses, and what is remembered, is taken; other interfaces with a
// default route are candidates. Nothing is assumed but where nothing is known.
func TestKnownAuto(t *testing.T) {
	today := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	now := []config.DefaultRoute{{Interface: "wan0", Metric: 100}, {Interface: "wan1", Metric: 200}, {Interface: "lan0", Metric: 500}}
	remember := func(names ...string) (list []autoUplink) {
		for _, n := range names {
			list = append(list, autoUplink{Interface: n, Last: today})
		}
		return list
	}
	says := func(names ...string) neighbor {
		s := new(control.Status)
		for _, n := range names {
			s.Uplinks = append(s.Uplinks, control.Uplink{Name: n, Interface: n})
		}
		return neighbor{runs: true, status: s}
	}
	silent := neighbor{runs: true, unasked: errors.New("permission denied")}
	for _, c := range []struct {
		what              string
		n                 neighbor
		remembered        []autoUplink
		taken, candidates string
		note              string
	}{
		{"nothing is known", neighbor{}, nil, "wan0 wan1 lan0", "", "as no daemon is known to have asked"},
		{"it cannot be asked", silent, nil, "wan0 wan1 lan0", "", "answers root and the members of its group"},
		{"it cannot be asked, but read", silent, remember("wan0", "wan1"), "wan0 wan1", "lan0", "lan0: no target has answered through it so far"},
		{"it is new", says(), nil, "", "wan0 wan1 lan0", "wan0: no target has answered through it so far"},
		{"it has taken one", says("wan1"), nil, "wan1", "wan0 lan0", "lan0: no target"},
		{"it uses what has no default route now", says("wan7", "wan1"), remember("wan7"), "wan7 wan1", "wan0 lan0", "lan0: no target"},
		{"only the state", neighbor{}, remember("wan1"), "wan1", "wan0 lan0", "wan0: no target"},
	} {
		known, assumed := knownAuto(c.n, c.remembered, now, today)
		got := takenOf(c.n, known, now, assumed)
		names := func(routes []config.DefaultRoute) string {
			var list []string
			for _, d := range routes {
				list = append(list, d.Interface)
			}
			return strings.Join(list, " ")
		}
		if names(got.Routes) != c.taken || names(got.Candidates) != c.candidates || !strings.Contains(strings.Join(got.Notes(), "\n"), c.note) {
			t.Errorf("%s: %+v, notes %q", c.what, got, got.Notes())
		}
	}
}

// The socket of the daemon that holds the namespace is the one that it names.
func TestHolderNamesItsSocket(t *testing.T) {
	for text, want := range map[string]string{
		"pid 812, socket /run/swerve/swerve.sock, config /etc/swerve/swerve.yaml": "/run/swerve/swerve.sock",
		"pid 812, socket /tmp/a b/s, config ":                                     "/tmp/a b/s",
		"a process that takes no connection":                                      "",
	} {
		if got := (holder{text: text}).socket(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
