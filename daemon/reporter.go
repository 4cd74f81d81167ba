package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"swerve/config"
	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
)

// reporter owns what is reported to people and programs: the log, events, the
// status, systemd's status line, the standing problems and the counters. A verdict
// is reported after the kernel was brought to it, since a slow reader of the log
// must not delay a switch.
type reporter struct {
	software, path string
	clock          *clock
	log            *slog.Logger
	events         Publisher
	notify         *notifier
	problems       *problems
	counters       *counters
	sets           *setReader
	rescues        *rescueReader
	ruleInterfaces *ruleInterfaces
	outages        outages
	// told is nil before the event of the start.
	told placements

	// contests are the latest repairs.
	contests contests
	// changes are changes of health, and switches changes of carrying uplinks and
	// overflows, that were decided and not reported yet; switches wait until the kernel
	// was read back.
	changes, switches []failover.Record
	// total counts the reported switches; last is the newest of them.
	total uint64
	last  *doneSwitch
	// foreign are other programs' default routes that stay in force for the default
	// policy.
	foreign control.ForeignDefaults
	// mute reports whether a gateway does not answer ARP or neighbour discovery; nil
	// if that is not known.
	mute func(index int, gateway netip.Addr) bool
	// kept is the last switch for the state file, with the wall time at which it
	// was recorded; at first it is that of an earlier run.
	kept *control.Switch
	// confirmUntil is when a reload is undone unless it is confirmed; 0 for never.
	confirmUntil failover.Instant
}

// doneSwitch is a switch with the time that the kernel took for it; nil if the
// kernel refused. Its own time is converted on demand, since the wall clock may be
// set.
type doneSwitch struct {
	record failover.Record
	took   *time.Duration
}

// decided queues the records of a step taken at an instant.
func (r *reporter) decided(records []failover.Record, at failover.Instant) {
	for _, record := range records {
		record = decidedAt(record, at)
		if record.Switch != nil || record.Overflow != nil {
			r.switches = append(r.switches, record)
		} else {
			r.changes = append(r.changes, record)
		}
	}
}

// decidedAt moves a record from the instant of its event, which the engine uses as
// the present, to the instant at which it was decided: the time between belongs to
// the evidence, not to the switch.
func decidedAt(r failover.Record, at failover.Instant) failover.Record {
	late := max(0, at-r.At)
	r.At += late
	if h := r.Health; h != nil && h.Evidence >= 0 {
		r.Health = new(*h)
		r.Health.Evidence += late
	}
	if s := r.Switch; s != nil && s.Evidence >= 0 {
		r.Switch = new(*s)
		r.Switch.Evidence += late
	}
	return r
}

// reportHealth reports the changes of health. A suspicion that came to nothing is no
// event: a path with bad latency has ten a second, and they would push the verdicts
// out of the log of events. The status counts them.
func (r *reporter) reportHealth() {
	for _, record := range r.changes {
		h := record.Health
		r.log.LogAttrs(context.Background(), healthLevel(h), "uplink "+h.To.String(), slog.String("event", "health"), slog.String("uplink", h.Uplink),
			slog.Any("family", h.Family), slog.Any("from", h.From), slog.String("reason", h.Reason), evidence(h.Evidence))
		if !h.Doubt {
			r.events.Publish(control.HealthEvent(record, r.clock.wall))
		}
	}
	r.changes = r.changes[:0]
}

// evidence is the time that a verdict is based on; it is omitted if there is none.
func evidence(d time.Duration) slog.Attr {
	if d < 0 {
		return slog.Attr{}
	}
	return slog.Duration("evidence", d)
}

