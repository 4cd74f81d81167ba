package routing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kernel is the edge to the operating system.
type Kernel interface {
	// Read returns all that the kernel holds of ours.
	Read() (State, error)
	// Do makes one change. An op whose end is already reached is no error.
	Do(Op) error
}

// Result is what came of an Apply.
type Result struct {
	// Done are the ops that the kernel took, in order.
	Done []Op
	// Failed are those that it refused at the last try.
	Failed []Failure
	// Left is what the kernel still lacks of the goal, as it was read back.
	Left []Op
	// State is what the kernel was read to hold at the end.
	State State
	// Tries counts the rounds of planning and doing; 0 when there was nothing to do.
	Tries int
}

// Failure is an op that the kernel refused.
type Failure struct {
	Op  Op
	Err error
}

// Error tells the action, its object and the cause.
func (f Failure) Error() string {
	return fmt.Sprintf("routing: %s: %v", f.Op.words(), f.Err)
}

// Unwrap returns the cause.
func (f Failure) Unwrap() error { return f.Err }

// maxTries bounds the rounds of an Apply. The second mends what changed while the
// first was under way; more mean that somebody is at work against us, and then
// the daemon's pace of repair is the better answer.
const maxTries = 4

// Apply brings the kernel to a state and reads it back. A change that the kernel
// refuses does not keep the others from being made, except the removals that it
// was meant to come before. The error tells what is not as wanted; what was done
// is in the Result.
func Apply(k Kernel, want State) (Result, error) {
	var res Result
	for progress := true; ; {
		have, err := k.Read()
		if err != nil {
			return res, fmt.Errorf("routing: read the kernel's routes and rules after %d changes: %w", len(res.Done), err)
		}
		res.State, res.Left = have, Plan(want, have)
		if len(res.Left) == 0 {
			res.Failed = nil
			return res, nil
		}
		if res.Tries == maxTries || !progress {
			return res, res.err()
		}
		progress = res.round(k)
	}
}

// Teardown removes every route and rule of ours, also those of an earlier layout.
// Rules go first, so that packets are back on the main table before our tables
// are emptied. Foreign routes and rules are as they were.
func Teardown(k Kernel) (Result, error) { return Apply(k, State{}) }

// round is one try at what is left. It reports whether the kernel took anything:
// if not, another try would end the same way.
func (r *Result) round(k Kernel) bool {
	before := len(r.Done)
	r.Failed = nil
	r.Tries++
	for _, op := range r.Left {
		if op.Action.removes() && r.gap(op) {
			continue
		}
		if err := k.Do(op); err != nil {
			r.Failed = append(r.Failed, Failure{Op: op, Err: err})
			continue
		}
		r.Done = append(r.Done, op)
	}
	return len(r.Done) > before
}

// gap reports whether a removal would come before what was to take its place:
// an addition to the same table, or of a rule in the same family, has failed.
func (r *Result) gap(op Op) bool {
	return slices.ContainsFunc(r.Failed, func(f Failure) bool {
		if f.Op.Action.removes() || f.Op.Action.onRule() != op.Action.onRule() || f.Op.Family() != op.Family() {
			return false
		}
		return op.Action.onRule() || f.Op.Route.Table == op.Route.Table
	})
}

// err tells what was refused, and else what would not stay as it was put.
func (r *Result) err() error {
	var causes []error
	for _, f := range r.Failed {
		causes = append(causes, f)
	}
	if len(causes) == 0 {
		var left []string
		for _, op := range r.Left {
			left = append(left, op.words())
		}
		return fmt.Errorf("routing: read back after %d changes: the kernel still lacks: %s", len(r.Done), strings.Join(left, "; "))
	}
	return fmt.Errorf("routing: %d changes done, %d left: %w", len(r.Done), len(r.Left), errors.Join(causes...))
}
