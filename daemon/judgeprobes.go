package daemon

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/target"
)

// unsentTarget is how many consecutive probes to one target must fail to be sent
// before that is a problem of the target.
const unsentTarget = 3

// probeProblems returns the problems of probes that cannot be sent, and of targets
// whose answers are no evidence about an uplink. full reports whether the kernel's
// connection tracking table is full, kept how many probes of an uplink our own packet
// filter recently kept from leaving by another device.
func probeProblems(view failover.View, full func() bool, kept func(uplink string) uint64) []control.Problem {
	var out []control.Problem
	notes := targetNotes{}
	for _, u := range view.Uplinks {
		if !u.Enabled {
			continue
		}
		for _, f := range failover.Families {
			v := u.Family[f]
			if v.Blind {
				if v.UnsentErrno == "EPERM" && kept(u.Name) > 0 {
					out = append(out, guardedProblem(u, f))
				} else {
					out = append(out, unsentProblem(u.Name, f, v, full))
				}
				continue
			}
			if v.Policed > 0 {
				out = append(out, policedProblem(u.Name, f, v))
			}
			if p, ok := portalProblem(u, f); ok {
				out = append(out, p)
			}
			for _, t := range v.Targets {
				notes.add(u.Name, t, full)
			}
		}
	}
	out = append(out, notes.problems()...)
	control.SortProblems(out)
	return oneForBoth(out)
}

// targetNotes are what is wrong with targets: by the code of the problem and the target,
// by which uplinks, and the last reason.
type targetNotes map[targetNote]*targetTrouble

type targetNote struct{ code, target string }

type targetTrouble struct {
	uplinks []string
	reason  string
}

// add notes what is wrong with a target of an uplink, if anything is.
func (n targetNotes) add(uplink string, t failover.TargetView, full func() bool) {
	code, reason := "", t.Fault.Cause
	switch {
	case t.Unsent >= unsentTarget:
		code, reason = "target-unreachable", causeOf(t.UnsentErrno, full)+": "+t.UnsentCause
	case t.SetAside:
		code = "target-set-aside"
	case reason != "" && !t.Fault.Portal && t.Answering != nil && !*t.Answering:
		code = "target-fault"
	default:
		return
	}
	key := targetNote{code, t.Target}
	if n[key] == nil {
		n[key] = &targetTrouble{}
	}
	n[key].reason = reason
	if !slices.Contains(n[key].uplinks, uplink) {
		n[key].uplinks = append(n[key].uplinks, uplink)
	}
}

// problems returns them in any order.
func (n targetNotes) problems() []control.Problem {
	var out []control.Problem
	for key, trouble := range n {
		by := strings.Join(trouble.uplinks, ", ")
		p := control.Problem{Code: key.code, Severity: control.Warning, Object: key.target}
		switch key.code {
		case "target-unreachable":
			p.Text = fmt.Sprintf("%s cannot be asked by %s: %s", key.target, by, trouble.reason)
			p.Remedy = "see ip route get " + addressOf(key.target) + ", and remove what leads it away, or name another target"
		case "target-set-aside":
			p.Severity = control.Info
			p.Text = fmt.Sprintf("%s does not answer by any uplink while others do, so it counts for nothing by %s", key.target, by)
			p.Remedy = "see ip route get " + addressOf(key.target) + " for a route that discards it or leads it elsewhere; name another target if it stays silent"
			if trouble.reason != "" {
				p.Text += ": " + trouble.reason
			}
		case "target-fault":
			p.Text = fmt.Sprintf("what comes of %s by %s is no answer: %s", key.target, by, trouble.reason)
			p.Remedy = "name a target that answers as its method asks, or see what answers there by that interface: curl, openssl s_client or dig"
		}
		out = append(out, p)
	}
	return out
}

// addressOf returns the address of a target, for a command; its text if it has none.
func addressOf(text string) string {
	t, err := target.Parse(text)
	if err != nil || !t.Addr.IsValid() {
		return text
	}
	return t.Addr.String()
}

// portalProblem returns the problem of an uplink on which a captive portal answers in the
// place of a target.
func portalProblem(u failover.UplinkView, f failover.Family) (control.Problem, bool) {
	for _, t := range u.Family[f].Targets {
		if t.Fault.Portal {
			return control.Problem{
				Code: "captive-portal", Severity: control.Warning, Object: u.Name,
				Text: fmt.Sprintf("%s leads to a captive portal in %s: what answers in place of %s is a %s", u.Name, f, t.Target, t.Fault.Cause),
				Remedy: fmt.Sprintf("log in there, from this machine by that interface (curl --interface %s) or from a device at the same modem; "+
					"where the target itself redirects to another host, name another one", u.Link.Interface),
			}, true
		}
	}
	return control.Problem{}, false
}

