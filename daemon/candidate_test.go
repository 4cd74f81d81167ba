package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
)

// Where nothing answers at all, candidates are a warning after half a minute; beside
// an uplink they are none, since a LAN may hold a default route.
func TestSilentCandidates(t *testing.T) {
	now := control.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		uplinks int
		age     time.Duration
		code    string
		want    control.Severity
	}{
		{0, 29 * time.Second, "not-an-uplink", control.Info},
		{0, 30 * time.Second, "not-an-uplink", control.Warning},
		{1, time.Hour, "not-an-uplink", control.Info},
		{0, time.Hour, "one-uplink", control.Info},
	} {
		p := control.Problem{Code: c.code, Severity: control.Info, Since: control.At(now.Add(-c.age))}
		found := silentCandidates([]control.Problem{p}, c.uplinks, now)
		if found[0].Severity != c.want {
			t.Errorf("%d uplinks, %s for %v: %s, want %s", c.uplinks, c.code, c.age, found[0].Severity, c.want)
		}
		s := control.Status{Now: now, Problems: found}
		if got := control.Overall(s); (got == control.OK) != (c.want == control.Info) {
			t.Errorf("%d uplinks, %s for %v: overall %s", c.uplinks, c.code, c.age, got)
		}
	}
}

// A candidate whose default route names no gateway on an Ethernet is told what that
// takes, also once it is a warning.
func TestCandidateWithoutVia(t *testing.T) {
	s := setup{candidates: []config.Uplink{{Name: "wan0", Interface: "wan0"}, {Name: "wan1", Interface: "wan1"}}}
	var direct failover.Link
	direct.Family[failover.IPv4] = failover.FamilyLink{PointToPoint: true, Direct: true}
	found := s.candidateProblems("", map[string]failover.Link{"wan0": direct})
	now := control.At(time.Now())
	for i := range found {
		found[i].Since = control.At(now.Add(-time.Hour))
	}
	for _, found := range [][]control.Problem{found, silentCandidates(slices.Clone(found), 0, now)} {
		if len(found) != 2 || !strings.Contains(found[0].Remedy, "with via") || strings.Contains(found[1].Remedy, "via") {
			t.Errorf("problems: %+v", found)
		}
	}
}
