package routing

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"swerve/lane"
)

// Kernel is the interface to the operating system.
type Kernel interface {
	// Read returns the routes and rules of ours that the kernel holds.
	Read() (State, error)
	// Do makes one change. It is no error if the change has taken effect already.
	Do(Op) error
}

// Result is the result of an Apply.
type Result struct {
	// Done are the ops that the kernel accepted, in order.
	Done []Op
	// Failed are the ops that it refused in the last round.
	Failed []Failure
	// Left are the ops that are still needed, according to the last read.
	Left []Op
	// State is what the kernel held at the last read.
	State State
	// Tries counts the rounds of planning and doing; 0 when there was nothing to do.
	Tries int
}

// Failure is an op that the kernel refused.
type Failure struct {
	Op  Op
	Err error
}

// Error returns the action, its object and the cause.
func (f Failure) Error() string {
	return fmt.Sprintf("routing: %s: %v", f.Op.words(), f.Err)
}

// Unwrap returns the cause.
func (f Failure) Unwrap() error { return f.Err }

// maxTries bounds the rounds of an Apply. A second round corrects what changed
// during the first. More are needed where copies of other programs' rules overlap: the
// kernel deletes the first rule that has all that is named, which may be one that matches
// less, and is added again. The need for still more means that another program works
// against us; the daemon's rate-limited repair handles that better.
const maxTries = 16

// Apply reconciles the kernel with a state and reads it back. With a [Memory] it makes
// the changes at once that the remembered state needs, and then those that a reading
// shows: traffic does not wait for the reading. If the kernel refuses
// a change, the others are still made, except for removals that the change had to
// precede. The error says what differs from the wanted state; the Result has what
// was done.
func Apply(k Kernel, want State) (Result, error) {
	var res Result
	if m, ok := k.(*Memory); ok {
		if have, ok := m.guess(); ok {
			if res.Left = Plan(want, have); len(res.Left) > 0 {
				res.round(k)
			}
		}
	}
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

// Teardown removes every route and rule of ours, including those of an earlier
// layout. Rules are removed first, so that packets use the main table again
// before our tables are emptied. Foreign routes and rules are not changed.
func Teardown(k Kernel) (Result, error) { return Apply(k, State{}) }

// TeardownUnmarked removes only the rules that lead packets without a mark of ours.
func TeardownUnmarked(k Kernel, l lane.Layout) (Result, error) {
	have, err := k.Read()
	if err != nil {
		return Result{}, fmt.Errorf("routing: read the kernel's routes and rules: %w", err)
	}
	return Apply(k, State{Routes: have.Routes, Rules: ForMarks(have.Rules, l)})
}

// round tries once to do what is left. It reports whether the kernel accepted any of
// it; if not, another round would fail in the same way.
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

// gap reports whether a removal would leave a gap, because what should have replaced
// it has failed: an addition to the same table, or of a rule in the same family.
func (r *Result) gap(op Op) bool {
	return slices.ContainsFunc(r.Failed, func(f Failure) bool {
		if f.Op.Action.removes() || f.Op.Action.onRule() != op.Action.onRule() || f.Op.Family() != op.Family() {
			return false
		}
		return op.Action.onRule() || f.Op.Route.Table == op.Route.Table
	})
}

// err returns an error with the ops that were refused or, if there are none, with
// those that had no lasting effect.
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
