package simulator

import (
	"math"
	"math/rand/v2"
	"time"

	"swerve/failover"
)

// Instants that are never reached, far enough from the ends of the type for sums.
const (
	never   failover.Instant = -1 << 62
	forever failover.Instant = 1 << 62
)

// random is a cheap generator of random numbers, owned by one path or line.
type random struct{ pcg rand.PCG }

func newRandom(seed, whose uint64) random {
	var l random
	l.pcg.Seed(seed, whose*0x9e3779b97f4a7c15+1)
	return l
}

// unit draws from [0, 1).
func (l *random) unit() float64 { return float64(l.pcg.Uint64()>>11) / (1 << 53) }

// wait draws from the exponential distribution with the given mean.
func (l *random) wait(mean time.Duration) time.Duration {
	return time.Duration(-math.Log1p(-l.unit()) * float64(mean))
}

// episodes start and end at random: the stalls of a mobile network, or the bad
// state of a Gilbert-Elliott channel. The time between the end of one and the
// start of the next is exponential.
type episodes struct {
	// every is the mean time between two; 0 for none at all.
	every time.Duration
	// length of each, or its mean where it is drawn.
	length time.Duration
	drawn  bool
	// loss is the share of probes sent during an episode that are lost; hold keeps
	// the answers of the others back until its end.
	loss float64
	hold bool

	random random
	// start and end are those of the present or the next episode; ended is the end
	// of the one before.
	start, end, ended failover.Instant
}

// begin draws the first episode.
func (e *episodes) begin(now failover.Instant) {
	e.ended = never
	e.start, e.end = forever, forever
	if e.every > 0 {
		e.draw(now)
	}
}

func (e *episodes) draw(after failover.Instant) {
	e.start = after + e.random.wait(e.every)
	e.end = e.start + e.length
	if e.drawn {
		e.end = e.start + e.random.wait(e.length)
	}
}

// on reports whether there is an episode at an instant; instants never go back.
// How often it is called does not affect the episodes.
func (e *episodes) on(now failover.Instant) bool {
	for now >= e.end {
		e.ended = e.end
		e.draw(e.end)
	}
	return now >= e.start
}
