package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"swerve/config"
	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// Finder tells where the kernel sends packets, or is a test's.
type Finder interface {
	// Way is as [routing.Lookup].
	Way(routing.Question) (routing.Way, error)
	// Index returns the index of a device, 0 where there is none, and Name its name.
	Index(name string) int
	Name(index int) string
	// Bridge returns the index of the bridge of which a device is a port, 0 for none.
	Bridge(index int) int
	// InSet is as [firewall.SetHas], IsRescued as [firewall.IsRescued], and Translators as [firewall.Translators].
	InSet(name string, a netip.Addr) (bool, error)
	IsRescued(policy lane.Lane, a netip.Addr) (bool, error)
	Translators() (destinations, sources []string, err error)
}

// finder is this machine.
type finder struct{ routing.Finder }

func (finder) InSet(name string, a netip.Addr) (bool, error) { return firewall.SetHas(name, a) }

func (finder) IsRescued(policy lane.Lane, a netip.Addr) (bool, error) {
	return firewall.IsRescued(policy, a)
}

func (finder) Translators() (destinations, sources []string, err error) {
	return firewall.Translators()
}

// Explain implements control.Backend.
func (b backend) Explain(ctx context.Context, q control.Question) (control.Explanation, error) {
	l := b.loop
	var e explainer
	sets, err := b.setsOf(ctx, q.Dst)
	if err != nil {
		return control.Explanation{}, err
	}
	var others translators
	if l.finder != nil {
		others.destinations, others.sources, _ = l.finder.Translators() // the answer does without
	}
	if err := l.ask(ctx, func() {
		e = explainer{others: others,
			setup: l.setup, links: l.picture, view: l.view(), table: l.enforcer.kernel.table, finder: l.finder,
			acts: l.setup.mayAct() && l.enforcer.kernel.standing, clock: l.clock.fixed(), now: control.At(l.clock.today()),
			own: l.net.Own(), places: l.engine.Explain, question: q, foreign: l.reporter.foreign, sets: sets,
		}
		// Within the loop, so that all of it is of one moment.
		e.answer()
	}); err != nil {
		return control.Explanation{}, err
	}
	return e.out, e.refused
}

// membership is what is known of an address and the sets that rules name.
type membership struct {
	in map[string]bool
	// rescued has the policies that use the address by their next uplink.
	rescued map[lane.Lane]bool
	// unread are the sets that cannot be read, with the reason.
	unread []string
}

// translators are the chains of other programs that translate addresses. What they would make
// of the packet is not looked at.
type translators struct{ destinations, sources []string }

// setsOf looks an address up in the sets that rules name, and in those of rescued addresses. A large one takes long to read,
// so that is not for the loop.
func (b backend) setsOf(ctx context.Context, a netip.Addr) (membership, error) {
	m := membership{in: map[string]bool{}, rescued: map[lane.Lane]bool{}}
	var names []string
	var detours []detour
	err := b.loop.ask(ctx, func() {
		detours = detoursOf(b.loop.setup, b.loop.enforcer.kernel.table.Goal())
		for _, r := range b.loop.setup.cfg.Rules {
			if r.Set != "" && !slices.Contains(names, r.Set) {
				names = append(names, r.Set)
			}
		}
	})
	if err != nil || b.loop.finder == nil {
		return m, err
	}
	for _, name := range names {
		in, err := b.loop.finder.InSet(name, a)
		if err != nil {
			m.unread = append(m.unread, err.Error())
		}
		m.in[name] = in
	}
	for _, d := range detours {
		if d.family != failover.FamilyOf(a) {
			continue
		}
		rescued, err := b.loop.finder.IsRescued(d.lane, a)
		if err != nil {
			m.unread = append(m.unread, err.Error())
		}
		m.rescued[d.lane] = rescued
	}
	return m, nil
}

// explainer answers one question.
type explainer struct {
	setup
	links   picture
	view    failover.View
	table   firewall.Table
	finder  Finder
	places  func(policy string, f failover.Family) []failover.Place
	acts    bool
	clock   control.Clock
	now     control.Time
	own     []netip.Addr
	foreign control.ForeignDefaults

	others   translators
	sets     membership
	question control.Question
	family   failover.Family
	// local: it is one of this machine's own packets.
	local bool
	// elsewhere: a route leads to an uplink off which the policy keeps it.
	elsewhere bool
	// rescued: the address is used by the policy's next uplink, as its first one does not
	// reach it.
	rescued bool
	// anyOf are the uplinks of which the flow's source port picks one.
	anyOf  []string
	in     int
	packet firewall.Packet
	class  firewall.Course
	way    routing.Way

	out     control.Explanation
	refused error
}

