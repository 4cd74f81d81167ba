package control

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"swerve/failover"
)

// HealthProblems are the problems that follow from the health of a status's uplinks
// and policies alone, sorted: "uplink-down", "uplink-shunned", "uplink-degraded" and
// "uplink-silent" for each uplink that is in use, or one for all where they are many,
// and "policy-dead" for each policy without an answering uplink, which is "starting"
// while the daemon is new, or "family-dead" where that is so in one family alone.
func HealthProblems(s *Status) []Problem {
	var out []Problem
	troubled := map[State][]trouble{}
	for _, u := range s.Uplinks {
		if !u.watched() {
			continue
		}
		for _, state := range []State{Down, Shunned, Degraded} {
			if p, ok := uplinkProblem(u, state); ok {
				troubled[state] = append(troubled[state], p)
			}
		}
		if p, ok := silentProblem(u, s.Now); ok {
			out = append(out, p)
		}
	}
	for _, state := range []State{Down, Shunned, Degraded} {
		// Those without an interface lack something else than the others.
		there := slices.DeleteFunc(slices.Clone(troubled[state]), func(t trouble) bool { return t.missing })
		gone := slices.DeleteFunc(troubled[state], func(t trouble) bool { return !t.missing })
		out = append(out, slices.Concat(together(there, state), together(gone, state))...)
	}
	for _, p := range s.Policies {
		switch {
		case !policyDead(p, s.Uplinks):
		case s.starting():
			out = append(out, startingProblem(s, p))
		default:
			out = append(out, deadProblem(p, s.Uplinks))
		}
		for _, f := range failover.Families {
			if familyDead(p, f, s.Uplinks) {
				out = append(out, familyDeadProblem(p, f, s.Uplinks))
			}
		}
	}
	SortProblems(out)
	return out
}

// startingProblem is for a policy without an answering uplink while the daemon is new.
func startingProblem(s *Status, p Policy) Problem {
	out := Problem{Code: "starting", Severity: Warning, Object: p.Name, Since: s.Daemon.Since,
		Text:   fmt.Sprintf("no uplink of policy %s answers yet", p.Name),
		Remedy: "wait: DHCP clients and modems may still be at work, half a minute after the start it is an alarm"}
	if proven(s, p) {
		out.Text = fmt.Sprintf("no uplink of policy %s answers any more", p.Name)
		out.Remedy = "bring one of its uplinks back; traffic stays where it is meanwhile, and half a minute after the start it is an alarm"
	}
	return p.blocking(out)
}

// proven reports whether an uplink that carries the policy, or any where none does, has
// answered since the daemon's start.
func proven(s *Status, p Policy) bool {
	shares := slices.Concat(p.IPv4, p.IPv6)
	return slices.ContainsFunc(s.Uplinks, func(u Uplink) bool {
		carries := slices.ContainsFunc(shares, func(share Share) bool { return share.Uplink == u.Name })
		return !u.LastProven.IsZero() && (carries || len(shares) == 0)
	})
}

// From groupFrom uplinks on with the same trouble there is one problem for all, which
// names the first groupNamed of them.
const (
	groupFrom  = 4
	groupNamed = 3
)

// trouble is the problem of an uplink in some families.
type trouble struct {
	Problem
	families string
	// missing: this machine does not have its interface.
	missing bool
}

// together makes one problem of many of one kind.
func together(all []trouble, s State) []Problem {
	if len(all) < groupFrom {
		var out []Problem
		for _, p := range all {
			out = append(out, p.Problem)
		}
		return out
	}
	one, in := all[0], " in "+all[0].families
	var names []string
	for i, p := range all {
		if p.families != all[0].families {
			in = "" // not in the same
		}
		one.Since = earlier(one.Since, p.Since)
		if i < groupNamed {
			names = append(names, p.Object)
		}
	}
	one.Object = "uplinks"
	one.Text = fmt.Sprintf("%d uplinks are %s%s: %s and %d more", len(all), s, in, strings.Join(names, ", "), len(all)-groupNamed)
	if one.missing {
		one.Text = fmt.Sprintf("the interfaces of %d uplinks are missing: %s and %d more", len(all), strings.Join(names, ", "), len(all)-groupNamed)
		one.Remedy = "plug them in, or name them in the configuration; each is used as soon as it appears"
		return []Problem{one.Problem}
	}
	one.Remedy = "look first for what they have in common, such as one switch, modem or power supply; the list of uplinks has the reason of each"
	return []Problem{one.Problem}
}

