package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/wait"
)

// Await polls the daemon's status until a condition holds, as wait.Until does, and
// returns that status. It ignores a status of any process but the gateway's daemon.
func Await(ctx context.Context, g Gateway, what string, holds func(*control.Status) bool) (*control.Status, error) {
	ctx, cancel := wait.Bounded(ctx)
	defer cancel()
	var last *control.Status
	var refused error
	err := wait.Until(ctx, what, func() bool {
		s, err := g.API().Status(ctx)
		if refused = err; err == nil {
			last = s
		}
		return err == nil && s.Daemon.PID == g.Pid() && holds(s)
	})
	if err != nil {
		return last, fmt.Errorf("%w; %s (%v)", err, Brief(last), refused)
	}
	return last, nil
}

// Events returns the events of the daemon's present run so far.
func Events(ctx context.Context, g Gateway) (all []control.Event, err error) {
	for e, err := range g.API().Events(ctx, time.Time{}, false) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// Brief formats a status in one line.
func Brief(s *control.Status) string {
	if s == nil {
		return "no status"
	}
	var parts []string
	for _, u := range s.Uplinks {
		parts = append(parts, fmt.Sprintf("%s %s (%s) %s (%s)", u.Name, u.IPv4.State, u.IPv4.Reason, u.IPv6.State, u.IPv6.Reason))
	}
	for _, p := range s.Policies {
		parts = append(parts, fmt.Sprintf("%s by %v and %v", p.Name, p.IPv4, p.IPv6))
	}
	return strings.Join(parts, ", ")
}

// Carries reports whether an uplink, and no other, carries the default policy in
// both families.
func Carries(s *control.Status, uplink string) bool {
	return CarriesFamily(s, uplink, failover.IPv4) && CarriesFamily(s, uplink, failover.IPv6)
}

// CarriesFamily is Carries for one family.
func CarriesFamily(s *control.Status, uplink string, f failover.Family) bool {
	shares := s.Policies[0].Family(f)
	return len(shares) == 1 && shares[0].Uplink == uplink
}

// AllUp reports whether there are uplinks, and each is up in both families.
func AllUp(s *control.Status) bool {
	for _, u := range s.Uplinks {
		if u.IPv4.State != control.Up || u.IPv6.State != control.Up {
			return false
		}
	}
	return len(s.Uplinks) > 0
}

// CarriedBy returns the condition that Carries holds for an uplink.
func CarriedBy(uplink string) func(*control.Status) bool {
	return func(s *control.Status) bool { return Carries(s, uplink) }
}

// Settled reports whether fiber carries both families, and all uplinks are up.
func Settled(s *control.Status) bool { return Carries(s, "fiber") && AllUp(s) }