func (e *explainer) refuse(remedy, format string, args ...any) {
	e.refused = &control.Error{Action: "explain", Object: "the way to " + e.question.Dst.String(), Cause: control.Refuse(format, args...), Remedy: remedy}
}

func (e *explainer) note(format string, args ...any) {
	e.out.Notes = append(e.out.Notes, fmt.Sprintf(format, args...))
}

// answer makes the explanation.
func (e *explainer) answer() {
	q := e.question
	e.family = failover.FamilyOf(q.Dst)
	e.out = control.Explanation{Dst: q.Dst, Proto: q.Proto, Port: q.Port, DSCP: q.DSCP, Mark: q.Mark, Others: control.List[control.ExplainedUplink]{}, Notes: control.List[string]{}}
	if e.finder == nil {
		e.refuse("ask a daemon that runs on its machine", "this daemon cannot ask the kernel")
		return
	}
	if ours := q.Mark & e.layout.MarkMask; ours != 0 {
		e.refuse("leave out the bits "+fmt.Sprintf("%#x", e.layout.MarkMask), "the bits %#x of the mark are Swerve's own, which a new flow has none of", ours)
		return
	}
	if e.comesIn(); e.refused != nil {
		return
	}
	if e.class.Mark = q.Mark; e.acts {
		e.class = e.table.Follow(e.packet)
	} else {
		e.note("this daemon only watches: nothing of Swerve's concerns it")
	}
	var err error
	e.way, err = e.finder.Way(e.asked(e.class.Mark))
	if err != nil {
		e.refuse("is its source one that may come in there? See rp_filter, and name the interface with --in", "the kernel does not route it: %v", err)
		return
	}
	e.leaves()
	e.notes()
}

// asked is the question to the kernel about the packet with a mark.
func (e *explainer) asked(mark uint32) routing.Question {
	return routing.Question{To: e.question.Dst, From: e.question.Src, In: e.in, Mark: mark,
		Protocol: e.question.Proto, Ports: [2]uint16{0, e.question.Port}, DSCP: e.question.DSCP}
}

// comesIn finds where the packet comes from.
func (e *explainer) comesIn() {
	q := e.question
	e.local = q.In == "" && (!q.Src.IsValid() || slices.Contains(e.own, q.Src))
	switch {
	case e.local:
	case !q.Src.IsValid():
		e.refuse("name its source as well", "a packet that comes in has a source")
		return
	case q.In != "":
		e.named(q.In)
	default:
		e.reached()
	}
	if e.refused != nil {
		return
	}
	e.packet = firewall.Packet{Family: e.family, From: q.Src, To: q.Dst, In: e.out.In, Proto: q.Proto, ToPort: q.Port, DSCP: q.DSCP, Mark: q.Mark,
		InSet:   func(name string, a netip.Addr) bool { return a == q.Dst && e.sets.in[name] },
		Rescued: func(p lane.Lane) bool { return e.sets.rescued[p] }}
	if e.local && !q.Src.IsValid() {
		way, err := e.finder.Way(e.asked(q.Mark))
		if err != nil || !way.Source.IsValid() {
			e.refuse("see ip route", "no route leads to it, so the kernel has no source for it")
			return
		}
		e.packet.From = way.Source
	}
	e.out.Src = &e.packet.From
}

// named takes the interface or the uplink that the question names.
func (e *explainer) named(name string) {
	if link, ok := e.links.links[name]; ok && link.Present && e.finder.Index(name) == 0 {
		name = link.Interface
	}
	if e.in = e.finder.Index(name); e.in == 0 {
		names := []string{}
		for _, u := range e.uplinks {
			names = append(names, u.Name)
		}
		e.refuse("name one of this machine's, or an uplink: "+strings.Join(names, ", "), "there is no interface %s", name)
		return
	}
	if bridge := e.finder.Bridge(e.in); bridge != 0 {
		e.in = bridge
		e.note("%s is a port of the bridge %s, by which the packet comes in for all rules", name, e.finder.Name(bridge))
		name = e.finder.Name(bridge)
	}
	e.out.In = name
}

// reached takes the interface by which this machine reaches the source.
func (e *explainer) reached() {
	back, err := e.finder.Way(routing.Question{To: e.question.Src})
	if err != nil || back.Device == 0 || back.To.Bits() == 0 {
		e.refuse("name it with --in", "no network here has %s, so it is not known by which interface it comes in", e.question.Src)
		return
	}
	e.in, e.out.In = back.Device, e.finder.Name(back.Device)
	e.note("it is taken to come in by %s, by which this machine reaches %s; --in names another interface", e.out.In, e.question.Src)
}

