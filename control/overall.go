package control

import (
	"time"

	"swerve/failover"
)

// Overall grades a status as a whole.
//
// It is critical when a policy has no answering uplink in any family, but not in the
// first half minute of the daemon, in which that is a warning: DHCP clients and modems
// may still be at work. It is critical, too, when a critical problem stands; a warning when an uplink that is neither disabled nor
// drained is down, shunned or degraded in a family, or a problem of that severity
// stands; else ok. An uplink counts for a policy when it carries the policy's new
// flows: one that answers always comes before one that does not, so where those
// are silent, all are.
func Overall(s Status) Severity {
	switch {
	case anyPolicyDead(s) && !s.starting(), anyProblem(s.Problems, Critical):
		return Critical
	case anyPolicyDead(s), anyUplinkTroubled(s.Uplinks), anyProblem(s.Problems, Warning):
		return Warning
	}
	return OK
}

// startTime is how long after the daemon's start a policy without an answering
// uplink is no alarm yet.
const startTime = 30 * time.Second

// starting reports whether the daemon started so lately that uplinks may be on
// their way.
func (s *Status) starting() bool {
	return !s.Now.IsZero() && !s.Daemon.Since.IsZero() && s.Now.Sub(s.Daemon.Since.Time) < startTime
}

func anyPolicyDead(s Status) bool {
	for _, p := range s.Policies {
		if policyDead(p, s.Uplinks) {
			return true
		}
	}
	return false
}

// policyDead reports whether none of the policy's carrying uplinks answers.
func policyDead(p Policy, uplinks []Uplink) bool {
	for _, f := range failover.Families {
		for _, share := range p.Family(f) {
			if answers(share.Uplink, f, uplinks) {
				return false
			}
		}
	}
	return true
}

// familyDead reports whether none of the uplinks that carry the policy in a family
// answers there, and one of them did, while the policy as a whole is not dead.
func familyDead(p Policy, f failover.Family, uplinks []Uplink) bool {
	if policyDead(p, uplinks) {
		return false
	}
	lost := false
	for _, share := range p.Family(f) {
		if answers(share.Uplink, f, uplinks) {
			return false
		}
		for _, u := range uplinks {
			lost = lost || u.Name == share.Uplink && u.Family(f).State.troubled()
		}
	}
	return lost
}

func answers(name string, f failover.Family, uplinks []Uplink) bool {
	for _, u := range uplinks {
		if u.Name == name {
			return u.Family(f).State.Answering()
		}
	}
	return false
}

func anyUplinkTroubled(uplinks []Uplink) bool {
	for _, u := range uplinks {
		if u.watched() && (u.IPv4.State.troubled() || u.IPv6.State.troubled()) {
			return true
		}
	}
	return false
}

// watched reports whether the uplink is meant to work: nobody took it out of use on
// purpose.
func (u Uplink) watched() bool { return u.Enabled && u.Admin != Drained }

func anyProblem(problems []Problem, s Severity) bool {
	for _, p := range problems {
		if p.Severity == s {
			return true
		}
	}
	return false
}
