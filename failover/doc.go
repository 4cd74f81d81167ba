// Package failover decides which uplinks carry traffic.
//
// It is a state machine without a clock, goroutine, socket, file or logger.
// The caller owns all of those: it reports to the engine what happened, and when,
// by [Engine.Step], and carries out what Step returns. Equal configurations
// and equal sequences of steps give equal outputs, so that any decision can be
// replayed, simulated and explained.
//
// # Duties of the caller
//
//   - Call Step from one goroutine, with instants that never go back.
//   - Send each [Probe] of an output at once, by the uplink that it names, and
//     report for each exactly one [ProbeSent] or [ProbeNotSent], and after a ProbeSent
//     at most one [ProbeAnswered] or [ProbeFailed]. The engine itself decides that a
//     probe is late or lost.
//   - Report each change of an uplink's link, addresses or gateway by
//     [LinkChanged], and read a link again when an output asks for it in Reread. At
//     the start report every uplink's, also that an interface does not exist: the
//     first intent waits for all of them, though no longer than two seconds.
//   - Call Step with [Tick] at Output.Wake, or as soon after as possible. A
//     step that comes late is a pause of this machine and no evidence about
//     any path: the engine moves its open deadlines by the delay.
//   - Bring the kernel to the last Intent, and repair it when it differs. The
//     engine need not know: which uplink is right does not depend on it.
//
// # Words
//
// An uplink is judged for each [Family] separately; one uplink in one family is a
// path. Its [State] says what is known; a [Policy] orders uplinks by preference; a
// [Ladder] is a policy's order at this moment, best rung first. An uplink is lost
// to a policy when its sessions have to go elsewhere, which needs an elsewhere:
// where nothing is viable, nothing is lost and nothing moves.
//
// # Reading order
//
// A path owns its transitions, the flights own the probes that are under way, a
// selector owns choosing, and the engine routes events between them. One verdict,
// from the late probe to the intent, is read in nine files from top to bottom:
//
//   - engine.go: a step, and what follows what in it
//   - flight.go: a probe is late
//   - path.go: the miss and the suspicion; what is known of a path
//   - health.go: the transition function, and what a new state begins
//   - probe.go: the burst that confirms a suspicion, and what else is sent
//   - select.go: a new choice for each ladder, the lost uplinks, the intent
//   - ladder.go: the candidates and their ranks
//   - decide.go: which of them carry, and why
//   - overflow.go: where new flows go while those are full
//
// Around these, config.go, event.go, family.go, link.go, output.go and view.go are
// the vocabulary that the caller shares. configure.go, policy.go, operator.go,
// uplink.go, gap.go, fault.go, schedule.go and pause.go handle the other events. Values with rules of
// their own are in rtt.go, window.go, limits.go, recovery.go and bucket.go.
package failover

import "time"

// Instant is a point on the caller's monotonic clock: the time since an epoch
// that the caller chose, such as its own start.
type Instant = time.Duration