// leaves says where it goes, and why.
func (e *explainer) leaves() {
	w := e.way
	if e.out.Table = w.Table; w.To.IsValid() {
		e.out.Route = &w.To
	}
	uplink := e.uplinkBy(w.Device)
	e.out.Interface = e.finder.Name(w.Device)
	if w.Gateway.IsValid() {
		e.out.Gateway = &w.Gateway
	}
	if uplink != "" {
		e.out.Uplink = &uplink
	}
	switch {
	case e.class.Refused:
		e.out.Uplink, e.out.Interface, e.out.Gateway = nil, "", nil
		e.byPolicy("")
		e.out.Why += "; it blocks (last_resort: block), so the sender gets an error at once"
		return
	case w.Local:
		e.out.Interface = ""
		e.out.Why = "it is for this machine itself"
		if len(e.others.destinations) > 0 {
			e.out.Why += ", unless a port forward of another program sends it on"
		}
		e.passedOver()
		return
	case w.Refused != nil && e.class.Policy.IsPolicy() && e.acts:
		e.byPolicy("")
		e.out.Why += "; the kernel has no route for it, so the sender gets an error: " + w.Refused.Error()
		return
	case w.Device == 0:
		e.out.Why = "no route leads there, so the sender gets an error"
		e.passedOver()
		return
	}
	if e.keptOff(uplink) {
		e.out.Uplink, e.out.Interface, e.out.Gateway, e.elsewhere = nil, "", nil, true
		e.byPolicy("")
		e.out.Why = fmt.Sprintf("%s; the route to %s in table %s leads by %s, which the policy never uses: it blocks (last_resort: block), so this goes nowhere",
			strings.TrimSuffix(e.out.Why, nothingTakes), w.To, tableName(w.Table), uplink)
		return
	}
	e.out.Source = e.source()
	switch {
	case uplink == "":
		e.out.Why = e.byAnother()
		e.passedOver()
	case w.To.Bits() > 0:
		e.out.Why = fmt.Sprintf("the route to %s in table %s leads to it by %s; such routes come before the policies", w.To, tableName(w.Table), uplink)
		e.passedOver()
	case !e.acts:
		e.out.Why = fmt.Sprintf("the default route in table %s leads to it by %s", tableName(w.Table), uplink)
		e.passedOver()
	case e.class.Policy == lane.Nobody:
		e.out.Why = fmt.Sprintf("the default route in table %s leads to it by %s: what comes in by an uplink goes by no policy", tableName(w.Table), uplink)
		e.passedOver()
	default:
		e.byPolicy(uplink)
	}
}

// byAnother says why it leaves by no uplink.
func (e *explainer) byAnother() string {
	w := e.way
	if w.To.Bits() > 0 {
		return fmt.Sprintf("the route to %s in table %s leads to it by %s; such routes come before the policies", w.To, tableName(w.Table), e.out.Interface)
	}
	kept := [2]*control.ForeignDefault{e.foreign.IPv4, e.foreign.IPv6}[e.family]
	if kept != nil && kept.Interface == e.out.Interface {
		return fmt.Sprintf("the default route of another program by %s (metric %d) is better than those of all uplinks, and stays in force (kernel.foreign_defaults: keep)",
			kept.Interface, kept.Metric)
	}
	return fmt.Sprintf("the default route in table %s of another program leads to it by %s", tableName(w.Table), e.out.Interface)
}

// byPolicy says by which rule and policy it goes, and what the uplinks are to that.
func (e *explainer) byPolicy(uplink string) {
	policy, ok := e.policyOf(e.class.Policy)
	if !ok {
		policy = config.DefaultPolicy
	}
	e.out.Policy = &policy
	which := "no rule matches it, so it goes by policy " + policy
	if e.class.Rule >= 0 && e.class.Rule < len(e.cfg.Rules) {
		r := e.cfg.Rules[e.class.Rule]
		e.out.Rule = &control.ExplainedRule{Number: e.class.Rule + 1, Line: r.Line, Policy: policy}
		which = fmt.Sprintf("rule %d (line %d) sends it by policy %s", e.class.Rule+1, r.Line, policy)
	}
	places := e.places(policy, e.family)
	if n, ok := e.lanes.Uplinks[uplink]; ok && e.sets.rescued[e.lanes.Policies[policy]] {
		e.rescued = e.class.Member == n
	}
	chosen := failover.Place{}
	if i := slices.IndexFunc(places, func(p failover.Place) bool { return p.Uplink == uplink }); i >= 0 {
		if chosen = places[i]; chosen.Tier > 0 {
			e.out.Tier = &chosen.Tier
		}
	}
	var shares []control.Share
	for _, p := range places {
		if p.Carries && !e.isCandidate(p.Uplink) {
			shares = append(shares, control.Share{Uplink: p.Uplink, Weight: p.Weight})
		}
	}
	if len(shares) > 1 && chosen.Carries && e.byPort(policy) {
		for _, share := range shares {
			e.anyOf = append(e.anyOf, share.Uplink)
		}
	}
	for _, p := range places {
		if p.Uplink != uplink && !e.isCandidate(p.Uplink) {
			e.other(p.Uplink, e.whyAnother(p, chosen))
		}
	}
	e.out.Why = which + e.choice(uplink, chosen, shares)
}