// uplinkProblem is one problem for all families in which the uplink is in state s.
func uplinkProblem(u Uplink, s State) (trouble, bool) {
	var families, reasons []string
	var since Time
	for _, f := range failover.Families {
		fs := u.Family(f)
		if fs.State != s {
			continue
		}
		families = append(families, f.String())
		if fs.Reason != "" && !slices.Contains(reasons, fs.Reason) {
			reasons = append(reasons, fs.Reason)
		}
		since = earlier(since, fs.Since)
	}
	if families == nil {
		return trouble{}, false
	}
	in := strings.Join(families, " and ")
	text := fmt.Sprintf("%s is %s in %s", u.Name, s, in)
	if reasons != nil {
		text += ": " + strings.Join(reasons, ", ")
	}
	return trouble{Problem{Code: "uplink-" + string(s), Severity: Warning, Object: u.Name,
		Since: since, Text: text, Remedy: uplinkRemedy(u, s)}, in, lacks(u, s, " is missing")}, true
}

// silentAfter is how long an uplink may be unknown until that is a problem.
const silentAfter = 30 * time.Second

// silentProblem is one problem for all families in which the uplink has not answered
// since its link came, for too long.
func silentProblem(u Uplink, now Time) (Problem, bool) {
	var families []string
	var since Time
	for _, f := range failover.Families {
		fs := u.Family(f)
		if fs.State != Unknown || fs.Since.IsZero() || now.Sub(fs.Since.Time) < silentAfter {
			continue
		}
		families = append(families, f.String())
		since = earlier(since, fs.Since)
	}
	if families == nil {
		return Problem{}, false
	}
	return Problem{
		Code: "uplink-silent", Severity: Warning, Object: u.Name, Since: since,
		Text:   fmt.Sprintf("%s has not answered in %s since its link came", u.Name, strings.Join(families, " and ")),
		Remedy: silentRemedy(u),
	}, true
}

func silentRemedy(u Uplink) string {
	if text, ok := onLinkRemedy(u, Unknown); ok {
		return text
	}
	return fmt.Sprintf("check the modem and the provider behind %s, or leave the family out if it is not offered there; "+
		"it is used as soon as it answers", u.Interface)
}

// onLinkRemedy is for an uplink that is in a state in a family in which it has no
// gateway although it would need one, unless its provider answers for all addresses.
func onLinkRemedy(u Uplink, s State) (string, bool) {
	for _, f := range failover.Families {
		if u.Family(f).State == s && u.Family(f).OnLink {
			return fmt.Sprintf("its %s default route has no via, so the kernel looks for every address on the link of %s itself, which works only "+
				"where the provider answers ARP or neighbour solicitations for all: have a default route with via in table main, or name it as %s in the configuration; "+
				"where that is right, check the modem and the provider", f, u.Interface, gatewayKeys[f]), true
		}
	}
	return "", false
}

// gatewayKeys are the keys of the configuration that name an uplink's gateway.
var gatewayKeys = [2]string{failover.IPv4: "gateway:", failover.IPv6: "gateway6:"}

func uplinkRemedy(u Uplink, s State) string {
	switch {
	case s == Degraded:
		return "look for an overloaded line or a weak signal, or widen its limits in the configuration"
	case strings.Contains(u.IPv4.Reason, switchedOff) || strings.Contains(u.IPv6.Reason, switchedOff):
		return fmt.Sprintf("switch the interface on: ip link set %s up, or have your network manager do it", u.Interface)
	case lacks(u, s, inVRF):
		return fmt.Sprintf("take the interface out of the VRF, also where that is configured: ip link set dev %s nomaster; or take the uplink out of the configuration", u.Interface)
	case u.Carrier == nil:
		return fmt.Sprintf("plug in or name the interface %s; it is used as soon as it appears", u.Interface)
	case !*u.Carrier:
		return fmt.Sprintf("check the cable or the modem on %s", u.Interface)
	case lacks(u, s, "no gateway"):
		return gatewayRemedy(u, s)
	case lacks(u, s, "no address"):
		return fmt.Sprintf("check why %s has no address: its DHCP client or network manager, or the address that you have set", u.Interface)
	}
	if text, ok := onLinkRemedy(u, s); ok && s == Down {
		return text
	}
	if s == Shunned {
		return "wait a second: it is down then, or back"
	}
	return fmt.Sprintf("check the modem and the provider behind %s; it is used again when it answers", u.Interface)
}