func unsentProblem(uplink string, f failover.Family, v failover.FamilyView, full func() bool) control.Problem {
	name := ""
	if v.UnsentErrno != "" {
		name = " (" + v.UnsentErrno + ")"
	}
	return control.Problem{
		Code: "probes-unsent", Severity: control.Warning, Object: uplink,
		Text: fmt.Sprintf("no %s probe of %s can be sent%s, so its state is unknown: %s; %s",
			f, uplink, name, causeOf(v.UnsentErrno, full), v.UnsentCause),
		Remedy: remedyOf(v.UnsentErrno, full),
	}
}

// policedProblem returns the problem of a line that limits echo requests.
func policedProblem(uplink string, f failover.Family, v failover.FamilyView) control.Problem {
	var targets []string
	what := "echo requests"
	for _, t := range v.Targets {
		if parsed, err := target.Parse(t.Target); err == nil && parsed.Transport() != "" {
			what = "probes"
		}
		if !t.SetAside {
			targets = append(targets, t.Target)
		}
	}
	return control.Problem{
		Code: "icmp-policed", Severity: control.Info, Object: uplink,
		Text: fmt.Sprintf("%s lets only about %.2g %s %s a second pass to %s, so its probes are %v apart and its death is noticed later",
			uplink, v.Policed, f, what, strings.Join(targets, ", "), v.Gap.Round(10*time.Millisecond)),
		Remedy: "have the modem, the provider or the packet filter that limits them let more pass, name targets behind another limit, " +
			"or lengthen probe.interval so that the regular probes alone stay under it",
	}
}

// guardedProblem is the problem of probes that are not sent since they would leave by
// another device than their uplink's: our own packet filter drops those.
func guardedProblem(u failover.UplinkView, f failover.Family) control.Problem {
	return control.Problem{
		Code: "probes-unsent", Severity: control.Warning, Object: u.Name,
		Text: fmt.Sprintf("no %s probe of %s can be sent (EPERM), so its state is unknown: a rule or route of another program leads them to another device than %s, "+
			"where their answers would prove nothing, so Swerve itself drops them", f, u.Name, u.Link.Interface),
		Remedy: fmt.Sprintf("see ip rule for a rule before Swerve's that is for all packets (problem foreign-rule names it), ip route get TARGET oif %s, and "+
			"nft list ruleset for a rule in output that changes marks", u.Link.Interface),
	}
}

// oneForBoth merges consecutive pairs of problems that have the same code and
// object.
func oneForBoth(in []control.Problem) []control.Problem {
	var out []control.Problem
	for _, p := range in {
		if n := len(out); n > 0 && out[n-1].Code == p.Code && out[n-1].Object == p.Object {
			out[n-1].Text += "; " + p.Text
			continue
		}
		out = append(out, p)
	}
	return out
}

// causeOf returns the likely cause of a send error.
func causeOf(errno string, full func() bool) string {
	switch errno {
	case "EPERM":
		if full() {
			return "the kernel's table of flows is full"
		}
		return "a rule of a packet filter in output drops or rejects them"
	case "EACCES":
		return "a route or rule of type prohibit, or a socket that is not permitted"
	case "EINVAL":
		return "a blackhole route"
	case "ENETUNREACH", "EHOSTUNREACH":
		return "there is no route, or one of type unreachable"
	case "ENOBUFS", "ENOMEM":
		return "the interface's queue is full, or memory is short"
	case "EADDRNOTAVAIL":
		return "the uplink's address is gone"
	case "ENODEV", "ENXIO", "ENETDOWN":
		return "the interface is gone or down"
	case "EMFILE", "ENFILE":
		return "no file descriptor is left"
	}
	return "this machine does not send them"
}

func remedyOf(errno string, full func() bool) string {
	switch errno {
	case "EPERM":
		if full() {
			return "raise net.netfilter.nf_conntrack_max"
		}
		return "allow the probes in output, ICMP echo requests or what else the targets say: see nft list ruleset, iptables -S OUTPUT"
	case "EACCES", "EINVAL", "ENETUNREACH", "EHOSTUNREACH":
		return "see ip rule and ip route get TARGET oif INTERFACE, and remove what forbids the way"
	case "ENOBUFS", "ENOMEM":
		return "see tc -s qdisc and free memory"
	case "EMFILE", "ENFILE":
		return "raise LimitNOFILE of the unit"
	}
	return "see ip address, ip route, and the log of the daemon"
}

// conntrackFull reports whether the kernel's connection tracking table is full.
func conntrackFull() bool {
	read := func(name string) (int, bool) {
		text, err := os.ReadFile("/proc/sys/net/netfilter/" + name)
		n, bad := strconv.Atoi(strings.TrimSpace(string(text)))
		return n, err == nil && bad == nil
	}
	count, ok := read("nf_conntrack_count")
	most, known := read("nf_conntrack_max")
	return ok && known && most > 0 && count >= most-most/50
}