// byPort reports whether which of several uplinks takes a flow of a policy depends on its
// source port.
func (e *explainer) byPort(policy string) bool {
	i := slices.IndexFunc(e.engine.Policies, func(p failover.Policy) bool { return p.Name == policy })
	return i >= 0 && spread(e.setup, i) == firewall.Flows && !e.local
}

// whyAnother says why a packet does not go by an uplink of the policy, as a clause; chosen is
// the one that it goes by, which is none where nothing takes it.
func (e *explainer) whyAnother(p, chosen failover.Place) string {
	switch {
	case !p.Carries && strings.Contains(p.Why, "is drained"):
		return p.Why + e.until(p.Uplink)
	case !p.Carries:
		return p.Why
	case e.elsewhere:
		return p.State + ", but the route there leads elsewhere"
	case e.rescued:
		return "has left this address unanswered, and " + chosen.Uplink + " reaches it"
	case !chosen.Carries:
		return p.State + ", and the kernel has no way by it"
	}
	falls := "this flow falls on " + chosen.Uplink
	if e.anyOf != nil {
		falls = "takes its part of such connections"
	}
	if p.Overflow != "" {
		return fmt.Sprintf("gets new flows as well while the policy overflows (tier %d), and %s", p.Tier, falls)
	}
	return fmt.Sprintf("shares tier %d with weight %d, and %s", p.Tier, p.Weight, falls)
}

// nothingTakes ends a sentence about a policy.
const nothingTakes = ", of which no uplink can take it"

// keptOff reports whether the policy of the packet blocks, and so keeps it off an uplink to
// which another route than a policy's leads.
func (e *explainer) keptOff(uplink string) bool {
	name, _ := e.policyOf(e.class.Policy)
	i := slices.IndexFunc(e.engine.Policies, func(p failover.Policy) bool { return p.Name == name })
	if uplink == "" || !e.acts || i < 0 || !e.engine.Policies[i].Block {
		return false
	}
	return !isIn(slices.Concat(e.engine.Policies[i].Tiers, e.engine.Policies[i].Tiers6), uplink)
}

// choice says why an uplink of a policy was chosen, of those that share its new flows.
func (e *explainer) choice(uplink string, chosen failover.Place, shares []control.Share) string {
	falls := "it falls on " + uplink
	if e.anyOf != nil {
		falls = "such a connection may fall on any of them, such as " + uplink
	}
	switch {
	case uplink == "":
		return nothingTakes
	case e.rescued && len(shares) > 0:
		return fmt.Sprintf(", whose new flows %s carries, but this address is rescued: it left SYNs by %[1]s unanswered and answers by %s, which it uses for up to %s",
			shares[0].Uplink, uplink, config.FormatDuration(e.cfg.Rescue.For))
	case !chosen.Carries:
		return fmt.Sprintf(", and by %s: the kernel has gone down the ladder, since what came before it has no carrier or no route", uplink)
	case chosen.Overflow != "" && len(shares) > 1:
		return fmt.Sprintf(", which overflows (%s), so that new flows go by %s: %s", chosen.Overflow, say.Divided(shares), falls)
	case chosen.Overflow != "":
		return fmt.Sprintf(", which overflows (%s), so that new flows go by %s", chosen.Overflow, uplink)
	case len(shares) > 1:
		return fmt.Sprintf(", whose tier %d is shared by %s: %s", chosen.Tier, say.Carriers(shares), falls)
	}
	return fmt.Sprintf(", whose new flows %s carries (tier %d)", uplink, chosen.Tier)
}

// until says when a drain ends by itself.
func (e *explainer) until(uplink string) string {
	for _, u := range e.view.Uplinks {
		if u.Name == uplink && u.Admin == string(control.Drained) && u.Until > 0 {
			return " until " + say.Moment(e.now, control.At(e.clock(u.Until)))
		}
	}
	return ""
}

