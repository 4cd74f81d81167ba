// Package failover decides which uplinks carry traffic.
//
// It is a state machine without a clock, goroutine, socket, file or logger.
// The caller owns all of those: it tells the engine what happened, and when,
// by [Engine.Step], and carries out what Step returns. Equal configurations
// and equal sequences of steps give equal outputs, so that any decision can be
// replayed, simulated and explained.
//
// # Duties of the caller
//
//   - Call Step from one goroutine, with instants that never go back.
//   - Send each [Probe] of an output at once, by the uplink that it names, and
//     report for each exactly one [ProbeSent] or [ProbeNotSent], and at most one
//     [ProbeAnswered]. The engine itself decides that a probe is late or lost.
//   - Report each change of an uplink's link, addresses or gateway by
//     [LinkChanged], and read a link again when an output asks so by Reread. At
//     the start report every uplink's, also that an interface is not there: the
//     first intent waits for all of them, though no longer than two seconds.
//   - Call Step with [Tick] at Output.Wake, or as soon after as possible. A
//     step that comes late is a pause of this machine and no evidence about
//     any path: the engine moves its open deadlines by the delay.
//   - Bring the kernel to the last Intent, and report by [Applied] what came of it.
//
// # Words
//
// An uplink is judged for each [Family] apart. Its [State] tells what is known;
// a [Policy] orders uplinks by preference; a [Ladder] is a policy's order at
// this moment, best rung first. An uplink is lost to a policy when its sessions
// have to go elsewhere, which needs an elsewhere: where nothing is viable,
// nothing is lost and nothing moves.
package failover

import "time"

// Instant is a point on the caller's monotonic clock: the time since an epoch
// that the caller chose, such as its own start.
type Instant = time.Duration
