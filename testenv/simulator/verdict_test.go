package simulator

import (
	"math"
	"testing"
	"time"

	"swerve/failover"
)

// tolerance is how far a counted rate may be from the closed form.
const tolerance = 0.2

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	t.Logf("%s: counted %.4g, closed form %.4g, ratio %.3f", what, got, want, got/want)
	if !(math.Abs(got/want-1) <= tolerance) {
		t.Errorf("%s: counted %.4g, and the closed form says %.4g", what, got, want)
	}
}

// TestVerdictsWithoutConfirmation counts each suspicion as the verdict that it would
// be without a burst: the rate at which a path would be left without cause must be the
// closed form's, otherwise the simulator could not detect a mistake.
//
// The closed form: a path has three targets, each probed once a second, so three
// regular probes a second, 333 ms apart. One that is lost with the probability p
// is late after 40 ms, and is a suspicion unless another target answered a probe
// sent since. On a grid of 333 ms no regular probe is. The looks that another
// path's suspicion causes come 40 ms after that one's probe, and the paths' grids
// lie 83 ms apart, so that a look is answered 23 ms before, or begins 40 ms after,
// a path's own sending, and clears nothing either. While a path is suspect, for
// the 20 ms that a burst takes to be answered, it has no regular probe. So the
// rate is 3p a second, for each path.
func TestVerdictsWithoutConfirmation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		loss string
		p    float64
	}{{"loss=0.01", 0.01}, {"loss=0.05", 0.05}, {"loss=0.1", 0.1}} {
		s := Steady(TwoUplinks, twoUplinks, 11, time.Hour, c.loss)
		stats := MustPlay(t, s, Options{CheckEach: 1000, Lean: true})
		near(t, "hasty verdicts a second and path at "+c.loss, stats.Rate(failover.Suspect, 4), 3*c.p)
		if stats.Entered[failover.Shunned] > 0 {
			t.Errorf("%s: %d verdicts with confirmation", c.loss, stats.Entered[failover.Shunned])
		}
	}
}

// oneTarget is the least that can be judged, where the closed form of the
// whole rule is exact.
const oneTarget = `uplinks:
  - {name: fiber, interface: eth0, ipv6: false}
probe: {targets: [1.1.1.1], interval: 400ms}
health: {loss: {unusable: never}}
`

// TestConfirmedVerdicts counts the false verdicts of the whole rule at a loss
// high enough to cause any.
//
// The closed form: a probe leaves each 400 ms; lost with the probability p it is
// late after 40 ms, which is a suspicion. With one target the burst is of nine
// rounds 20 ms apart; an answer takes 15 ms and ends it before the next round. The
// verdict falls 240 ms after the probe, before the next regular one, when all nine
// were lost: p⁹. What else was in the air when a burst ended is late after its end,
// but an answer to a later probe is there. So the rate is p·p⁹ in 400 ms. A burst
// costs (1-p⁹)/(1-p) probes in the mean, and there are p in each interval; the bucket
// gains one an interval, and so never runs dry while p/(1-p) < 1. The time spent
// shunned or down is a thousandth, and left out.
func TestConfirmedVerdicts(t *testing.T) {
	t.Parallel()
	const p = 0.48
	s := Steady(oneTarget, twoUplinks[:1], 12, 24*time.Hour, "rtt=15ms loss=0.48")
	stats := MustPlay(t, s, Options{CheckEach: 1000, Lean: true})
	near(t, "suspicions a second", stats.Rate(failover.Suspect, 1), p/0.4)
	near(t, "verdicts a second", stats.Rate(failover.Shunned, 1), math.Pow(p, 10)/0.4)
	if n := stats.Entered[failover.Shunned]; n < 100 {
		t.Errorf("%d verdicts are too few for a rate", n)
	}
}

// unconfirmed is a path whose bursts confirm nothing: they are of the least size, a round
// to nine targets, and all must answer.
const unconfirmed = `uplinks:
  - {name: fiber, interface: eth0, ipv6: false}
probe: {targets: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5, 192.0.2.6, 192.0.2.7, 192.0.2.8, 192.0.2.9], quorum: 9, burst: {probes: 1}}
health: {patience: 500ms}
`