func (e *explainer) other(uplink, reason string) {
	e.out.Others = append(e.out.Others, control.ExplainedUplink{Uplink: uplink, Reason: reason})
}

// passedOver says of all other uplinks that no policy is asked.
func (e *explainer) passedOver() {
	for _, u := range e.uplinks {
		if e.out.Uplink == nil || u.Name != *e.out.Uplink {
			e.other(u.Name, "is not asked, since no policy decides here")
		}
	}
}

// source returns the source with which it leaves.
func (e *explainer) source() *netip.Addr {
	from := e.packet.From
	if !e.acts {
		return &from
	}
	t := e.class.Translate(e.out.Interface)
	switch {
	case t.To.IsValid():
		from = t.To
	case t.Masquerade:
		// As masquerading does: the address that the kernel would use there itself.
		to := e.question.Dst
		if e.family == failover.IPv4 && e.way.Gateway.Is4() {
			to = e.way.Gateway
		}
		w, err := e.finder.Way(routing.Question{To: to, Out: e.way.Device})
		if err != nil || !w.Source.IsValid() {
			e.note("it is masqueraded on %s; which address that gives is not known", e.out.Interface)
			return nil
		}
		from = w.Source
	}
	return &from
}

// notes says what else matters.
func (e *explainer) notes() {
	if came, ok := e.uplinkOf(e.class.Member); ok && e.class.Policy == lane.Nobody {
		e.note("it came in by uplink %s: its answers leave by %s, whichever uplink carries", came, came)
	}
	if why := e.silent(); why != "" {
		e.note("%s, and is used since nothing better answers", why)
	}
	if e.out.Policy != nil {
		e.note("this is of a new flow: one that conntrack has already keeps its uplink, until that is lost or drained after a failback")
	}
	if found := e.others.destinations; len(found) > 0 {
		e.note("other programs translate destinations (%s): that is not looked at", strings.Join(found, ", "))
	}
	if found := e.others.sources; len(found) > 0 && e.out.Uplink != nil {
		e.note("other programs translate sources (%s): that is not looked at, and theirs may be another one", strings.Join(found, ", "))
	}
	if e.anyOf != nil {
		e.note("which of %s takes a connection is by its source port too (spread: flows), which is not known here", and(e.anyOf))
	}
	for _, why := range e.sets.unread {
		e.note("a set is taken as empty, since it cannot be read: %s", why)
	}
	if e.class.Rule >= 0 || e.out.Policy == nil {
		return
	}
	e.noteRules("DSCP 0 (--dscp names another)", func(r config.Rule) bool { return r.HasDSCP && e.question.DSCP == 0 })
	e.noteRules("no mark (--mark names one)", func(r config.Rule) bool { return r.Mark.Mask != 0 && e.question.Mark == 0 })
}

// silent says that the uplink that a policy has chosen does not answer; empty where it does.
func (e *explainer) silent() string {
	for _, u := range e.view.Uplinks {
		path := u.Family[e.family]
		if e.out.Policy != nil && e.out.Uplink != nil && u.Name == *e.out.Uplink && (path.State == failover.Shunned || path.State == failover.Down) {
			return fmt.Sprintf("%s itself is %s%s", u.Name, path.State, because(path.Reason))
		}
	}
	return ""
}

// noteRules notes which rules ask for what the question did not say.
func (e *explainer) noteRules(taken string, asks func(config.Rule) bool) {
	var passed []string
	for i, r := range e.cfg.Rules {
		if asks(r) {
			passed = append(passed, fmt.Sprint(i+1))
		}
	}
	n := len(passed)
	if n > mostPassed {
		passed = append(passed[:mostPassed], "…")
	}
	if n > 0 {
		e.note("it is taken to have %s: %s may match it (%s)", taken, say.Several(n, "rule", "rules"), strings.Join(passed, ", "))
	}
}

// mostPassed bounds how many rules a note names.
const mostPassed = 20

// uplinkBy returns the uplink with a device; empty for none.
func (e *explainer) uplinkBy(index int) string {
	for _, u := range e.uplinks {
		if link := e.links.links[u.Name]; index != 0 && link.Present && link.Index == index {
			return u.Name
		}
	}
	return ""
}

// policyOf returns the name of the policy with a lane.
func (e *explainer) policyOf(n lane.Lane) (string, bool) { return valueIn(e.lanes.Policies, n) }

func tableName(table int) string {
	if table == unix.RT_TABLE_MAIN {
		return "main"
	}
	return fmt.Sprint(table)
}