// gatewayRemedy is for an uplink whose gateway is not known. The modem is not to
// blame: the default route is in another table than main, has no gateway, or is not
// there.
func gatewayRemedy(u Uplink, s State) string {
	var keys []string
	for _, f := range failover.Families {
		if u.Family(f).State == s && strings.Contains(u.Family(f).Reason, "no gateway") {
			keys = append(keys, gatewayKeys[f])
		}
	}
	return fmt.Sprintf("name it as %s in the configuration, or have a default route with via in table main: see ip route show table all dev %s; "+
		"one in another table tells no gateway "+
		"(gateway: none sends to each address directly, which works only point to point or where the provider answers ARP for all)",
		strings.Join(keys, " and "), u.Interface)
}

// inVRF is in the engine's reason for an interface that belongs to a VRF.
const inVRF = "in the VRF"

// switchedOff is in the engine's reason for an interface that is administratively down.
const switchedOff = "switched off"

// lacks reports whether an uplink is in a state in some family for a reason.
func lacks(u Uplink, s State, reason string) bool {
	return slices.ContainsFunc(failover.Families[:], func(f failover.Family) bool {
		return u.Family(f).State == s && strings.Contains(u.Family(f).Reason, reason)
	})
}

// familyDeadProblem is for a family in which no uplink answers, while the other family
// works: whoever has only this one is offline.
func familyDeadProblem(p Policy, f failover.Family, uplinks []Uplink) Problem {
	one := Policy{Name: p.Name, IPv4: p.IPv4, Blocked: ByFamily{IPv4: p.Blocked.IPv4}}
	if f == failover.IPv6 {
		one = Policy{Name: p.Name, IPv6: p.IPv6, Blocked: ByFamily{IPv6: p.Blocked.IPv6}}
	}
	dead := deadProblem(one, uplinks)
	dead.Code, dead.Severity = "family-dead", Warning
	if !p.BlockedIn(f) {
		dead.Text += fmt.Sprintf(" in %s, so whoever has only %s is offline", f, f)
	}
	return dead
}

func deadProblem(p Policy, uplinks []Uplink) Problem {
	var since Time
	for _, u := range uplinks {
		for _, f := range failover.Families {
			carries := slices.ContainsFunc(p.Family(f), func(s Share) bool { return s.Uplink == u.Name })
			if carries && u.Family(f).Since.After(since.Time) {
				since = u.Family(f).Since
			}
		}
	}
	text := fmt.Sprintf("no uplink of policy %s answers", p.Name)
	if len(p.IPv4)+len(p.IPv6) == 0 {
		text = fmt.Sprintf("policy %s has no uplink with an address and a gateway", p.Name)
	}
	remedy := "bring one of its uplinks back; traffic stays where it is meanwhile"
	if len(p.IPv4)+len(p.IPv6) == 0 {
		remedy = "see the problem of each uplink for what it lacks, and ip route show table all for default routes in other tables than main"
	}
	return p.blocking(Problem{Code: "policy-dead", Severity: Critical, Object: p.Name, Since: since, Text: text, Remedy: remedy})
}

// blocking adds to a problem of a policy without an answering uplink that its new flows are
// refused, where they are.
func (p Policy) blocking(dead Problem) Problem {
	var families []string
	for _, f := range failover.Families {
		if p.BlockedIn(f) {
			families = append(families, f.String())
		}
	}
	if families != nil {
		dead.Text += fmt.Sprintf(", so its new flows are refused in %s (last_resort: block)", strings.Join(families, " and "))
		dead.Remedy = strings.Replace(dead.Remedy, "traffic stays where it is meanwhile", "established flows stay where they are, as far as their uplink takes them", 1)
	}
	return dead
}

func earlier(a, b Time) Time {
	if a.IsZero() || !b.IsZero() && b.Before(a.Time) {
		return b
	}
	return a
}

// SortProblems puts the worst first, and those of one severity by object and code.
func SortProblems(problems []Problem) {
	// Not by package slices: for a type as large as this its code is over 30 KB.
	sort.SliceStable(problems, func(i, j int) bool {
		a, b := problems[i], problems[j]
		return cmp.Or(
			cmp.Compare(b.Severity.rank(), a.Severity.rank()),
			strings.Compare(a.Object, b.Object),
			strings.Compare(a.Code, b.Code),
		) < 0
	})
}

// rank orders severities; one that this version does not know comes last.
func (s Severity) rank() int {
	return slices.Index([]Severity{OK, Info, Warning, Critical}, s)
}