// TestFalseVerdicts counts shunnings of a path that only loses packets, with confirmation
// switched off: the simulator sees false verdicts where the rules make them.
//
// The closed form: a probe leaves each 111 ms; lost with the probability p it is late
// after 40 ms, which is a suspicion, since nine targets have not answered since. The nine
// of the burst leave at once and are answered after 20 ms, before the next regular probe.
// One lost of them is enough for a shunning: 1-(1-p)⁹. It lasts until each target has
// answered one of the fast probes, 50 ms apart: about 100 ms, with no regular probe's
// suspicion meanwhile, which leaves out a share of the rate that is small as p is.
func TestFalseVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		loss   string
		p      float64
		length time.Duration
	}{{"loss=0.01", 0.01, 15 * time.Hour}, {"loss=0.02", 0.02, 6 * time.Hour}} {
		s := Steady(unconfirmed, twoUplinks[:1], 16, c.length, c.loss)
		stats := MustPlay(t, s, Options{CheckEach: 1000, Lean: true})
		suspicions := c.p * 9
		near(t, "suspicions a second at "+c.loss, stats.Rate(failover.Suspect, 1), suspicions)
		near(t, "false shunnings a second at "+c.loss, stats.Rate(failover.Shunned, 1), suspicions*(1-math.Pow(1-c.p, 9)))
		if n := stats.Entered[failover.Shunned]; n < 300 {
			t.Errorf("%s: %d verdicts are too few for a rate", c.loss, n)
		}
	}
}

// TestStallVerdicts counts the verdicts that stalls cause, and those that are left where the
// times are learnt: of the first minutes, and hardly any once the first verdict is held off.
//
// The closed form: the two families of an uplink send a probe each 167 ms. A stall
// of 200 ms meets the first one after a time u, uniform in that. It is late after
// 40 ms, the rounds of the burst, to both families, leave 0, 20 and 40 ms later,
// and the verdict falls when the last one is lost too: u + 80 ms < 200 ms. That is
// 120 of 167 phases, 0.72 of all stalls, and then both families are shunned.
func TestStallVerdicts(t *testing.T) {
	t.Parallel()
	const rate = 0.72 / 20
	for _, learnt := range []bool{false, true} {
		cfg := TwoUplinks + "health: {patience: 500ms}\n"
		if learnt {
			cfg = TwoUplinks
		}
		s := Steady(cfg, twoUplinks, 13, 4*time.Hour, "stalls every=19.8s for=200ms")
		stats := MustPlay(t, s, Options{CheckEach: 1000, Lean: true})
		got := stats.Rate(failover.Shunned, 4)
		if !learnt {
			near(t, "shunnings a second and path", got, rate)
		} else if got == 0 || got > rate/50 {
			t.Errorf("%.4g shunnings a second and path where the times are learnt", got)
		}
		if stats.Entered[failover.Down] > 0 || stats.Lost > 0 {
			t.Errorf("%d downs, %d times sessions moved by stalls of 200 ms", stats.Entered[failover.Down], stats.Lost)
		}
	}
}

// TestSilencesAreSeen plays black-holes at random phases, and compares how soon new
// flows and sessions left with the times that docs/DECISION.md derives: 287 ms at
// worst, and for sessions one deadline and one interval of probes, 207 ms, in addition
// to the patience. Answers in flight when the black-hole begins are lost as well, which
// only makes it sooner.
func TestSilencesAreSeen(t *testing.T) {
	t.Parallel()
	s := BlackHoles(TwoUplinks, "fiber", 14, 16*time.Hour)
	stats := MustPlay(t, s, Options{CheckEach: 1000, Lean: true})
	t.Logf("%v", stats)
	if stats.Leave.N < 50 || stats.Release.N < 50 {
		t.Fatalf("only %d and %d were timed", stats.Leave.N, stats.Release.N)
	}
	if q := stats.Leave.Quantile(0.5); q > 230*time.Millisecond || q < 120*time.Millisecond {
		t.Errorf("the median is %v", q)
	}
	if stats.Leave.Worst > 290*time.Millisecond || stats.Release.Worst > 710*time.Millisecond {
		t.Errorf("at worst new flows left after %v, sessions after %v", stats.Leave.Worst, stats.Release.Worst)
	}
}

// TestNothingOnGoodLinks checks that nothing but the start is decided on good links,
// though they lose a few packets.
func TestNothingOnGoodLinks(t *testing.T) {
	t.Parallel()
	s := Steady(TwoUplinks, twoUplinks, 15, 6*time.Hour, "rtt=30ms jitter=5ms loss=0.02")
	stats := MustPlay(t, s, Options{CheckEach: 1000, Lean: true})
	if stats.Switches != [3]int{} || stats.Entered[failover.Shunned]+stats.Entered[failover.Down]+stats.Entered[failover.Degraded] > 0 {
		t.Errorf("%v", stats)
	}
}