// healthLevel is the level at which a transition is logged.
func healthLevel(h *failover.HealthChange) slog.Level {
	switch {
	case h.Doubt:
		return slog.LevelDebug
	case h.To == failover.Down, h.To == failover.Shunned, h.To == failover.Degraded:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// enforced reports the result of bringing the kernel to a goal, and with it the
// switches that it carried out.
func (r *reporter) enforced(o outcome, s setup) {
	r.reportHealth()
	switch {
	case o.err != nil:
		r.log.Error("the kernel does not hold the goal", "err", o.err)
	case len(o.restored.lines) > 0:
		r.repaired(o.restored, o.at)
	case o.accepted:
		r.log.Info("the kernel holds the goal that it had refused")
	}
	r.problems.set("kernel", "kernel-refused", control.Critical, o.err,
		"see swerve plan for what is missing; it is tried again by itself")
	for _, refusal := range o.refusals {
		name, _ := s.uplinkOf(refusal.Uplink)
		r.log.Warn("the kernel refuses an uplink's default route", "uplink", name, "family", refusal.Family,
			"used", refusal.Accepted, "err", refusal.Err)
	}
	r.problems.replace("refusals", s.refused(o.refusals))
	r.settings(o.settings)
	for _, record := range r.switches {
		if record.Overflow != nil {
			r.overflowed(record)
			continue
		}
		r.switched(record, o.applied.refused(record.Switch.Family, s.lanesOf(record.Switch.To)), o.at)
	}
	r.switches = r.switches[:0]
}

// idle reports decisions on a machine that must not be changed, where no switch is
// carried out.
func (r *reporter) idle() {
	r.reportHealth()
	r.switches = r.switches[:0]
}

// switched reports a switch that the kernel was read to hold, or did not accept.
func (r *reporter) switched(record failover.Record, refused error, now failover.Instant) {
	var took *time.Duration
	if refused == nil {
		d := now - record.At
		took = &d
	}
	r.last, r.total = &doneSwitch{record, took}, r.total+1
	if r.told != nil {
		r.told[outage{record.Switch.Policy, record.Switch.Family}] = record.Switch.To
	}
	kept := control.SwitchOf(record, took, r.clock.wall)
	r.kept = &kept
	r.events.Publish(control.SwitchEvent(kept))
	s := record.Switch
	r.log.Warn(s.Kind.String(), "event", "switch", "policy", s.Policy, "family", s.Family, "from", s.From, "to", s.To,
		"reason", s.Reason, evidence(s.Evidence), "took", now-record.At)
}

// overflowed reports that new flows go to other uplinks since those that carry are full,
// or that they do so no more.
func (r *reporter) overflowed(record failover.Record) {
	o := record.Overflow
	r.log.Info("overflow "+o.Phase.String(), "event", "overflow", "policy", o.Policy, "family", o.Family, "from", o.From, "to", o.To, "reason", o.Reason)
	r.events.Publish(control.OverflowEvent(record, r.clock.wall))
}

// repairLines bounds the lines in a repair's event.
const repairLines = 8

// repaired reports that what others removed is restored.
func (r *reporter) repaired(what missing, now failover.Instant) {
	count := int64(len(what.lines))
	lines := what.lines
	if len(lines) > repairLines {
		lines = append(slices.Clone(lines[:repairLines]), fmt.Sprintf("and %d more", len(what.lines)-repairLines))
	}
	text := strings.Join(lines, "; ")
	r.contests = r.contests.with(now, text)
	r.log.Warn("repaired", "event", "repair", "count", count, "what", text)
	r.events.Publish(control.Event{Detail: control.RepairDetail{
		Action: "restored", Object: "kernel", Reason: "the kernel lacked: " + text, Count: &count, TookMS: control.Millis(now - what.since),
	}})
}

// settings updates the problem of sysctls that do not have the values that failover
// needs.
func (r *reporter) settings(s settings) {
	wrong, remedy := firstOfMany(s.err), "remove the cause that is named, or set them by hand; it is tried again by itself"
	if errors.Is(s.err, unix.EROFS) {
		remedy = "/proc/sys is read-only, as in a container or by a unit's ProtectKernelTunables=: have it writable, or set them from outside; it is tried again by itself"
	}
	if n := len(s.wrong); wrong == nil && n > 0 {
		wrong = fmt.Errorf("%s not as failover needs, the first: %s", say.Several(n, "sysctl is", "sysctls are"), s.wrong[0])
		remedy = "set them, or kernel.sysctls: manage"
		if strings.HasSuffix(s.wrong[0].Key, "/rp_filter") {
			remedy = "set it: a transparent proxy runs (a rule by a mark leads to this machine), beside which Swerve cannot have the reverse path depend on marks, so that answers by an uplink which new flows have left are dropped"
		}
	}
	r.problems.set("sysctl", "sysctl", control.Warning, wrong, remedy)
}

// firstOfMany returns the first of joined errors, with the number of the others; nil if
// there is none.
func firstOfMany(err error) error {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) == 1 {
		return err
	}
	return fmt.Errorf("%s (and %d more)", lines[0], len(lines)-1)
}

// found logs what was found to need no NAT.
func (r *reporter) found(native natives, plain plains) {
	for name, list := range native {
		if len(list) > 0 {
			r.log.Info("native networks", "uplink", name, "networks", list)
		}
	}
	for name, list := range plain {
		if len(list) > 0 {
			r.log.Info("flows without NAT to networks of their own", "uplink", name, "flows", list)
		}
	}
}

// dropped reports moves for which the worker has no room.
func (r *reporter) dropped(moves []move) {
	for _, m := range moves {
		r.log.Error("sessions are not moved", "event", "sessions", "uplink", m.uplink, "reason", "too many moves wait")
	}
}

// loggedProblems bounds how many problems of a refused configuration are logged, one
// a line.
const loggedProblems = 20

// configured reports the result of applying a configuration, or of considering an
// interface under `uplinks: auto`.
func (r *reporter) configured(action, object, reason string, problems []string, generation uint64) {
	level := slog.LevelInfo
	if action == "refused" {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, object+" "+action, "event", "config", "reason", reason)
	for i, p := range problems {
		if i == loggedProblems {
			r.log.Warn("further problems of the configuration", "count", len(problems)-i, "see", "swerve check")
			break
		}
		r.log.Warn("problem of the configuration", "problem", p)
	}
	r.events.Publish(control.Event{Detail: control.ConfigDetail{
		Action: action, Object: object, Reason: reason, Problems: problems, Generation: generation,
	}})
}

// resumed reports that the operator gave uplinks back their places.
func (r *reporter) resumed(done control.Resumed, at failover.Instant) {
	reason := "every uplink is as it would be by itself"
	if done.Uplink != "" {
		reason = "it is as it would be by itself"
	}
	if len(done.Ended) > 0 && done.Uplink == "" {
		reason = "no longer drained or switched to: " + strings.Join(done.Ended, ", ")
	} else if len(done.Ended) > 0 {
		reason = "no longer drained or switched to"
	}
	if len(done.Released) > 0 {
		reason = "no longer held back for repeated downs: " + strings.Join(done.Released, ", ")
	}
	if len(done.Waiting) > 0 {
		reason += "; returned to once up: " + strings.Join(done.Waiting, ", ")
	}
	if len(done.Returned) > 0 && len(done.Ended)+len(done.Released) == 0 {
		reason += "; back to what they prefer: " + strings.Join(done.Returned, ", ")
	}
	r.ordered(at, "resumed", done.Uplink, "", reason, control.Time{})
}

// ordered reports what an operator asked for, or that it is over.
func (r *reporter) ordered(at failover.Instant, action, uplink, policy, reason string, until control.Time) {
	about := []any{"event", "operator", "uplink", uplink, "reason", reason}
	if policy != "" {
		about = append(about, "policy", policy)
	}
	if !until.IsZero() {
		about = append(about, "until", until)
	}
	r.log.Info(action, about...)
	r.events.Publish(control.Event{Time: control.At(r.clock.wall(at)), Detail: control.OperatorDetail{Action: action, Uplink: uplink, Policy: policy, Reason: reason, Until: until}})
}

// refused keeps the problem of a refused file until a valid one is applied: a
// reload by signal returns no answer.
func (r *reporter) refused(cause error) {
	r.problems.set("config", "reload-refused", control.Warning, cause,
		"correct the file (swerve check) and reload; what was in force before still is")
}

// remarked reports that an earlier run has marked flows under another mask.
func (r *reporter) remarked(former, now uint32) {
	const why = "marks of an earlier run are by another mask, so all that it has left in the kernel is removed, as by swerve teardown, and taken up anew"
	r.log.Warn(why, "event", "config", "mark_mask", fmt.Sprintf("%#08x", now), "former", fmt.Sprintf("%#08x", former))
	r.events.Publish(control.Event{Detail: control.ConfigDetail{
		Action: "changed", Object: "kernel.mark_mask", Reason: fmt.Sprintf("from %#08x to %#08x: %s", former, now, why),
	}})
}

// started reports that the loop is running: the kernel was brought to its goal, or
// there is no goal yet.
func (r *reporter) started(view failover.View, s setup) {
	line := summary(view, s.mayAct())
	r.told = placementsOf(view)
	r.log.Info("started", "event", "daemon", "software", r.software, "config", r.path, "uplinks", len(s.uplinks))
	r.events.Publish(control.Event{Detail: control.DaemonDetail{
		Action: "started", Object: "daemon", Reason: line, Generation: s.generation,
	}})
}

// status returns a function that converts the present state for clients. The caller
// runs it in its own goroutine: the loop only copies what it owns.
func (r *reporter) status(view failover.View, s setup, links picture) func() *control.Status {
	links.last = maps.Clone(links.last)
	clock, path, total, last, kept, foreign := r.clock.fixed(), r.path, r.total, r.last, r.kept, r.foreign
	now, at, confirmUntil := control.At(r.clock.today()), r.clock.now(), r.confirmUntil
	contested := r.contests.problems(at, clock)
	return func() *control.Status {
		out := &control.Status{
			Now: now, Software: r.software,
			Daemon: control.Daemon{
				PID: os.Getpid(), Since: control.At(clock(0)), Config: path, Generation: s.generation,
			},
			SwitchesTotal: total,
			LastSwitch:    kept,
		}
		if confirmUntil > 0 {
			out.Daemon.ConfigPending, out.Daemon.ConfirmUntil = true, control.At(clock(confirmUntil))
		}
		if last != nil {
			change := control.SwitchOf(last.record, last.took, clock)
			out.LastSwitch = &change
		}
		for _, u := range view.Uplinks {
			uplink := control.UplinkOf(u, clock)
			uplink.Interface = cmp.Or(uplink.Interface, s.configuredInterface(u.Name))
			uplink.Counters = r.counters.of(u.Name)
			for f, family := range []*control.FamilyStatus{failover.IPv4: &uplink.IPv4, failover.IPv6: &uplink.IPv6} {
				if s.cfg.Rescue.Enabled {
					family.Rescued = r.rescues.of(u.Name, failover.Family(f))
				}
				family.Handshakes = r.counters.handshakesOf(u.Name, failover.Family(f))
			}
			uplink.Rate = rateOf(s, u.Name)
			uplink.Native = s.nativeOf(u.Name, links.last[u.Name])
			out.Uplinks = append(out.Uplinks, uplink)
		}
		out.Sets = r.sets.status()
		for _, p := range view.Policies {
			if !s.mayAct() {
				break // no policy is in force
			}
			policy := control.PolicyOf(p, clock)
			if p.Name == config.DefaultPolicy {
				policy.ForeignDefault = foreign
			}
			out.Policies = append(out.Policies, policy)
		}
		out.Problems = append(silentCandidates(r.problems.list(clock), len(s.uplinks), now), control.HealthProblems(out)...)
		s.blameGateways(out.Problems, view, r.mute)
		if s.mayAct() && !s.engine.Sessions.MoveOnDown {
			tellWaiting(out.Problems, view)
		}
		out.Problems = append(out.Problems, withdrawnProblems(view, s.mayAct(), at, clock)...)
		out.Problems = append(out.Problems, heldProblems(view, clock)...)
		out.Problems = append(out.Problems, contested...)
		out.Problems = append(out.Problems, waitingProblems(s, view, clock)...)
		control.SortProblems(out.Problems)
		return out
	}
}

// summary returns one line for systemd: which uplinks carry traffic, and which do
// not answer. acts is whether any traffic goes by what the daemon decides.
func summary(view failover.View, acts bool) string {
	var parts []string
	if !acts {
		parts = append(parts, "watching only, nothing is changed")
	}
	for _, f := range failover.Families {
		if len(view.Policies) == 0 || !acts {
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
