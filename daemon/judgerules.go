package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// lanesInUse returns the lanes of the uplinks and policies.
func (s setup) lanesInUse() []lane.Lane {
	var out []lane.Lane
	for _, u := range s.uplinks {
		out = append(out, s.lanes.Uplinks[u.Name])
	}
	for _, n := range s.lanes.Policies {
		out = append(out, n)
	}
	return out
}

// mostKept bounds the marks of others that are kept: each costs a rule of the packet
// filter that new flows pass.
const mostKept = 16

// keptMarks returns the marks by which rules of others select, with bits of ours:
// packets keep them where a rule of ours for a lane is not met first.
func (s setup) keptMarks(rules []routing.OtherRule) []firewall.Mark {
	var out []firewall.Mark
	for _, r := range rules {
		if m := markOf(r); mayKeep(s, r) && len(out) < mostKept && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// exemptMarks returns the marks of others that what comes in keeps as they are, with no
// lane beside them.
func exemptMarks(s setup, rules []routing.OtherRule) []firewall.Mark {
	var out []firewall.Mark
	for _, r := range rules {
		mark, mask, ok := r.ExemptMark(s.layout)
		if m := (firewall.Mark{Value: mark, Mask: mask}); ok && len(out) < mostKept && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

func markOf(r routing.OtherRule) firewall.Mark {
	return firewall.Mark{Value: r.Mark & r.Mask, Mask: r.Mask}
}

// mayKeep reports whether a rule of another program that selects by bits of ours
// does what it did where packets with its mark are left alone.
func mayKeep(s setup, r routing.OtherRule) bool {
	return r.MeetsMarks(s.layout) && !slices.ContainsFunc(s.lanesInUse(), func(n lane.Lane) bool {
		return r.LosesTo(s.layout, n) || r.TakesLane(s.layout, n) || r.SparesLane(s.layout, n)
	})
}

// ruleProblems returns the problems of rules of other programs that use numbers of
// ours, or that decide before ours do. foreign are the default routes of others.
func (s setup) ruleProblems(rules []routing.OtherRule, foreign []routing.Route) []control.Problem {
	var out []control.Problem
	add := func(p control.Problem) {
		same := func(o control.Problem) bool { return o.Code == p.Code && o.Text == p.Text }
		if !slices.ContainsFunc(out, same) { // both families often have the same
			out = append(out, p)
		}
	}
	kept, more := s.keptMarks(rules), 0
	for _, r := range rules {
		marks, before, table := r.MeetsMarks(s.layout), r.Preempts(s.layout, foreign), r.UsesTable(s.layout)
		connections, outranks := r.MeetsConnectionMarks(s.layout), r.Outranks(s.layout, foreign)
		if len(out) >= mostIntruders { // of thousands of rules those are enough
			if marks || connections || before || outranks || table {
				more++
			}
			continue
		}
		if connections {
			add(connectionClash(s, r, rules))
		}
		if marks {
			add(markClash(s, r, rules, kept))
		}
		if before {
			add(preempted(s, r))
		}
		if outranks {
			add(outranked(r))
		}
		if table {
			add(control.Problem{
				Code: "table-clash", Severity: control.Warning, Object: ruleObject(r),
				Text: fmt.Sprintf("the rule %q of another program looks up a table of Swerve's", r),
				Remedy: fmt.Sprintf("have its owner use another table, or set kernel.first_table: %d here and restart Swerve; tables %d to %d are Swerve's now",
					routing.FreeTables(rules), s.layout.Table(lane.FirstUplink), s.layout.Table(lane.LastPolicy)),
			})
		}
	}
	if more > 0 {
		out = append(out, control.Problem{
			Code: "foreign-rule", Severity: control.Info, Object: "rules",
			Text:   "other programs have " + say.Several(more, "more rule", "more rules") + " that use marks or tables of Swerve's, or come before its rules",
			Remedy: "see ip rule and ip -6 rule, and what is said of the others",
		})
	}
	return out
}

func ruleObject(r routing.OtherRule) string { return fmt.Sprintf("rule %d", r.Priority) }

// markClash returns the problem of a rule that selects by bits of a packet's mark
// that are ours.
func markClash(s setup, r routing.OtherRule, rules []routing.OtherRule, kept []firewall.Mark) control.Problem {
	p := control.Problem{
		Code: "mark-clash", Severity: control.Warning, Object: ruleObject(r),
		Text: fmt.Sprintf("the rule %q of another program selects by bits of a packet's mark that are Swerve's (kernel.mark_mask %#08x)",
			r, s.layout.MarkMask),
	}
	lanes := s.lanesInUse()
	switch {
	case r.Inverted:
		invertedClash(s, r, kept, &p)
	case mayKeep(s, r) && slices.Contains(kept, markOf(r)):
		p.Severity = control.Info
		p.Text += "; packets that it is for are left alone as long as they belong to no flow of Swerve's"
	case slices.ContainsFunc(lanes, func(n lane.Lane) bool { return r.TakesLane(s.layout, n) }):
		p.Text += ", and takes packets of Swerve's, which then do not go by the uplink that was chosen"
	default:
		p.Text += ", so it is not used any more: Swerve clears or replaces these bits"
	}
	p.Remedy = otherMasks(s, rules, "have its owner use bits outside of kernel.mark_mask")
	return p
}

// invertedClash completes the problem of a rule for the packets without such a mark. Those
// of ours are among them, as all others are, unless their lane looks like the mark.
func invertedClash(s setup, r routing.OtherRule, kept []firewall.Mark, p *control.Problem) {
	switch {
	case mayKeep(s, r) && slices.Contains(kept, markOf(r)):
		p.Severity = control.Info
		p.Text += "; it is used as before: packets with its mark are left alone as long as they belong to no flow of Swerve's"
	case slices.ContainsFunc(s.lanesInUse(), func(n lane.Lane) bool { return r.SparesLane(s.layout, n) }):
		p.Text += ", and leaves out packets of Swerve's, as if they had its mark"
	default:
		p.Text += ", and forwarded packets with its mark are no longer left out: Swerve clears or replaces these bits"
	}
}

// connectionClash returns the problem of a rule that selects by bits which are ours in
// the marks of connections.
func connectionClash(s setup, r routing.OtherRule, rules []routing.OtherRule) control.Problem {
	return control.Problem{
		Code: "mark-clash", Severity: control.Info, Object: ruleObject(r),
		Text: fmt.Sprintf("the rule %q of another program selects by bits that are Swerve's in the marks of connections (kernel.ct_mask %#08x): "+
			"if that program keeps them there (connmark, ct mark), connections that it marks are reset or lose their uplink", r, s.layout.CTMask),
		Remedy: "if it does, " + otherMasks(s, rules, "have its owner use bits outside of kernel.ct_mask"),
	}
}

// otherMasks says how to have masks that nobody else uses, or what others have to do; the
// latter alone where no masks are free.
func otherMasks(s setup, rules []routing.OtherRule, others string) string {
	free, ok := avoiding(s.cfg, noteUses(s.usedMarks, ruleUses(rules), time.Time{}))
	if !ok {
		return others + "; Swerve cannot give way, since no masks are free of all that others use"
	}
	others += ", or "
	text := fmt.Sprintf("kernel.mark_mask: %#08x and kernel.ct_mask: %#08x, whose bits no rule looks at", free.MarkMask, free.CTMask)
	if s.cfg.Kernel.AutoMasks {
		return others + again + text
	}
	return others + "set " + text + ", " + torn
}

// torn says when masks of the file can change, again how others are chosen.
const (
	torn  = "and restart Swerve"
	again = "stop Swerve, run swerve teardown and start it again, or boot: it then takes "
)

// maskProblems returns the problems of the masks as a whole: that they are not the
// default ones, since others use bits of these; that chains of others use bits of ours;
// that a rule of the configuration can never match.
func maskProblems(s setup) []control.Problem {
	var out []control.Problem
	chains := slices.DeleteFunc(slices.Clone(s.usedMarks), func(u usedBits) bool { return !strings.HasPrefix(u.By, theChain) })
	if normal := s.cfg.Layout(); s.layout != normal {
		text := "an earlier start took " + masksOf(s.layout)
		if users := usersOf(normal, s.usedMarks); users != "" {
			text = fmt.Sprintf("other programs use or have used bits of %s (%s): Swerve uses %s in their place", masksOf(normal), users, masksOf(s.layout))
		}
		out = append(out, control.Problem{
			Code: "mark-clash", Severity: control.Info, Object: "kernel.mark_mask", Text: text,
			Remedy: "nothing; masks that are written in the file are used as they are, after a restart",
		})
	}
	if users := usersOf(s.layout, chains); users != "" {
		out = append(out, control.Problem{
			Code: "mark-clash", Severity: control.Info, Object: "chains",
			Text: fmt.Sprintf("rules of other programs in the packet filter use bits of marks that are Swerve's (%s): %s; "+
				"if connections keep them (connmark, ct mark), those are reset or lose their uplink", masksOf(s.layout), users),
			Remedy: "if they do, " + otherMasks(s, nil, "have their owners use other bits"),
		})
	}
	for _, r := range s.cfg.Rules {
		if set := r.Mark.Value & s.layout.MarkMask; set != 0 {
			out = append(out, control.Problem{
				Code: "mark-clash", Severity: control.Warning, Object: fmt.Sprintf("line %d", r.Line),
				Text:   fmt.Sprintf("the rule for %s can never match: the bits %#x of its mark are Swerve's now (%s)", r.Use, set, masksOf(s.layout)),
				Remedy: again + "masks without these bits",
			})
		}
	}
	return out
}

// preempted returns the problem of a rule that decides about all packets before ours.
func preempted(s setup, r routing.OtherRule) control.Problem {
	last, but := s.layout.FirstPriority+lane.PrioritySpan, ""
	if r.Inverted {
		but = " but those with that mark"
	}
	p := control.Problem{
		Code: "foreign-rule", Severity: control.Warning, Object: ruleObject(r),
		Text: fmt.Sprintf("the rule %q of another program decides about all packets%s before Swerve's rules do (from priority %d), "+
			"so sessions and probes go where it leads and not by their uplink", r, but, s.layout.FirstPriority),
	}
	if first := int(r.Priority) - 1 - lane.PrioritySpan; first > 0 {
		p.Remedy = fmt.Sprintf("set kernel.first_priority to at most %d and restart Swerve, so that its rules come first, or have that rule's owner give it a priority above %d", first, last)
	} else {
		p.Remedy = fmt.Sprintf("have that rule's owner give it a priority above %d", last)
	}
	if r.Table != routing.MainTable && r.Goto == 0 {
		p.Severity = control.Info
		p.Remedy = "nothing, if that is a VPN's that should carry all; else " + p.Remedy
	}
	return p
}

// outranked returns the problem of a rule that leads what would go by the default policy.
func outranked(r routing.OtherRule) control.Problem {
	but := ""
	if r.Inverted {
		but = " but those with that mark"
	}
	return control.Problem{
		Code: "foreign-rule", Severity: control.Info, Object: ruleObject(r),
		Text: fmt.Sprintf("the rule %q of another program leads all packets%s by a default route of its own before the policy default has its turn: "+
			"new sessions go there, not by an uplink of that policy", r, but),
		Remedy: fmt.Sprintf("nothing, if that is a VPN's that should carry all; else have its owner give it a priority above %d, or delete it", lane.LastResortPriority),
	}
}

// strictOnes are the interfaces of the uplinks on which the kernel filters reverse paths
// strictly.
func strictOnes(g routing.Goal, strict func(string) bool) []routing.Interface {
	var out []routing.Interface
	for _, u := range g.Uplinks {
		if u.Index != 0 && strict(u.Interface) {
			out = append(out, routing.Interface{Name: u.Interface, Index: u.Index})
		}
	}
	return out
}

// reversePathProblems returns the problem of rules of others that lead away what the
// kernel looks up for strict reverse path filtering, before ours for the uplinks' marks are
// met: whatever comes in by another interface than it leads to is dropped, answers to
// probes as well.
func reversePathProblems(s setup, rules []routing.OtherRule, foreign []routing.Route, strict []routing.Interface) []control.Problem {
	i := slices.IndexFunc(rules, func(r routing.OtherRule) bool {
		return r.Family == failover.IPv4 && r.Priority <= uint32(s.layout.MarkPriority(lane.FirstUplink)) && r.Preempts(s.layout, foreign)
	})
	if i < 0 {
		return nil
	}
	leadsTo := func(device routing.Interface) bool {
		return slices.ContainsFunc(foreign, func(r routing.Route) bool {
			return r.Family == failover.IPv4 && r.Table == rules[i].Table &&
				slices.ContainsFunc(r.Hops, func(h routing.Hop) bool { return h.Index == device.Index })
		})
	}
	var dropping []string
	values := []string{"net.ipv4.conf.all.rp_filter=2"}
	for _, device := range strict {
		if !leadsTo(device) {
			dropping = append(dropping, device.Name)
			values = append(values, fmt.Sprintf("net.ipv4.conf.%s.rp_filter=2", device.Name))
		}
	}
	if len(dropping) == 0 {
		return nil
	}
	names := strings.Join(dropping, ", ")
	return []control.Problem{{
		Code: "rp-filter", Severity: control.Warning, Object: names,
		Text: fmt.Sprintf("rp_filter is strict on %s, and the rule %q of another program leads the way back elsewhere before Swerve's rules: "+
			"the kernel drops what comes in by these interfaces, also the answers to probes, so that well uplinks seem down", names, rules[i]),
		Remedy: "sysctl -w " + strings.Join(values, " ") + ", " + routing.Lasting(values...),
	}}
}
