package traffic

import (
	"fmt"
	"slices"
	"time"
)

// MaxLateness is how much later than due a client, or a wire, may send near a
// fault. Beyond it the machine was paused: the measurement is void.
const MaxLateness = 25 * time.Millisecond

// Outcome is the effect of one fault on one client.
type Outcome struct {
	Requests   int // sent between the fault's onset and the end
	Unanswered int // of these
	// Interruption is the time from the onset to the sending of the first request
	// after which all are answered; 0 if that one was sent before the onset. If it is
	// not Over it is a lower bound, up to the sending of the last request.
	Interruption time.Duration
	Over         bool
	SlowestReply time.Duration // from sending to answer
	Lateness     time.Duration // the worst of the client's own sending
}

// Void reports whether the client was so late that the outcome is meaningless.
func (o Outcome) Void() bool { return o.Lateness > MaxLateness }

func (o Outcome) String() string {
	text := fmt.Sprintf("interrupted for %v, %d of %d unanswered", o.Interruption.Round(10*time.Microsecond), o.Unanswered, o.Requests)
	if !o.Over {
		text = "not over: " + text
	}
	if o.Void() {
		text += fmt.Sprintf(", void: %v late", o.Lateness.Round(time.Millisecond))
	}
	return text
}

// Measure returns the effect of a fault, from a log in order: of the requests sent
// before an end at which their results were known. A request is counted at its sending,
// or when it was due if it could not be sent.
func Measure(log []Request, onset, end time.Time) Outcome {
	log = slices.Clone(log)
	slices.SortStableFunc(log, func(a, b Request) int { return a.at().Compare(b.at()) })
	o := Outcome{Over: true}
	resumed, down := onset, false // when the current run of answered requests began
	for _, r := range log {
		at := r.at()
		if !at.Before(end) {
			break
		}
		switch answered := !r.Answered.IsZero(); {
		case !answered:
			down, resumed = true, at
		case down:
			down, resumed = false, at
		}
		if at.Before(onset) {
			continue
		}
		o.tally(r)
	}
	o.Over = !down
	o.Interruption = max(0, resumed.Sub(onset))
	return o
}

// tally counts a request that was sent after the onset.
func (o *Outcome) tally(r Request) {
	o.Requests++
	if r.Answered.IsZero() {
		o.Unanswered++
	} else {
		o.SlowestReply = max(o.SlowestReply, r.Answered.Sub(r.at()))
	}
	o.Lateness = max(o.Lateness, r.at().Sub(r.Due))
}
